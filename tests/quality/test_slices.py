"""Runs in slices of time: the same record as in a single go, and nothing is trained twice."""

import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autowu.errors import UserError
from autowu.train.checkpoints import checkpoint
from autowu.train.run import engine, loop

sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.importorskip("benchmarks", reason="an archive of the sources leaves them out")

from benchmarks.quality import plan, prepare, records, runner, slices, trial
from benchmarks.quality.__main__ import main
from benchmarks.quality.suites import Suite
from benchmarks.quality.workloads import SHAKESPEARE, WORKLOADS, Workload

pytestmark = pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")

IMAGES = {"model": "mlp", "optimizer": "adamp", "batch_size": 100, "epochs": 12}
CNN = {"model": "cnn", "batch_size": 100, "micro_batch_size": 40, "epochs": 2}
CNN |= {"precision": "bf16-mixed", "channels_last": True}
TEXT = {"model": "gpt", "optimizer": "adamw", "batch_size": 8, "context": 16, "steps": 60}
TEXT |= {"blocks": 1, "width": 16, "heads": 2, "precision": "bf16-mixed"}

TINY = Workload("tiny", "digits", 1_000, 397, 400, IMAGES)
TINY_TEXT = Workload("tiny-text", SHAKESPEARE, 9_000, 400, 600, TEXT)
MEASURED = ("seconds", "scheduling", "memory", "device", "curve")  # slices do not validate on the way


