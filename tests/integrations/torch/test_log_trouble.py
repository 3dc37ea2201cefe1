"""A log that cannot be written, or that two write to; copies of what writes it."""

import copy
import pickle
from pathlib import Path

import pytest

from autowu.runlog.run import read
from integrations.torch.logging_runs import assert_log_is_of
from integrations.torch.training import drive, scheduler, v_curve
from told import WATCH

pytestmark = pytest.mark.filterwarnings(WATCH)


def of_the_log(told: pytest.WarningsRecorder) -> int:
    """How many warnings are about it."""
    return sum("the log in" in str(warning.message) for warning in told)


def test_a_disk_that_fails_ends_the_log_and_not_the_run(tmp_path: Path) -> None:
    losses, log = v_curve(), tmp_path / "runs" / "log.jsonl"
    made = scheduler(log=tmp_path / "runs")
    lrs = drive(made, losses[:50])
    log.unlink()
    log.mkdir()
    with pytest.warns(UserWarning, match=r"the log in .*runs cannot be written: .*goes on without") as told:
        lrs += drive(made, losses[50:])[1:]
    assert of_the_log(told) == 1
    assert lrs == drive(scheduler(), losses)


def test_a_log_that_was_given_up_for_a_while_has_all_decisions_and_says_what_it_lacks(tmp_path: Path) -> None:
    losses, log = v_curve(), tmp_path / "log.jsonl"
    first, died = scheduler(log=tmp_path), tmp_path / "died.jsonl"
    drive(first, losses[:60])
    log.rename(died)
    log.mkdir()
    with pytest.warns(UserWarning, match="goes on without"):
        drive(first, losses[60:150])
    assert first.switch is not None
    log.rmdir()
    died.rename(log)

    made = scheduler(log=tmp_path)
    made.load_state_dict(first.state_dict())
    before = read(tmp_path)
    drive(made, losses[150:])
    run = read(tmp_path)
    assert len(before.tests) < len(first.verdicts)
    assert (run.switch, before.switch) == (made.switch, None)
    assert [test.step for test in run.tests] == [verdict.step for verdict in made.verdicts]
    lines = log.read_bytes().splitlines()
    assert len(set(lines)) == len(lines)
    missing = len(losses) - len(run.steps)
    assert missing > 0
    assert f"{missing} updates are missing between the first and the last of the log" in run.notes


@pytest.mark.parametrize(
    ("folder", "why"), [("runs/mine", "Not a directory"), ("x" * 300, "File name too long")]
)
def test_a_folder_that_cannot_be_made_is_told_of_once(tmp_path: Path, folder: str, why: str) -> None:
    (tmp_path / "runs").touch()
    with pytest.warns(UserWarning, match=f"cannot be written: {why}") as told:
        lrs = drive(scheduler(log=tmp_path / folder), v_curve())
    assert of_the_log(told) == 1
    assert lrs == drive(scheduler(), v_curve())


def test_two_that_write_to_one_log_are_told_apart(tmp_path: Path) -> None:
    losses = v_curve()
    one = scheduler(log=tmp_path)
    drive(one, losses[:50])
    other = copy.deepcopy(one)
    drive(other, losses[50:])
    with pytest.warns(UserWarning, match="something else writes to the log .* This one writes") as told:
        drive(one, [3 * loss for loss in losses[50:]])
    assert of_the_log(told) == 1
    assert_log_is_of(read(tmp_path), other, drive(scheduler(), losses), losses)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_of_a_scheduler_goes_on_with_the_log(again, tmp_path: Path) -> None:
    losses = v_curve()
    made = scheduler(log=tmp_path)
    drive(made, losses[:30])
    made = again(made)
    drive(made, losses[30:])
    assert_log_is_of(read(tmp_path), made, drive(scheduler(), losses), losses)


def test_the_state_does_not_know_of_the_log(tmp_path: Path) -> None:
    one, other = scheduler(log=tmp_path), scheduler()
    for made in (one, other):
        drive(made, v_curve()[:100])
    assert str(one.state_dict()) == str(other.state_dict())
