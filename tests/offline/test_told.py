"""What a log is taken for where it is not what it seems, and that it is told."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from tests.offline.curves import printed, v_shaped, words, write

from autowu.config import LONGEST
from autowu.errors import UserError
from autowu.offline import logs
from autowu.offline.arguments import Asked
from autowu.offline.decide import decide
from autowu.offline.logs import Choice, Record

LOSSES = v_shaped(300)


def numbered(path: Path, steps: Iterable[int]) -> Record:
    return logs.read(write(path / "losses.csv", LOSSES, steps))


def columns(path: Path, header: str, *rows: str) -> str:
    """A CSV file with a loss after each of the cells ``rows``."""
    lines = (f"{row},{loss}\n" for row, loss in zip(rows, LOSSES, strict=False))
    (path / "log.csv").write_text(f"{header},loss\n" + "".join(lines))
    return str(path / "log.csv")


def first_of_all(path: str) -> str:
    return " ".join(decide(path).caveats())


# --- the beginning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "begins"),
    [
        (range(5, 305), "5"),
        (range(20, 320), "20"),
        (range(5000, 5300), "5,000"),
        (range(50_000, 53_000, 10), "50,000"),
        (range(20, 3020, 10), "20"),
    ],
)
def test_a_record_that_begins_late_is_counted_from_there(tmp_path: Path, steps: range, begins: str) -> None:
    found = numbered(tmp_path, steps)
    np.testing.assert_array_equal(found.losses, LOSSES)
    assert found.notes == (f"the record begins at step {begins}, and is counted from there",)
    assert decide(str(tmp_path / "losses.csv")).caveats() == (
        decide(write(tmp_path / "zero.csv", LOSSES, range(0, len(LOSSES) * steps.step, steps.step))).caveats()
    )


@pytest.mark.parametrize("steps", [range(0, 3000, 10), range(9, 3009, 10), range(10, 3010, 10), range(300)])
def test_a_record_that_begins_at_the_beginning_has_no_note(tmp_path: Path, steps: range) -> None:
    assert numbered(tmp_path, steps).notes == ()


def test_a_record_that_begins_a_little_later_lacks_the_losses_before(tmp_path: Path) -> None:
    found = numbered(tmp_path, range(4, 304))
    assert np.isnan(found.losses[:4]).all()
    np.testing.assert_array_equal(found.losses[4:], LOSSES)
    assert found.notes == ()


@pytest.mark.parametrize("name", ["split", "mode", "Phase"])
def test_rows_of_evaluations_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    rows = [f"{i},{'val' if i % 3 == 2 else 'train'},{i}\n" for i in range(30)]
    (tmp_path / "log.csv").write_text(f"epoch,{name},loss\n" + "".join(rows))
    found = logs.read(str(tmp_path / "log.csv"))
    assert found.losses.tolist() == [i for i in range(30) if i % 3 != 2]
    assert found.notes == ("10 rows are of an evaluation, and left out",)
    one = [json.dumps({"step": i, name: "train", "loss": 1.0}) for i in range(30)]
    one.append(json.dumps({"step": 29, name: " Test", "loss": 9.0}))
    (tmp_path / "log.jsonl").write_text("\n".join(one))
    found = logs.read(str(tmp_path / "log.jsonl"))
    assert set(found.losses) == {1.0}
    assert found.notes == ("1 row is of an evaluation, and left out",)
    (tmp_path / "log.csv").write_text(f"step,{name},loss\n1,val,2.0\n2,val,1.0\n")
    with pytest.raises(UserError, match=r"no loss .* \(2 rows are of an evaluation, and left out\)"):
        logs.read(str(tmp_path / "log.csv"))


# --- what it has of losses ----------------------------------------------------------------------------


def test_most_losses_missing_is_told_first(tmp_path: Path) -> None:
    steps = [int(i**1.7) for i in range(1, 301)]
    assert first_of_all(write(tmp_path / "x.csv", LOSSES, steps)).startswith(
        f"The log has no loss for {steps[-1] - 300:,} of {steps[-1]:,} updates, and AutoWU takes"
    )
    third = [step for step in range(300) if step % 3]
    assert first_of_all(write(tmp_path / "x.csv", LOSSES[:200], third)) == ""  # most are there
    dead = [*LOSSES[:100], *[np.nan] * 200]
    assert first_of_all(write(tmp_path / "x.csv", dead, range(300))) == ""  # they are there, and not finite


@pytest.mark.parametrize(("count", "have"), [(1, "1 loss is"), (9, "9 losses are")])
def test_too_few_losses_are_told_first(tmp_path: Path, count: int, have: str) -> None:
    state = {"max_steps": 600, "log_history": [{"loss": 2.0, "step": 500 + i} for i in range(count)]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert first_of_all(str(tmp_path)).startswith(f"Only {have} finite, and a test needs 10: such a log")


@pytest.mark.parametrize("first", [0, 1])
def test_a_loss_for_each_epoch_is_told_first(tmp_path: Path, first: int) -> None:
    path = columns(tmp_path, "epoch", *(str(i + first) for i in range(30)))
    assert first_of_all(path).startswith("A loss for each epoch, by its column epoch, and each is taken for")


def test_a_loss_for_each_epoch_of_a_resumed_run_is_told_too(tmp_path: Path) -> None:
    path = columns(tmp_path, "epoch", *map(str, [*range(20), *range(15, 30)]))
    assert first_of_all(path).startswith("A loss for each epoch, by its column epoch")


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([f"{i // 10}" for i in range(30)], id="updates of epochs"),
        pytest.param([f"{i / 10}" for i in range(30)], id="parts of epochs"),
        pytest.param(["x"] * 30, id="no numbers"),
    ],
)
def test_an_epoch_that_does_not_number_the_losses_says_nothing(tmp_path: Path, rows: list[str]) -> None:
    assert first_of_all(columns(tmp_path, "epoch", *rows)) == ""
    assert first_of_all(columns(tmp_path, "epoch,step", *(f"{i},{i}" for i in range(30)))) == ""


@pytest.mark.parametrize(("every", "told"), [(1, True), (100, False)])
def test_a_loss_that_is_called_one_of_an_epoch_is_told_too(tmp_path: Path, every: int, told: bool) -> None:
    rows = (f"{i * every},{loss}\n" for i, loss in enumerate(LOSSES[:30]))
    (tmp_path / "log.csv").write_text("step,epoch_loss\n" + "".join(rows))
    asked = Asked(choice=Choice(loss="epoch_loss"))
    first = " ".join(decide(str(tmp_path / "log.csv"), asked).caveats())
    assert first.startswith("A loss for each epoch, by its column epoch_loss, and each is") == told
    assert first.startswith("A loss for every 100 updates") != told


# --- learning rates that are not used -----------------------------------------------------------------


def test_of_several_learning_rates_none_is_taken_and_all_are_named(tmp_path: Path) -> None:
    path = columns(tmp_path, "lr-AdamW/pg1,lr-AdamW/pg2", *["0.001,0.0001"] * 300)
    found = logs.read(path)
    assert found.lrs is None
    assert found.notes == (
        "the recorded learning rates are not used: they could be 'lr-AdamW/pg1', 'lr-AdamW/pg2'; "
        "name one with --lr-column",
    )
    assert logs.read(path, choice=Choice(lr="lr-AdamW/pg2")).notes == ()


@pytest.mark.parametrize("rate", ["high", "0", "-3.5"])  # the last is the logarithm of one
def test_learning_rates_that_are_none_are_told_and_refused_if_asked_for(tmp_path: Path, rate: str) -> None:
    path = columns(tmp_path, "lr", *[rate] * 300)
    note = "the column 'lr' has no number above 0, so the recorded learning rates are not known"
    assert logs.read(path).notes == (note,)
    assert logs.read(path).lrs is None
    with pytest.raises(UserError, match="--lr-column 'lr' must have numbers above 0, and has none"):
        logs.read(path, choice=Choice(lr="lr"))


# --- the run's length ---------------------------------------------------------------------------------


def warm_up(path: Path, most: int) -> str:
    """The beginning of a run of Hugging Face's Trainer, whose LR grows by a factor of 45."""
    rows = [{"step": 10 * i, "loss": float(LOSSES[i]), "learning_rate": 1e-6 * i} for i in range(1, 46)]
    (path / "trainer_state.json").write_text(json.dumps({"max_steps": most, "log_history": rows}))
    return str(path)


