"""The cells as a job array, by submitit on this machine."""

import pytest

pytest.importorskip("submitit")

import submitit

import limits
from autowu import cli
from autowu.errors import UserError
from autowu.reproduce import jobs, results


@pytest.mark.full
def test_a_tiny_table_as_an_array(tmp_path, capsys):
    words = ["reproduce", "table1", "--scale", "tiny", "--out", str(tmp_path)]
    chosen = ["--only", "imagenet-resnet50-32768-baseline-seed0,imagenet-resnet50-16384-cos-seed0"]
    assert cli.main([*words, *chosen, "--jobs", "local", "--minutes", "10"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("2 jobs;")
    for line in told[:2]:
        number, name = line.split()
        job = submitit.LocalJob(folder=tmp_path / "tiny" / "jobs", job_id=number)
        limits.wait_for(job.paths.result_pickle.exists)
        assert job.result() == 0, (name, job.stderr())
    found = results.read(tmp_path / "tiny", "tiny", results.commit())
    assert {each.cell for each in found} == set(chosen[1].split(","))
    assert cli.main([*words, *chosen, "--jobs", "local"]) == 0  # nothing is left
    assert capsys.readouterr().out.startswith("0 jobs;")
    assert cli.main([*words, "--no-train"]) == 0
    assert "2 of 48 cells" in (tmp_path / "tiny" / "table1.md").read_text(encoding="utf-8")


def test_what_submitit_refuses_is_one_line(tmp_path):
    with pytest.raises(UserError, match="--jobs local: Unknown executor 'no' in parameter 'no_such_option'"):
        jobs.submit("local", [["reproduce"]], tmp_path, 1, {"no_such_option": 1})
    with pytest.raises(UserError, match="--jobs slurm: "):
        jobs.submit("slurm", [["reproduce"]], tmp_path, 1, {})


def test_an_option_is_a_name_and_a_value():
    assert jobs.option("slurm_partition=gpu") == ("slurm_partition", "gpu")
    assert jobs.option("slurm_array_parallelism=8") == ("slurm_array_parallelism", 8)
