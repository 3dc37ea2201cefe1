"""A run folder is read as it was written; what is cut off or foreign is told in one line."""

import errno
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autowu.controller.state import Reason
from autowu.errors import UserError
from autowu.runlog import events as runlog_events
from autowu.runlog import run as runlog
from autowu.runlog import writer
from report import simulated


def append(folder: Path, text: str) -> None:
    with (folder / "log.jsonl").open("a") as file:
        file.write(text)


def test_a_run_is_read_as_it_was_written(autowu_run: Path) -> None:
    run = runlog.read(autowu_run)
    assert run.name == "autowu"
    assert run.config["optimizer"] == "adamp"
    assert run.notes == ()
    assert run.steps.tolist() == list(range(1, 1001))
    assert math.isnan(run.losses[120])
    assert np.isfinite(np.delete(run.losses, 120)).all()
    assert run.lrs[0] == 1e-5
    assert run.adaptive
    assert run.warmup_end == 400
    assert run.switch is not None
    assert (run.switch.step, run.switch.t_star, run.switch.rewound_to) == (400, 330.0, 320)
    assert [test.streak for test in run.tests][-4:] == [0, 1, 2, 3]
    assert run.tests[0].no_evidence == "the loss has not lifted off"
    assert run.tests[0].mean is None
    assert run.tests[-1].mean is not None
    assert len(run.tests[-1].mean) == 101
    assert [each.epoch for each in run.evaluations] == list(range(1, 41))


def test_a_log_of_version_0_1_is_read_as_well(autowu_run: Path) -> None:
    now = runlog.read(autowu_run)
    log, about = autowu_run / "log.jsonl", autowu_run / "run.json"
    renamed = log.read_text().replace('"event": "evaluation"', '"event": "epoch"')
    log.write_text(renamed.replace("samples_per_second", "images_per_second"))
    about.write_text(json.dumps({k: v for k, v in json.loads(about.read_text()).items() if k != "samples"}))
    before = runlog.read(autowu_run)
    assert before.evaluations == now.evaluations
    assert before.evaluations[0].samples_per_second == 9000.0
    assert before.samples == "images"
    assert before.notes == ()


def test_a_text_has_no_epochs(tmp_path: Path) -> None:
    run = runlog.read(simulated.autowu(tmp_path / "run", samples="tokens"))
    assert run.notes == ()
    assert run.samples == "tokens"
    assert [each.step for each in run.evaluations] == list(range(25, 1001, 25))
    assert all(math.isnan(each.epoch) for each in run.evaluations)


def test_a_baseline_makes_no_tests(baseline_run: Path) -> None:
    run = runlog.read(baseline_run)
    assert not run.adaptive
    assert run.warmup_end == 0


def test_the_name_is_the_folder_s_also_for_a_dot(autowu_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(autowu_run)
    assert runlog.read(Path()).name == "autowu"


def test_what_would_steer_a_terminal_is_replaced() -> None:
    assert runlog.printable("a\x1b[2J\nb\udcff") == "a�[2J�b�"


def test_a_log_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = simulated.autowu(tmp_path / "run", status="running")
    log = folder / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)[:300]
    log.write_text("".join(lines)[:-10])
    run = runlog.read(folder)
    assert len(run.steps) > 200
    assert run.switch is None
    assert run.notes == (
        "line 300 of the log is cut off and left out",
        "the run has not finished; shown as far as it goes",
    )


def test_a_run_that_has_just_begun_is_read(tmp_path: Path) -> None:
    folder = simulated.autowu(tmp_path / "run", status="running")
    (folder / "log.jsonl").write_text("")
    assert "no update is logged yet" in runlog.read(folder).notes


def test_the_second_account_of_a_step_counts(autowu_run: Path) -> None:
    append(autowu_run, '{"event": "step", "step": 7, "loss": 0.5, "lr": 0.25, "phase": "warmup"}\n')
    run = runlog.read(autowu_run)
    assert len(run.steps) == 1000
    assert (run.losses[6], run.lrs[6]) == (0.5, 0.25)


