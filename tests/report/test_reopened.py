"""A return to warm-up, wherever a run is shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly")
pytest.importorskip("torch")

from autowu import replay
from autowu.offline import text as replay_text
from autowu.offline.logs import Record
from autowu.offline.strided import replay_record
from autowu.report import figures, output, picture, replayed, summary, tensorboard
from autowu.runlog import run as runlog
from autowu.runlog.run import Run
from report import simulated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated.reopened(tmp_path_factory.mktemp("run") / "reopened")


@pytest.fixture
def run(folder: Path) -> Run:
    return runlog.read(folder)


@pytest.fixture
def losses(run: Run) -> np.ndarray:
    return run.losses


def test_the_log_gives_back_what_happened(run: Run) -> None:
    core = replay(run.losses).state
    assert run.reopenings == core.reopenings
    assert run.switch == core.switch
    assert len(run.reopenings) == 1
    assert run.switch is not None
    (reopening,) = run.reopenings
    assert run.warmups == [(0, reopening.switch.step), (reopening.step, run.switch.step)]


def test_a_log_that_stops_in_the_second_warm_up_has_no_switch(run: Run, folder: Path, tmp_path: Path) -> None:
    (reopening,) = run.reopenings
    lines = (folder / "log.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= reopening.step + 20]
    (tmp_path / "log.jsonl").write_text("".join(kept))
    (tmp_path / "run.json").write_text((folder / "run.json").read_text())
    cut = runlog.read(tmp_path)
    assert cut.switch is None
    assert cut.reopenings == run.reopenings
    assert cut.warmups == [(0, reopening.switch.step), (reopening.step, reopening.step + 20)]
    assert "is still growing" in summary.sentence(cut)
    shapes = figures.learning_rate_and_loss([cut])["layout"]["shapes"]
    assert [shape["type"] for shape in shapes] == ["rect", "line", "rect"]


@pytest.mark.parametrize(
    "broken",
    [{"lr": 0}, {"lr": None}, {"switch": None}, {"growth": {}}, {"step": -1}, {"switch": {"step": 3}}],
)
def test_a_broken_line_is_told_and_left_out(folder: Path, tmp_path: Path, broken: dict[str, Any]) -> None:
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    changed = [event | (broken if event["event"] == "reopening" else {}) for event in events]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in changed))
    (tmp_path / "run.json").write_text((folder / "run.json").read_text())
    found = runlog.read(tmp_path)
    assert found.reopenings == ()
    assert any("not of an autowu log" in note for note in found.notes)


def test_both_warm_ups_are_shaded_and_the_return_is_in_words(run: Run) -> None:
    figure = figures.learning_rate_and_loss([run])
    shapes = figure["layout"]["shapes"]
    assert [(each["x0"], each["x1"]) for each in shapes if each["type"] == "rect"] == run.warmups
    assert [each["x0"] for each in shapes if each["type"] == "line"] == [end for _, end in run.warmups]
    (reopening,) = run.reopenings
    words = f"false alarm at step {reopening.switch.step:,}; warm-up goes on at step {reopening.step:,}"
    assert words in [note["text"] for note in figure["layout"]["annotations"]]


def test_the_smoothed_loss_has_a_gap_at_each_switch(run: Run) -> None:
    x, y = figures.smoothed_loss(run, 300)
    (gaps,) = np.nonzero(np.isnan(y))
    assert len(gaps) == 2
    for gap, (_, end) in zip(gaps, run.warmups, strict=True):
        assert x[gap - 1] <= end < x[gap + 1]


def test_the_sentence_tells_of_both_switches(run: Run) -> None:
    (reopening,) = run.reopenings
    words = summary.sentence(run)
    assert words.startswith(
        f"The switch at step {reopening.switch.step} was a false alarm, since the loss fell"
    )
    assert f"at step {reopening.step} the growth went on, from {reopening.lr:.3g}. The " in words


@pytest.mark.parametrize("form", ["html", "svg", "png"])
def test_it_can_be_written_in_every_form(run: Run, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"page.{form}"
    if form == "html":
        output.write_page(path, lambda: [run])
        assert "was a false alarm" in path.read_text(encoding="utf-8")
    else:
        pytest.importorskip("matplotlib")
        output.write_picture(path, form, lambda: picture.main([run]))
        assert path.stat().st_size > 10_000


def test_the_events_of_tensorboard_have_the_phases(run: Run) -> None:
    records = list(tensorboard.records(run))
    (reopening,) = run.reopenings
    assert run.switch is not None
    phases = {each["step"]: each["phase"] for each in records if each["event"] == "step"}
    at = [reopening.switch.step, reopening.step, run.switch.step]
    assert [phases[step] for step in at] == ["warmup", "decay", "warmup"]
    assert [phases[step + 1] for step in at] == ["decay", "warmup", "decay"]
    assert [each["step"] for each in records if each["event"] == "switch"] == at[::2]


def test_a_replay_tells_of_it_in_words_and_numbers(losses: np.ndarray) -> None:
    found = replay(losses)
    (reopening,) = found.state.reopenings
    known = {"step": reopening.step, "lr": reopening.lr, "switch_step": reopening.switch.step}
    assert found.to_json()["reopenings"] == [known | {"probed": False}]
    words = replay_text.decision(Record(losses, None), found)
    assert words.startswith(f"The switch at step {reopening.switch.step} was a false alarm; at step ")
    assert f" {reopening.step} warm-up went on. At step {found.switch_step} " in words
    assert "reopenings" not in replay(losses, reopen=None).to_json()


def test_a_record_of_every_third_update_is_told_in_updates(losses: np.ndarray) -> None:
    record = Record(losses, None, 3, ())
    found = replay_record(record, total_steps=3 * len(losses))
    (one,), (other,) = replay(losses).state.reopenings, found.state.reopenings
    assert (other.step, other.switch.step, other.growth.start) == (
        3 * one.step,
        3 * one.switch.step,
        3 * one.growth.start,
    )
    assert replayed.run_of("losses.csv", record, found).reopenings == (other,)
    assert "would have gone on" in summary.sentence(replayed.run_of("losses.csv", record, found))
