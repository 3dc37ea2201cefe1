"""Cells that are trained: stopped and gone on with, side by side, failed, left to others."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import limits
from autowu.errors import UserError
from autowu.reproduce import plan, results, runner, running
from autowu.reproduce.cells import BASELINE, COS, DEFAULT, Cell
from autowu.reproduce.paper import TARGETS, cells
from autowu.reproduce.plan import Job
from autowu.reproduce.runner import Study
from autowu.reproduce.scales import PAPER, RESNET50, TINY
from autowu.train.run import engine
from reproduce.made_up import COMMIT
from train import commands

# 88 updates, with so many checkpoints that a signal comes before the last of them.
CELL = plan.job(Cell("cifar10-resnet18", 8192, DEFAULT), TINY, {"checkpoint_every": 2})


def study(folder, *jobs: Job, **changes) -> Study:
    (folder / "tiny").mkdir(parents=True, exist_ok=True)
    values = {"processes": 1, "end": math.inf, "commit": COMMIT} | changes
    return Study(jobs=jobs, folder=folder / "tiny", data=None, **values)


def read(folder):
    return results.read(folder / "tiny", "tiny", COMMIT)


def when_there(path) -> None:
    """SIGTERM to this process once ``path`` is there, as a job scheduler sends it."""

    def wait() -> None:
        limits.wait_for(path.exists, lambda: True)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.full
def test_a_cell_that_is_stopped_goes_on_bit_for_bit(tmp_path):
    whole = tmp_path / "whole"
    metrics, _ = engine.train(dataclasses.replace(CELL.settings(), out=str(whole)))

    folder = tmp_path / "tiny" / "runs" / CELL.folder
    when_there(folder / "checkpoints")
    stopped = runner.run(study(tmp_path, CELL))
    assert (stopped.stopped, stopped.finished, stopped.left) == (1, 0, 1)
    assert read(tmp_path) == []
    assert len(commands.steps(folder, "loss")) < len(commands.steps(whole, "loss"))
    resumed = runner.run(study(tmp_path, CELL))
    assert (resumed.finished, resumed.left) == (1, 0)
    commands.assert_same(whole, folder)

    (found,) = read(tmp_path)
    assert found.metrics | {"seconds": 0} == metrics | {"seconds": 0}
    assert (found.cell, found.key, found.scale) == (CELL.cell.name, CELL.key, "tiny")
    assert "torch" in found.versions
    assert "device" in found.machine
    assert str(tmp_path) not in found.command
    done = runner.run(study(tmp_path, CELL))  # nothing is run twice
    assert (done.finished, done.left) == (0, 0)


@pytest.mark.full
def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path):
    failing = plan.job(Cell("cifar10-resnet18", 256, BASELINE), TINY, {"devices": 3})  # batches of 4
    outcome = runner.run(study(tmp_path, failing, CELL))
    assert (outcome.finished, outcome.left) == (1, 1)
    assert outcome.failed[0].startswith(f"{failing.cell.name} (exit status 2): ")
    assert "--batch-size must be a multiple of the 3 processes" in outcome.failed[0]


def test_no_cell_is_begun_when_time_is_up(tmp_path):
    outcome = runner.run(study(tmp_path, CELL, end=time.monotonic() - 1))
    assert (outcome.waiting, outcome.left) == (1, 1)
    assert not (tmp_path / "tiny" / "runs").exists()


@pytest.mark.parametrize("saved", [False, True])
def test_a_cell_that_is_stopped_says_whether_there_is_a_checkpoint(tmp_path, monkeypatch, capsys, saved):
    def start(job, runs, *of, **more):
        folder = runs / job.folder
        (folder / "checkpoints" / ("000000002" if saved else ".000000002.tmp")).mkdir(parents=True)
        stopped = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(143)"])
        return running.Running(job, folder, stopped)

    monkeypatch.setattr(running, "start", start)
    outcome = runner.run(study(tmp_path, CELL))
    assert (outcome.stopped, outcome.waiting, outcome.left) == (int(saved), int(not saved), 1)
    where = "at a checkpoint" if saved else "before its first checkpoint; it will begin anew"
    assert f"{CELL.cell.name}: stopped {where}\n" in capsys.readouterr().err


def test_a_cell_of_another_process_is_left_to_it(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    folder = tmp_path / "tiny" / "runs" / CELL.folder
    folder.mkdir(parents=True)
    with (folder / running.LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = runner.run(study(tmp_path, CELL))
    assert (outcome.busy, outcome.left) == ([CELL.cell.name], 1)


def test_a_cell_that_another_commit_has_begun_is_named(tmp_path):
    folder = tmp_path / "tiny" / "runs" / CELL.folder
    folder.mkdir(parents=True)
    (folder / running.ABOUT).write_text('{"commit": "fedcba"}')
    with pytest.raises(UserError, match=r"was begun by the commit fedcba, and this is 0123456789ab"):
        runner.run(study(tmp_path, CELL))
    (folder / running.ABOUT).write_text("{")
    with pytest.raises(UserError, match=r"cell.json is damaged: remove its folder"):
        runner.run(study(tmp_path, CELL))
    assert not (folder / "run.json").exists()


def of_tiny() -> list[Job]:
    """One cell of each schedule that any target has, with the fewest updates."""
    wanted = [
        Cell(RESNET50, row.batch_sizes[-1], row.schedule)
        for target in TARGETS.values()
        for row in target.rows
    ]
    return [plan.job(cell, TINY, {}) for cell in dict.fromkeys(wanted)]


@pytest.mark.full
def test_a_cell_of_each_schedule_ends(tmp_path):
    jobs = of_tiny()
    outcome = runner.run(study(tmp_path, *jobs, processes=2))
    assert (outcome.finished, outcome.left) == (len(jobs), 0)


def images(folder, classes: int, size: int) -> None:
    """A folder of noise, two images for each class in each part."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in range(classes):
            (folder / part / str(label)).mkdir(parents=True)
            for i in range(2):
                pixels = rng.integers(0, 256, (size, size, 3), np.uint8)
                Image.fromarray(pixels).save(folder / part / str(label) / f"{i}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What stands for the sets of the paper: a few images of their shapes."""
    import numpy as np

    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, classes in (("cifar10", 10), ("cifar100", 100)):
        x, y = rng.integers(0, 256, (2 * classes, 32, 32, 3), np.uint8), np.arange(2 * classes) % classes
        np.savez(folder / f"{name}.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    images(folder / "imagenet", 4, 40)
    return folder


@pytest.mark.full
@pytest.mark.parametrize("schedule", [BASELINE, COS, DEFAULT], ids=lambda schedule: schedule.slug)
@pytest.mark.parametrize("task", PAPER.tasks)
def test_the_paper_s_tasks_start_and_end_with_few_images_and_updates(task, schedule, data, tmp_path):
    few = {"steps": 3, "batch_size": 4, "threads": 1, "workers": 0}
    few |= {"warmup_steps": 1} if schedule is BASELINE else {}
    few |= {"image_size": 224 if "vit" in task else 32} if task.startswith("imagenet") else {}
    job = plan.job(Cell(task, 1024, schedule), PAPER, few)
    at = data / job.set if job.set == "imagenet" else data / f"{job.set}.npz"
    command = [sys.executable, "-m", "autowu", *job.command(str(at), tmp_path / "run")]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limits.HANG)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_target_has_cells_at_the_tiny_scale():
    assert all(list(cells(target, dict.fromkeys(TINY.tasks, 1))) for target in TARGETS.values())