@pytest.mark.parametrize(("lost", "are"), [([500], "1 update is"), ([7, 8, 500], "3 updates are")])
def test_updates_that_a_log_lacks_are_told(autowu_run: Path, lost: list[int], are: str) -> None:
    lines = (autowu_run / "log.jsonl").read_text().splitlines(keepends=True)
    gone = [f'{{"event": "step", "step": {step},' for step in lost]
    kept = [line for line in lines if not line.startswith(tuple(gone))]
    assert len(kept) == len(lines) - len(lost)
    (autowu_run / "log.jsonl").write_text("".join(kept))
    assert runlog.read(autowu_run).notes == (f"{are} missing between the first and the last of the log",)


def with_switch(folder: Path, **changes: object) -> None:
    """The log with another account of the switch; None leaves a key out."""
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for event in events:
        if event["event"] == "switch":
            event.update(changes)
            for key in changes:
                if event[key] is None:
                    del event[key]
    (folder / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


@pytest.mark.parametrize("reason", Reason)
def test_the_reason_of_the_switch_is_read(autowu_run: Path, reason: Reason) -> None:
    with_switch(autowu_run, reason=reason.value, reads=2)
    run = runlog.read(autowu_run)
    assert run.switch is not None
    assert (run.switch.reason, run.switch.reads, run.notes) == (reason, 2, ())


def test_a_log_of_a_version_that_asked_for_the_end_of_the_fall_is_read(autowu_run: Path) -> None:
    events = [json.loads(line) for line in (autowu_run / "log.jsonl").read_text().splitlines()]
    known = runlog.read(autowu_run)
    for event in events:
        if event["event"] == "switch":
            event |= {"reason": "stall", "reads": 3}
        elif event["event"] == "test":
            event["p_stall"] = [0.99] * len(event["p_min"])
    (autowu_run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    run = runlog.read(autowu_run)
    assert run.notes == ()
    assert run.switch is not None
    assert (run.switch.reason, run.switch.reads, run.switch.t_star) == (Reason.MINIMUM, 3, 330)
    assert [test.p_min for test in run.tests] == [test.p_min for test in known.tests]


@pytest.mark.parametrize(("capped", "reason"), [(True, Reason.CAP), (False, Reason.MINIMUM)])
def test_a_switch_without_a_reason_has_that_of_its_kind(
    autowu_run: Path, capped: bool, reason: Reason
) -> None:
    with_switch(autowu_run, reason=None, reads=None, capped=capped)
    run = runlog.read(autowu_run)
    assert run.switch is not None
    assert (run.switch.reason, run.switch.reads, run.notes) == (reason, 0, ())


@pytest.mark.parametrize("broken", [{"reason": "a whim"}, {"reason": 3}, {"reads": -1}])
def test_a_switch_for_no_known_reason_is_told_and_left_out(autowu_run: Path, broken: dict[str, Any]) -> None:
    with_switch(autowu_run, **broken)
    run = runlog.read(autowu_run)
    assert run.switch is None
    assert any("not of an autowu log" in note for note in run.notes)


def test_unknown_events_are_passed_over(autowu_run: Path) -> None:
    append(autowu_run, '{"event": "resume", "from": 12}\n')
    assert runlog.read(autowu_run).notes == ()


def test_a_missing_log_is_named(autowu_run: Path) -> None:
    (autowu_run / "log.jsonl").unlink()
    with pytest.raises(UserError, match=r"^\S*log\.jsonl: no such file or directory; .*`autowu train`\?$"):
        runlog.read(autowu_run)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^\S*run\.json: no such file or directory; .*`autowu train`\?$"):
        runlog.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[1]", '{"config": {}}', "\xff"])
def test_a_foreign_run_json_is_named_and_a_broken_one_costs_the_settings_only(
    autowu_run: Path, text: str
) -> None:
    (autowu_run / "run.json").write_text(text, encoding="latin-1")
    run = runlog.read(autowu_run)
    assert run.notes == ("run.json cannot be used, so the settings are not shown",)
    assert len(run.steps) == 1000
    (autowu_run / "log.jsonl").write_text("")
    with pytest.raises(UserError, match=r"run\.json: not "):
        runlog.read(autowu_run)


STEP = {"event": "step", "step": 1001, "loss": 1.0, "lr": 0.1}
SWITCH = {"event": "switch", "step": 400, "capped": False, "t_star": 3.0, "peak_lr": 0.1, "rewound_to": None}
TEST = {"event": "test", "step": 9, "start": 0, "p_min": [], "detected": False, "argmins": [], "streak": 0}
TEST |= {"no_evidence": None, "mean": None, "sd": None, "noise": None}


@pytest.mark.parametrize(
    "line",
    [
        [1],
        {"no": "event"},
        STEP | {"step": "abc"},
        STEP | {"step": 10**30},
        STEP | {"step": -1},
        STEP | {"loss": [1]},
        STEP | {"loss": 10**400},
        SWITCH | {"peak_lr": 0},
        SWITCH | {"peak_lr": None},
        TEST | {"p_min": [1.5]},
        TEST | {"p_min": 0.5},
        TEST | {"argmins": [None]},
        TEST | {"mean": [1.0, 2.0], "sd": [1.0]},
    ],
    ids=str,
)
def test_a_line_of_another_kind_is_left_out_and_told(autowu_run: Path, line: object) -> None:
    number = len((autowu_run / "log.jsonl").read_text().splitlines()) + 1
    append(autowu_run, json.dumps(line) + "\n" + json.dumps(STEP | {"step": 1002}) + "\n")
    run = runlog.read(autowu_run)
    assert run.notes == (f"line {number:,} of the log is not of an autowu log and left out",)
    assert run.steps[-1] == 1002


def test_many_broken_lines_are_told_in_one_note(autowu_run: Path) -> None:
    append(autowu_run, "{\n" * 1000)
    (note,) = runlog.read(autowu_run).notes
    assert re.fullmatch(
        r"lines [\d,]+, [\d,]+, [\d,]+ and 997 more of the log are cut off and left out", note
    )


def test_an_endless_line_takes_no_memory_and_ends(autowu_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog_events, "LONGEST_LINE", 10_000)
    append(autowu_run, "x" * 99_999 + "\n" + json.dumps(STEP) + "\n")
    run = runlog.read(autowu_run)
    assert run.steps[-1] == 1001
    assert len(run.notes) == 1


def test_a_log_beyond_the_cap_is_shown_up_to_it(autowu_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog_events, "MOST_UPDATES", 500)
    run = runlog.read(autowu_run)
    assert len(run.steps) == 500
    assert run.notes == ("the log is longer than can be shown; its end is left out",)


def test_a_log_without_a_single_event_is_foreign(autowu_run: Path) -> None:
    (autowu_run / "log.jsonl").write_text("step,loss\n1,2.0\n")
    with pytest.raises(UserError, match=r"log\.jsonl, line 1: not a line of an autowu log"):
        runlog.read(autowu_run)


@pytest.mark.parametrize("loss", ["NaN", "Infinity", "-1e999", "1e200"])
def test_losses_beyond_all_measure_are_missing(autowu_run: Path, loss: str) -> None:
    append(autowu_run, f'{{"event": "step", "step": 1001, "loss": {loss}, "lr": 0.1}}\n')
    assert math.isnan(runlog.read(autowu_run).losses[-1])


def test_what_cannot_be_written_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.write_about(tmp_path, {"autowu": "1"})

    def full(path: Path, *_: object, **__: object) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write_about(tmp_path, {"autowu": "2"})
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert json.loads((tmp_path / "run.json").read_bytes()) == {"autowu": "1"}
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"No space left|Not a directory"):
        writer.write_about(tmp_path / "file", {})
