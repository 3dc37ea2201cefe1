"""`report` and `replay` decide the same on a log, and say first what it cannot tell."""

import argparse
import csv
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autowu
from autowu import cli, report
from autowu.arrays import Array
from autowu.errors import UserError
from autowu.offline import arguments, logs
from autowu.offline.decide import decide
from autowu.report.replayed import Replayed, star, star_words
from autowu.report.summary import sentence
from report import simulated

N = 400


def v_shaped(n: int = N, at: float = 0.45) -> Array:
    x = np.arange(n) / n
    fall = 1.8 / (1 + np.exp((x - at / 2) * 20))
    noise = 0.03 * np.random.default_rng(0).standard_normal(n)
    return 0.5 + fall + 6 * np.clip(x - at, 0, None) ** 2 + noise


def write(path: Path, **columns: Sequence[float] | Array) -> str:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return str(path)


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return parser.parse_args(list(argv))


def shown(path: str, *flags: str) -> Replayed:
    run = report.read([Path(path)], arguments.asked(parsed(path, *flags)))[0]
    assert isinstance(run, Replayed)
    return run


def replayed(capsys: pytest.CaptureFixture[str], path: str, *flags: str) -> dict[str, Any]:
    assert cli.main(["replay", path, "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def sweep(path: Path) -> str:
    return write(path, lr=np.geomspace(1e-6, 1, N), loss=v_shaped(at=0.8))


def cosine(path: Path) -> str:
    """A recorded baseline: linear warm-up, cosine decay."""
    x = np.arange(N) / N
    rates = 4e-3 * np.where(x < 0.1, (x + 1 / N) / 0.1, 0.5 * (1 + np.cos(np.pi * (x - 0.1) / 0.9)))
    return write(path, step=range(N), loss=v_shaped(), lr=rates)


def own(path: Path, total: int = N, recorded: int = N) -> str:
    """The log of a loop in which AutoWU set the learning rates, as far as it has come."""
    losses = v_shaped(total)
    return write(path, loss=losses[:recorded], lr=autowu.replay(losses).learning_rates[:recorded])


LOGS = {"a range test": sweep, "a baseline": cosine, "an own loop": own}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize(
    "flags", [[], ["--no-sweep"], ["--total-steps", "900", "--seed", "2"], ["--confidence", "0.8"]]
)
def test_report_and_replay_decide_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, flags: list[str]
) -> None:
    path = LOGS[name](tmp_path / "log.csv")
    said, run = replayed(capsys, path, *flags), shown(path, *flags)
    assert ("sweep" in said) == (run.range_test is not None)
    switch = run.switch
    assert said["switch_step"] == (switch and switch.step)
    assert said["peak_lr"] == (switch and switch.peak_lr)
    assert said["t_star"] == (switch and switch.t_star)
    assert run.command is not None
    assert shlex.split(run.command) == ["autowu", "replay", path, *flags]


def test_a_range_test_is_told_as_one_by_the_report(tmp_path: Path) -> None:
    run = shown(sweep(tmp_path / "sweep.csv"))
    assert sentence(run).startswith("Your LR sweep says: peak LR")
    assert report.summary.COLUMNS["schedule"](run) == "range test"
    headings = [section.heading for section in report.page.sections([run])]
    assert headings[0] == "The learning-rate range test"


def test_a_range_test_without_a_minimum_names_no_peak(tmp_path: Path) -> None:
    path = write(tmp_path / "down.csv", lr=np.geomspace(1e-6, 1, N), loss=np.linspace(3, 1, N))
    run = shown(path)
    assert report.summary.COLUMNS["peak LR"](run) == "–"
    assert "the loss was still falling at 1" in sentence(run)


def test_another_schedule_is_said_first_and_the_peak_is_marked_on_its_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cosine(tmp_path / "baseline.csv")
    run = shown(path)
    assert run.notes[0].startswith("Recorded under another schedule (learning rates from 7.62e-08 to 0.004)")
    cli.main(["replay", path])
    assert capsys.readouterr().out.startswith("Recorded under another schedule")
    assert replayed(capsys, path)["caveats"][0].startswith("Recorded under another schedule")
    place = star(run)
    assert place is not None
    assert run.switch is not None
    assert place[1] == pytest.approx(np.interp(place[0], run.steps, run.lrs), rel=0.01)
    assert place[1] != pytest.approx(run.switch.peak_lr, rel=0.1)
    assert star_words(run, place).startswith("recorded LR ")


def test_a_constant_rate_is_another_schedule_and_a_factor_is_none(tmp_path: Path) -> None:
    losses = v_shaped()
    rates = autowu.replay(losses).learning_rates
    constant = write(tmp_path / "constant.csv", loss=losses, lr=np.full(N, 1e-3))
    scaled = write(tmp_path / "scaled.csv", loss=losses, lr=0.1 * rates)  # of a group with an LR of its own
    later = write(tmp_path / "later.csv", loss=losses[1:], lr=rates[:-1])
    assert decide(constant).foreign
    assert "learning rates of 0.001" in decide(constant).caveats()[0]
    assert not decide(scaled).foreign
    assert not decide(own(tmp_path / "own.csv")).foreign
    assert decide(later).foreign is False


@pytest.mark.parametrize(
    ("factor", "every", "foreign"),
    [
        (1.015, 3, False),  # as far as a log with few digits tells
        (1.1, 3, True),
        (10, 11, False),  # few are others, such as the first ones after each resumption
        (10, 9, True),
    ],
)
def test_a_log_s_rounding_and_a_few_odd_rates_make_no_other_schedule(
    tmp_path: Path, factor: float, every: int, foreign: bool
) -> None:
    decided = decide(own(tmp_path / "own.csv"))
    assert decided.record.lrs is not None
    lrs = decided.record.lrs.copy()
    lrs[::every] *= factor
    assert replace(decided, record=replace(decided.record, lrs=lrs)).foreign == foreign


def test_a_run_that_is_not_over_is_told_by_its_length(tmp_path: Path) -> None:
    path = own(tmp_path / "mine.csv", total=1000, recorded=550)
    guessed, given = shown(path), shown(path, "--total-steps", "1000")
    assert guessed.notes[0].startswith("The learning rates grow as AutoWU's do, but not as in a run of 550")
    assert "--total-steps" in guessed.notes[0]
    blind = shown(write(tmp_path / "blind.csv", loss=v_shaped(1000)[:550]))
    assert any("taken for the whole run, of 550" in note for note in blind.notes)
    assert guessed.foreign  # these are not the LRs of a run of 550
    assert not given.foreign
    assert not any("--total-steps" in note for note in given.notes)
    whole = autowu.replay(v_shaped(1000))
    assert whole.switch_step is not None
    assert whole.switch_step < 550
    assert given.switch is not None
    assert (given.switch.step, given.switch.peak_lr) == (whole.switch_step, whole.peak_lr)


def test_a_log_of_every_tenth_update_says_so_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "tenth.csv", step=range(0, 10 * N, 10), loss=v_shaped())
    assert shown(path).notes[0].startswith("A loss for every 10 updates only")
    cli.main(["replay", path])
    assert capsys.readouterr().out.startswith("A loss for every 10 updates only")


