"""How far a run has come, how long it takes, and its steps in epochs and seconds."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from autowu.report import page, progress, summary, units
from autowu.runlog import run as runlog
from report import simulated


def unfinished(folder: Path, lines: int = 250, **schedule: object) -> runlog.Run:
    simulated.autowu(folder, status="running")
    log, about = folder / "log.jsonl", json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"schedule": about["schedule"] | schedule}))
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:lines]))
    return runlog.read(folder)


def test_a_run_that_goes_on_tells_its_step_and_the_time_left(tmp_path: Path, autowu_run: Path) -> None:
    run = unfinished(tmp_path / "run", total_steps=1000)
    step = int(run.steps[-1])
    assert progress.line(run) == f"step {step} of 1,000 ({step // 10}%)"
    assert (
        progress.line(run, speed=2.0) == f"{progress.line(run)}, about {round((1000 - step) / 120)} min left"
    )
    assert progress.line(dataclasses.replace(run, schedule={})) == f"step {step}"
    assert progress.line(dataclasses.replace(run, schedule={"total_steps": 10})) == f"step {step}"
    assert progress.line(runlog.read(autowu_run)) is None  # it is over
    assert progress.line(dataclasses.replace(run, replayed=True)) is None
    text = page.parts([run], speeds=[2.0])["head"]
    assert f"step {step} of 1,000" in text
    assert "min left" in text


def test_a_loss_that_is_not_final_says_so(tmp_path: Path, autowu_run: Path) -> None:
    assert summary.COLUMNS["final loss"](unfinished(tmp_path / "run")).endswith(" so far")
    finished = runlog.read(autowu_run)
    assert "so far" not in summary.COLUMNS["final loss"](finished)
    bare = dataclasses.replace(finished, metrics={}, evaluations=())  # of a loop that measures nothing
    assert summary.COLUMNS["final loss"](bare) == f"{finished.losses[-20:].mean():.3g}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (45, "45 s"), (90, "2 min"), (3000, "50 min"), (7500, "2 h 5 min"), (3e5, "3.5 days")],
)
def test_times_are_told_as_people_read_them(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


def test_the_speed_is_measured_by_what_is_seen(tmp_path: Path) -> None:
    run, speeds = unfinished(tmp_path / "run"), progress.Speeds()

    def at(step: int, now: float) -> float | None:
        return speeds.see([dataclasses.replace(run, steps=np.arange(1, step + 1))], now)[0]

    assert at(100, 10.0) is None
    assert at(101, 10.5) is None  # too soon to tell
    assert at(140, 14.0) == pytest.approx(10)
    assert at(140, 44.0) == pytest.approx(0, abs=1.4)  # it stands still
    assert at(240, 54.0) == pytest.approx(2.5, rel=1)
    assert at(5, 60.0) is None  # another run has begun


def test_steps_are_epochs_and_seconds_where_the_run_tells(tmp_path: Path, autowu_run: Path) -> None:
    run = runlog.read(autowu_run)
    found = units.of([run, run])
    assert found["epoch"] == [[[0, 25.0], [0, 1]]] * 2
    steps, seconds = found["time"][0]
    assert (steps[-1], seconds[-1]) == (1000, pytest.approx(1000 * 64 / 9e3, rel=1e-3))
    text = runlog.read(simulated.autowu(tmp_path / "text", samples="tokens"))
    assert "epoch" not in units.of([text])
    assert units.of([text])["time"] == [[[0, 1000], [0, 12.3]]]
    assert units.of([run, dataclasses.replace(text, metrics={})]) == {}