class Updates:
    """In place of a slice of time: so many updates."""

    def __init__(self, work: Path, count: int) -> None:
        self.work, self.left = work, count

    @property
    def over(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder with the digits and a text, cut out."""
    folder = tmp_path_factory.mktemp("data")
    words = np.random.default_rng(0).choice(["to be ", "or not ", "that is ", "the question\n"], 2_000)
    (folder / SHAKESPEARE).write_text("".join(words))
    prepare.prepare(folder, [TINY, TINY_TEXT])
    return folder


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """The updates that are made, in order."""
    made, update = [], loop.update

    def counting(run, batches):
        made.append(run.step)
        return update(run, batches)

    monkeypatch.setattr(loop, "update", counting)
    return made


def scores(record):
    return {name: value for name, value in record.items() if name not in MEASURED}


@pytest.mark.parametrize(
    ("workload", "settings"),
    [
        (TINY, {"schedule": "autowu"}),
        (TINY, {"schedule": "paper"}),
        (TINY, {"schedule": "baseline", "lr": 0.01, "warmup_steps": 5}),
        (TINY, {"schedule": "lr-finder"}),
        (replace(TINY, settings=CNN), {"schedule": "schedule-free"}),
        (replace(TINY, settings=CNN), {"schedule": "autowu"}),
        (TINY_TEXT, {"schedule": "autowu"}),
    ],
    ids=lambda value: value.settings["model"] if isinstance(value, Workload) else value["schedule"],
)
def test_a_run_in_slices_gives_the_record_of_one_in_a_single_go(workload, settings, data, tmp_path, trained):
    settings = workload.settings | settings
    whole = trial.run(workload, settings, 7, data)
    steps = list(range(workload.total_steps))
    assert trained == steps
    trained.clear()
    found, calls = None, 0
    while found is None:
        calls += 1
        found = slices.run(workload, settings, 7, data, tmp_path, Updates(tmp_path, 17))
    assert calls == -(-len(steps) // 17)
    assert trained == steps  # none twice, and none left out
    assert scores(found) == scores(whole)
    assert found["top_lr"] > 0
    if settings["schedule"] in ("autowu", "paper"):
        assert found["switch_step"] == whole["switch_step"] is not None


def test_a_slice_of_no_time_still_makes_an_update_and_keeps_it(data, tmp_path, trained):
    over = slices.Slice(tmp_path, end=0.0)
    for made in range(1, 4):
        assert slices.run(TINY, {**IMAGES, "schedule": "autowu"}, 0, data, tmp_path / "run", over) is None
        found, damaged = checkpoint.newest(tmp_path / "run")
        assert (found.step, damaged) == (made, [])
    assert trained == [0, 1, 2]


def test_a_run_that_ended_before_its_record_was_kept_is_not_trained_again(data, tmp_path, trained):
    settings, endless = {**CNN, "schedule": "autowu"}, slices.Slice(tmp_path)
    of = replace(TINY, settings=CNN), settings, 0, data, tmp_path / "run", endless
    first, count = slices.run(*of), len(trained)
    assert scores(slices.run(*of)) == scores(first)
    assert len(trained) == count


# --- the runner ---------------------------------------------------------------------------------------


class Inline:
    """A pool that does at once, in this process, what is submitted."""

    def __init__(self, *_, **__) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def tiny(monkeypatch, tmp_path) -> Suite:
    monkeypatch.setitem(WORKLOADS, TINY.name, TINY)
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Inline)
    return Suite({TINY.name: TINY}, tmp_path / "results", peaks=3, sweep_seeds=range(1))


def test_the_next_call_goes_on_and_a_record_is_kept_only_of_a_run_that_is_done(tiny, data, tmp_path, trained):
    of = "sweep", tiny, [TINY], data, tiny.results, 1, []
    steps, counts = TINY.total_steps, []
    while not counts or counts[-1]:
        counts.append(runner.run(*of, Updates(tmp_path / "work", steps // 2)))
        done = records.read(tiny.results, "sweep")
        assert len(done) == 3 - counts[-1]
        assert {record["steps"] for record in done} <= {steps}
        assert len(list((tmp_path / "work").iterdir())) <= 1
    assert len(counts) > 3
    assert counts[0] == 3
    assert trained == [*range(steps)] * 3
    assert not list((tmp_path / "work").iterdir())
    runner.run(*of[:4], tmp_path / "whole", 1, [])
    sliced, whole = (
        {record["method"]: scores(record) for record in records.read(folder, "sweep")}
        for folder in (tiny.results, tmp_path / "whole")
    )
    assert len(sliced) == 3
    assert sliced == whole


def test_nothing_is_begun_when_time_is_up(tiny, data, tmp_path, trained):
    over = slices.Slice(tmp_path / "work", end=0.0)
    assert runner.run("sweep", tiny, [TINY], data, tiny.results, 1, [], over) == 3
    assert trained == []


def test_a_work_folder_of_other_settings_is_no_result_of_the_method(tiny, data, tmp_path):
    (job, *_) = plan.jobs("sweep", tiny, [TINY], tiny.results)
    folder = tmp_path / "work" / job.folder
    slices.run(TINY, job.settings | {"batch_size": 50}, job.seed, data, folder, Updates(tmp_path, 3))
    with pytest.raises(UserError, match="cannot resume with another --batch-size"):
        runner.run("sweep", tiny, [TINY], data, tiny.results, 1, [], slices.Slice(tmp_path / "work"))
    assert job.method not in {record["method"] for record in records.read(tiny.results, "sweep")}


def test_what_a_method_does_wrong_is_a_result_in_slices_too(tiny, data, tmp_path, monkeypatch, capsys):
    def failing(*_, **__):
        raise FloatingPointError("as a peer may")

    monkeypatch.setattr(engine, "set_up", failing)
    assert runner.run("sweep", tiny, [TINY], data, tiny.results, 1, [], slices.Slice(tmp_path)) == 0
    assert {record["error"] for record in records.read(tiny.results, "sweep")} == {
        "FloatingPointError: as a peer may"
    }
    assert "Traceback" in capsys.readouterr().err


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.quality", "run", "sweep", *map(str, words)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", 1], "--minutes needs --work"),
        (["--suite", "large", "--only", "digits-cnn-adamw"], "digits-cnn-adamw is not in the large suite"),
        (["--trials", 0], "--trials must be at least 1, not 0"),
    ],
)
def test_what_the_command_cannot_do_is_said(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quality", "run", "sweep", "--data", str(tmp_path), *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.full
def test_the_command_in_slices(tmp_path):
    """With processes of its own and real time: each call is given twice the time of the one before."""
    suite = replace(Suite(WORKLOADS, tmp_path), sweep_seeds=range(100, 101))
    name = "digits-vit-adamw"
    method = plan.jobs("sweep", suite, [WORKLOADS[name]], tmp_path)[4].method
    flags = ["--data", tmp_path, "--only", name, "--methods", method, "--processes", 1]
    flags += ["--results", tmp_path / "sliced", "--work", tmp_path / "work", "--minutes"]
    minutes, statuses = 0.02, []
    while not statuses or statuses[-1]:
        said = command(*flags, minutes)
        statuses.append(said.returncode)
        assert said.returncode == 0 or "the same command goes on" in said.stderr
        minutes *= 2
        assert minutes < 30
    assert len(statuses) > 1
    assert not list((tmp_path / "work").iterdir())
    found = records.read(tmp_path / "sliced", "sweep")
    assert len(found) == 2  # the command's own seeds
    for record in found:
        job = next(
            job for job in plan.jobs("sweep", suite, [WORKLOADS[name]], tmp_path) if job.method == method
        )
        whole = trial.run(WORKLOADS[name], job.settings, record["seed"], tmp_path)
        assert {key: record[key] for key in whole if key not in MEASURED} == scores(whole)