@pytest.mark.parametrize("column", ["lr", "autowu/learning_rate"])
def test_a_tenth_of_autowu_s_own_log_is_of_no_other_schedule(tmp_path: Path, column: str) -> None:
    losses = v_shaped(10 * N)
    columns = {"step": range(0, 10 * N, 10), "loss": losses[::10]}
    rates = autowu.replay(losses).learning_rates[::10]
    run = shown(write(tmp_path / "tenth.csv", **columns, **{column: rates}))
    other = column == "lr"  # whose it is, nothing says
    assert any("AutoWU did not run here" in note for note in run.notes) == other
    assert run.notes[0].startswith("A loss for every 10 updates only") != other
    place = star(run)
    assert place is not None
    assert place[1] == pytest.approx(np.interp(place[0], run.steps, run.lrs), rel=0.05)  # on the curve


def test_the_command_says_above_the_table_what_a_log_cannot_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write(tmp_path / f"{name}.csv", loss=v_shaped(1000)[:550]) for name in ("one", "two")]
    assert cli.main(["report", *paths, "-o", str(tmp_path / "page.html")]) == 0
    told, _, table = capsys.readouterr().out.partition("\nrun ")
    assert " ".join(told.split()).startswith("one.csv, two.csv: The record is taken for the whole run, of")
    assert told.count("whole run") == 1
    assert max(map(len, told.splitlines())) <= 80
    assert "one.csv" in table


