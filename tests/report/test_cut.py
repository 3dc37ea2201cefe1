"""Cuts of the LR in the decay, wherever a run is shown."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly")
pytest.importorskip("torch")

from autowu import replay
from autowu.offline import text as replay_text
from autowu.offline.arguments import Asked
from autowu.offline.decide import Decided
from autowu.offline.logs import Record
from autowu.offline.strided import replay_record
from autowu.report import figures, notebook, output, picture, replayed, sections, summary, tensorboard
from autowu.runlog import run as runlog
from autowu.runlog.run import Run
from report import simulated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated.cut(tmp_path_factory.mktemp("run") / "cut")


@pytest.fixture
def run(folder: Path) -> Run:
    return runlog.read(folder)


def changed(folder: Path, to: Path, events: list[dict[str, Any]]) -> Run:
    """The run with another log."""
    (to / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (to / "run.json").write_text((folder / "run.json").read_text())
    return runlog.read(to)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_log_gives_back_what_happened(run: Run) -> None:
    core = replay(run.losses)
    assert run.switch == core.state.switch
    assert run.cuts == core.cuts
    assert [cut.factor for cut in run.cuts] == [1 / 3, 1 / 9, 1 / 3]
    assert [cut.back_to is None for cut in run.cuts] == [False, False, True]
    assert not run.notes


@pytest.mark.parametrize("broken", [{"factor": 0}, {"factor": None}, {"step": -1}, {"back_to": "x"}])
def test_a_broken_line_is_told_and_left_out(folder: Path, tmp_path: Path, broken: dict[str, Any]) -> None:
    events = [event | (broken if event["event"] == "cut" else {}) for event in log(folder)]
    found = changed(folder, tmp_path, events)
    assert found.cuts == ()
    assert any("not of an autowu log" in note for note in found.notes)


def test_a_loss_that_was_not_finite_is_null_in_a_log(folder: Path, tmp_path: Path) -> None:
    unknown = {"level": None, "least": None}
    found = changed(folder, tmp_path, [e | (unknown if e["event"] == "cut" else {}) for e in log(folder)])
    assert [np.isnan(cut.level) for cut in found.cuts] == [True] * 3
    assert "most losses were not finite, and the learning rate was cut" in summary.sentence(found)


@pytest.mark.parametrize("late", [False, True])
def test_a_log_from_when_warm_up_could_go_on_is_read_and_says_so(
    folder: Path, tmp_path: Path, late: bool
) -> None:
    events = [event for event in log(folder) if event["event"] != "cut"]
    (switch,) = [event for event in events if event["event"] == "switch"]
    step = 900 if late else switch["step"] - 1
    growth = {"start": 10, "lr": 1e-4, "span": 500}
    old = {"event": "reopening", "step": step, "lr": 0.1, "switch": switch, "growth": growth, "probed": False}
    found = changed(folder, tmp_path, [*events, old])
    assert found.notes == (f"at step {step} warm-up went on after all, as it could in former versions",)
    assert (found.switch is None) == late
    assert found.cuts == ()


def test_a_line_and_words_mark_each_of_them(run: Run) -> None:
    figure = figures.learning_rate_and_loss([run])
    shapes = figure["layout"]["shapes"]
    assert run.switch is not None
    steps = [cut.step for cut in run.cuts]
    assert [(each["x0"], each["x1"]) for each in shapes if each["type"] == "rect"] == [(0, run.switch.step)]
    assert [each["x0"] for each in shapes if each["type"] == "line"] == [run.switch.step, *steps]
    notes = [note["text"] for note in figure["layout"]["annotations"]]
    first, _, last = run.cuts
    assert f"step {first.step}: LR cut to a third, weights of step {first.back_to} put back" in notes
    assert f"step {last.step}: cut taken back" in notes


def test_the_smoothed_loss_has_a_gap_wherever_weights_went_back(run: Run) -> None:
    x, y = figures.smoothed_loss(run, 300)
    (gaps,) = np.nonzero(np.isnan(y))
    assert run.switch is not None
    ends = [run.switch.step, *(cut.step for cut in run.cuts[:2])]
    assert run.rewinds == ends
    assert len(gaps) == 3
    for gap, end in zip(gaps, ends, strict=True):
        assert x[gap - 1] <= end < x[gap + 1]


def test_the_sentence_tells_of_each(run: Run) -> None:
    words, (first, second, last) = summary.sentence(run), run.cuts
    assert (
        f" At step {first.step} the loss had risen for good, and the learning rate was cut to a th" in words
    )
    assert f"with the weights of step {second.back_to} put back." in words
    blame = "the loss was as high all the same, so the learning rate was not to blame, and other data may be"
    assert words.endswith(f"At step {last.step} {blame}: the cut was taken back.")
    assert summary.sentence(replace(run, cuts=())) == words[: words.index(f" At step {first.step}")]


@pytest.mark.parametrize("form", ["html", "svg", "png"])
def test_it_can_be_written_in_every_form(run: Run, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"page.{form}"
    if form == "html":
        output.write_page(path, lambda: [run])
        assert "the loss had risen for good" in path.read_text(encoding="utf-8")
    else:
        pytest.importorskip("matplotlib")
        output.write_picture(path, form, lambda: picture.main([run]))
        assert path.stat().st_size > 10_000


def test_the_events_of_tensorboard(run: Run, tmp_path: Path) -> None:
    records = list(tensorboard.records(run))
    assert run.switch is not None
    phases = [each["phase"] for each in records if each["event"] == "step"]
    assert phases == ["warmup"] * run.switch.step + ["decay"] * (1000 - run.switch.step)
    assert [each["step"] for each in records if each["event"] == "cut"] == [cut.step for cut in run.cuts]
    pytest.importorskip("tensorboard")
    tensorboard.export([run], tmp_path)
    (file,) = tmp_path.glob("*/events*")
    written = file.read_bytes()
    assert f"At step {run.cuts[0].step} the LR became 0.333 of the line".encode() in written


def test_a_notebook_shows_them(run: Run) -> None:
    found = replay(run.losses)
    assert notebook.as_run(found.config, found.state, 1000).cuts == run.cuts


def test_a_replay_tells_of_it_in_words_and_numbers(run: Run) -> None:
    found = replay(run.losses)
    first, _, last = found.cuts
    known = {"step": first.step, "factor": 1 / 3, "level": first.level, "least": first.least}
    assert found.to_json()["cuts"][0] == known
    words = replay_text.decision(Record(run.losses, None), found)
    assert f" At step {first.step} the loss had risen for good, from {first.least:.3g} to" in words
    assert f"At step {last.step} it was as high all the same" in words
    assert "cuts" not in replay(run.losses, watch=None).to_json()
    gone = run.losses.copy()
    gone[first.step - 20 :] = np.nan
    dead = replay(gone)
    assert dead.to_json()["cuts"][0]["level"] is None
    assert "most losses were not finite: the" in replay_text.decision(Record(gone, None), dead)


def test_a_record_of_every_third_update_is_told_in_updates(run: Run) -> None:
    record = Record(run.losses, None, 3, ())
    found = replay_record(record, total_steps=3 * len(run.losses))
    ones = replay(run.losses).cuts
    assert [(cut.step, cut.back_to) for cut in found.cuts] == [
        (3 * one.step, None if one.back_to is None else 3 * one.back_to) for one in ones
    ]
    shown = replayed.run_of(Decided("losses.csv", Asked(), record, found))
    assert [(cut.step, cut.back_to) for cut in shown.cuts] == [(3 * one.step, None) for one in ones]
    assert "would have been cut to a third." in summary.sentence(shown)


def test_words_of_cuts_stand_beside_their_lines_each_in_a_row_of_its_own(run: Run) -> None:
    layout = figures.learning_rate_and_loss([run])["layout"]
    notes = [note for note in layout["annotations"] if note["text"].startswith("step ")]
    assert [note["x"] for note in notes] == [cut.step for cut in run.cuts]
    assert [note["yshift"] for note in notes] == [0, -20, -40]
    assert {(note["xanchor"], note["xshift"]) for note in notes} == {("left", 5)}  # all in the first half
    (weights,) = [note for note in layout["annotations"] if note["text"].startswith("weights of")]
    assert weights["yshift"] == -40
    assert layout["xaxis"]["range"] == [0, 1000]  # whatever room the words ask for


def test_the_words_of_the_first_figure_are_of_what_it_shows(run: Run, tmp_path: Path) -> None:
    fixed = runlog.read(simulated.baseline(tmp_path / "baseline"))
    two_speeds = replace(run, schedule={"growth": "two-speed"})

    def said(*runs: Run) -> list[bool]:
        words = next(
            each.words for each in sections.sections(runs) if each.heading == "Learning rate and loss"
        )
        return [word in words for word in ("(shaded)", "notch", "thin line", "baseline")]

    assert said(run) == [True, False, True, False]
    assert said(two_speeds, fixed) == [True, True, True, True]
    assert said(*[replace(run, cuts=())] * 4) == [False, False, False, False]
    assert said(fixed) == [False, False, False, True]
