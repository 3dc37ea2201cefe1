"""The cells as a job array, by submitit on this machine."""

import subprocess
import sys
from argparse import ArgumentTypeError

import pytest

pytest.importorskip("submitit")

import submitit

import limits
from autowu.errors import UserError
from autowu.reproduce import jobs, results


def autowu(*words: str, status: int = 0) -> str:
    """The command in a process of its own, as a user has it; what it prints."""
    command = [sys.executable, "-m", "autowu", *words]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limits.HANG)
    assert run.returncode == status, run.stderr
    return run.stdout


@pytest.mark.full
def test_a_tiny_table_as_an_array(tmp_path):
    words = ["reproduce", "table1", "--scale", "tiny", "--out", str(tmp_path), "--any-commit"]
    chosen = ["--only", "imagenet-resnet50-32768-baseline-seed0,imagenet-resnet50-16384-cos-seed0"]
    told = autowu(*words, *chosen, "--jobs", "local", "--minutes", "10", status=1).splitlines()
    assert told[-1].startswith("2 jobs;")
    for line in told[:2]:
        number, name = line.split()
        job = submitit.LocalJob(folder=tmp_path / "tiny" / "jobs", job_id=number)
        limits.wait_for(job.paths.result_pickle.exists)
        assert job.result() == 0, (name, job.stderr())
    found = results.read(tmp_path / "tiny", "tiny", None)
    assert {each.cell for each in found} == set(chosen[1].split(","))
    assert autowu(*words, *chosen, "--jobs", "local").startswith("0 jobs;")  # nothing is left
    autowu(*words, "--no-train")
    assert "2 of 48 cells" in (tmp_path / "tiny" / "table1.md").read_text(encoding="utf-8")


def test_what_submitit_refuses_is_one_line(tmp_path):
    with pytest.raises(UserError, match="--jobs local: Unknown executor 'no' in parameter 'no_such_option'"):
        jobs.submit("local", [["reproduce"]], tmp_path, 1, {"no_such_option": 1})
    with pytest.raises(UserError, match="--jobs slurm: "):
        jobs.submit("slurm", [["reproduce"]], tmp_path, 1, {})


def test_an_option_is_a_name_and_a_value():
    assert jobs.option("slurm_partition=gpu") == ("slurm_partition", "gpu")
    assert jobs.option("slurm_array_parallelism=8") == ("slurm_array_parallelism", 8)
    for text in ("a", "=8"):
        with pytest.raises(ArgumentTypeError, match=f"must be NAME=VALUE, such as .*, not '{text}'"):
            jobs.option(text)