def test_settings_for_runs_that_have_decided_are_refused(tmp_path: Path, autowu_run: Path) -> None:
    asked = arguments.asked(parsed("x", "--total-steps", "500"))
    with pytest.raises(UserError, match="--total-steps 500: is of logs that are replayed"):
        report.read([autowu_run], asked)
    path = Path(write(tmp_path / "log.csv", loss=v_shaped(100)))
    assert len(report.read([autowu_run, path], asked)) == 2


# --- folders ------------------------------------------------------------------------------------------


def state(folder: Path, last: int, most: object = 900) -> Path:
    """``trainer_state.json`` as Hugging Face's Trainer leaves it in a checkpoint."""
    history = [{"step": i + 1, "loss": loss} for i, loss in enumerate(v_shaped()[:last])]
    folder.mkdir(parents=True)
    about = {"global_step": last, "max_steps": most, "log_history": [*history, {"eval_loss": 1}]}
    (folder / "trainer_state.json").write_text(json.dumps(about))
    return folder


def test_a_folder_of_hugging_face_s_trainer_is_its_last_checkpoint(tmp_path: Path) -> None:
    for last in (90, 400, 100):
        state(tmp_path / "out" / f"checkpoint-{last}", last)
    (tmp_path / "out" / "checkpoint-best").mkdir()
    run = shown(str(tmp_path / "out"))
    assert len(run.steps) == 400
    assert run.schedule["total_steps"] == 900  # max_steps
    assert any("one of 900 updates, as its log says" in note for note in run.notes)
    assert shown(str(tmp_path / "out"), "--total-steps", "500").schedule["total_steps"] == 500
    assert len(shown(str(tmp_path / "out" / "checkpoint-90" / "trainer_state.json")).steps) == 90


@pytest.mark.parametrize(("most", "taken"), [(0, 400), (None, 400), ("1e9", 400), (True, 400), (10, 400)])
def test_a_length_that_cannot_be_is_not_taken(tmp_path: Path, most: object, taken: int) -> None:
    assert shown(str(state(tmp_path / "out", 400, most))).schedule["total_steps"] == taken


def test_a_folder_of_lightning_s_csv_logger_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "lightning_logs" / "version_0"
    folder.mkdir(parents=True)
    (folder / "hparams.yaml").write_text("{}\n")
    rows = ["epoch,lr-SGD,step,train_loss"]
    for i, loss in enumerate(v_shaped()):
        rows += [f",0.001,{i},", f"0,,{i},{loss}"]  # the monitor of the LR writes rows of its own
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    run = shown(str(folder))
    assert len(run.steps) == N
    assert set(run.lrs) == {1e-3}


def test_a_run_of_autowu_that_is_not_over_is_replayed_at_its_length(tmp_path: Path) -> None:
    folder = simulated.autowu(tmp_path / "run", status="running")
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"schedule": {"total_steps": 3000}}))
    assert decide(str(folder)).replay.config.total_steps == 3000
    for broken in ("{", "[]", '{"schedule": 3}', '{"schedule": {"total_steps": "x"}}'):
        (folder / "run.json").write_text(broken)
        assert logs.read(str(folder)).planned is None


def test_a_run_without_a_known_end_is_replayed_as_such(tmp_path: Path) -> None:
    folder = simulated.autowu(tmp_path / "run")
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"schedule": {"total_steps": None}}))
    decided = decide(str(folder))
    assert decided.record.planned == math.inf
    assert decided.replay.config.total_steps is None
    assert any("as in a run without a known end" in caveat for caveat in decided.caveats())
    lrs = decided.replay.learning_rates
    same = replace(decided, record=replace(decided.record, lrs=lrs))
    assert (same.caveats(), same.assumed()) == ((), "The run had no known end, as its log says")