def test_a_warm_up_of_a_longer_run_is_no_range_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = warm_up(tmp_path, 10_000)
    assert decide(path).range_test is None
    assert "one of 10,000 updates, as its log says; --sweep if this is a range" in words(
        printed(capsys, path)
    )
    assert "Your LR sweep says" in words(printed(capsys, path, "--sweep"))


@pytest.mark.parametrize("most", [450, 455])
def test_one_that_is_the_whole_run_is_and_can_be_denied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], most: int
) -> None:
    path = warm_up(tmp_path, most)
    assert decide(path).range_test is not None
    assert "a learning-rate sweep (--no-sweep if it is not)." in words(printed(capsys, path))
    assert "--no-sweep" not in words(printed(capsys, path, "--sweep"))


@pytest.mark.parametrize(("most", "taken"), [(LONGEST, LONGEST), (LONGEST + 1, None), (10**400, None)])
def test_a_length_beyond_reason_is_not_taken(tmp_path: Path, most: int, taken: int | None) -> None:
    assert logs.read(warm_up(tmp_path, most)).planned == taken
    decide(str(tmp_path))


# --- lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0c", "\x1c"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_is_no_end_of_a_line_loses_no_row(tmp_path: Path, mark: str, end: str, form: str) -> None:
    note = f"a{mark}b" if form == "csv" or mark >= " " else "ab"  # JSON has no control characters
    if form == "csv":
        lines = ["step,note,loss", *(f"{i},{note},{loss}" for i, loss in enumerate(LOSSES))]
    else:
        rows = ({"step": i, "loss": loss, "note": note} for i, loss in enumerate(LOSSES.tolist()))
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "log").write_bytes("".join(line + end for line in lines).encode())
    found = logs.read(str(tmp_path / "log"))
    np.testing.assert_array_equal(found.losses, LOSSES)
    assert found.notes == ()


# --- what cannot be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("step;loss\n0;3\n", "among 'step;loss'; the cells of a line must be separated by commas"),
        ("step\tloss\n0\t3\n", r"among 'step\tloss'; the cells of a line must be separated by commas"),
        ("0,2.5\n1,-3e-1\n", "among '0', '2.5'; the first line must name the columns, one of them loss"),
        ("0 2.5\n1 -3e-1\n", "must name the columns, one of them loss, and commas separate their cells"),
        ("step,cost\n0,3\n", "among 'step', 'cost'; name it with --loss-column"),
        ('[\n {\n  "loss": 3\n },\n {\n  "lo', ": JSON that is cut off or broken (Unterminated string"),
        ('{"log_history": [{"loss": 3}, {"l', ": JSON that is cut off or broken (Unterminated string"),
    ],
)
def test_the_error_says_what_would_do(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "log").write_text(content)
    with pytest.raises(UserError) as refusal:
        logs.read(str(tmp_path / "log"))
    assert message in str(refusal.value)


def test_a_run_that_has_not_begun_is_said_to_have_no_update(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(UserError, match="no update is logged yet"):
        logs.read(str(tmp_path))
