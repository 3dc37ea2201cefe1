"""Which updates the entries of a record are of: strides, resumed runs, and the length of the run."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.offline.curves import v_shaped, write

from autowu.errors import UserError
from autowu.offline import logs
from autowu.offline.logs import entries
from autowu.offline.strided import replay_record

NAN = math.nan


def read(path: Path, content: str | bytes, total_steps: int | None = None) -> list[float]:
    file = path / "losses.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return logs.read(str(file), total_steps).losses.tolist()


def numbered(path: Path, steps: Iterable[int]) -> logs.Record:
    """The record of a file in which the loss of each step is that step."""
    file = path / "losses.csv"
    file.write_text("step,loss\n" + "".join(f"{step},{step}\n" for step in steps))
    return logs.read(str(file))


@pytest.mark.parametrize(
    ("steps", "stride", "expected", "notes"),
    [
        pytest.param(range(50, 301, 50), 50, range(50, 301, 50), [], id="six"),
        pytest.param(range(49, 500, 50), 50, range(49, 500, 50), [], id="counted from 0"),
        pytest.param([1, *range(5, 601, 5)], 5, range(5, 601, 5), ["step 1 is left out"], id="the first"),
        pytest.param([1, 5, 10, 15], 5, [5, 10, 15], ["step 1 is left out"], id="the first of few"),
        pytest.param(
            [*range(5, 1001, 5), 1002], 5, range(5, 1001, 5), ["step 1,002 is left out"], id="the last"
        ),
        pytest.param(
            [1, *range(5, 606, 5), 607],
            5,
            range(5, 606, 5),
            ["steps 1 and 607 are left out, since the others are 5 updates apart"],
            id="both",
        ),
        pytest.param(
            [1, *range(10, 40, 10), *range(60, 201, 10)],
            10,
            [10, 20, 30, NAN, NAN, *range(60, 201, 10)],
            ["step 1 is left out"],
            id="the first, and a gap",
        ),
        pytest.param([0, 2, 5], 1, [0, NAN, 2, NAN, NAN, 5], [], id="too few to tell"),
        pytest.param(
            [step for step in range(100) if step % 9 != 4],
            1,
            [NAN if step % 9 == 4 else step for step in range(100)],
            [],
            id="nearly all updates",
        ),
        pytest.param(
            [0, 2, 3, 5, 6, 8, 9, 11, 12, 14],
            1,
            [NAN if step % 3 == 1 else step for step in range(15)],
            [],
            id="two of three updates",
        ),
        pytest.param(
            [*range(50, 501, 50), *range(530, 1001, 50)],
            50,
            [*range(50, 501, 50), *range(530, 1001, 50)],
            ["the losses are not all 50 updates apart, but taken as if they were"],
            id="a grid that shifts",
        ),
    ],
)
def test_the_stride_is_that_of_the_regular_entries(
    tmp_path: Path, steps: Iterable[int], stride: int, expected: Iterable[float], notes: list[str]
) -> None:
    found = numbered(tmp_path, steps)
    assert found.stride == stride
    np.testing.assert_array_equal(found.losses, list(expected))
    assert len(found.notes) == len(notes)
    assert all(told.startswith(note) for told, note in zip(found.notes, notes, strict=True))


def test_a_count_that_begins_again_with_each_epoch_keeps_nearly_all_losses(tmp_path: Path) -> None:
    steps = [391 * epoch + batch for epoch in range(30) for batch in range(0, 391, 100)]
    found = numbered(tmp_path, steps)
    assert found.stride == 100
    assert np.isfinite(found.losses).all()
    assert len(found.losses) > 0.97 * len(steps)
    np.testing.assert_allclose(found.losses, 100 * np.arange(len(found.losses)), atol=51)


def test_the_same_losses_with_an_odd_first_and_last_entry_are_decided_the_same(tmp_path: Path) -> None:
    losses = v_shaped(200)

    def outcome(steps: Iterable[int], losses: Iterable[float]) -> dict[str, Any]:
        return replay_record(logs.read(write(tmp_path / "v.csv", losses, steps)), 1800).to_json()

    regular = outcome(range(5, 1001, 5), losses)
    assert regular["switched"]
    assert outcome([1, *range(5, 1001, 5), 1003], [9, *losses, 9]) == regular


# --- resumed runs -------------------------------------------------------------------------------------


def resumed(*parts: range) -> str:
    """A log of a run that was killed and resumed; a loss is the number of the part it is from."""
    return "step,loss\n" + "".join(f"{step},{at}\n" for at, part in enumerate(parts) for step in part)


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        ([range(81), range(51, 120)], "steps 51 to 80 are given twice, and the later ones count"),
        ([range(81), range(80, 120)], "step 80 is given twice, and the later one counts"),
        (
            [range(81), range(51, 100), range(90, 150)],
            "40 steps from 51 to 99 are given twice, and the later ones count",
        ),
        (
            [range(81), range(51, 85), range(60, 150)],
            "steps 51 to 84 are given several times, and the last ones count",
        ),
        ([range(20), range(200)], "steps 0 to 19 are given twice, and the later ones count"),
        ([range(50, 1001, 50), range(500, 2001, 50)], "steps 500 to 1,000 are given twice"),
    ],
)
def test_a_resumed_run_s_later_losses_count(tmp_path: Path, parts: list[range], note: str) -> None:
    file = tmp_path / "losses.csv"
    file.write_text(resumed(*parts))
    found = logs.read(str(file))
    expected = {step: at for at, part in enumerate(parts) for step in part}
    assert found.losses.tolist() == [expected[step] for step in sorted(expected)]
    assert len(found.notes) == 1
    assert found.notes[0].startswith(note)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            resumed(*[range(100)] * 4),
            ", line 102: step 0 after step 99; steps must be counted through the whole run, but begin again"
            " 3 times",
            id="a count for each epoch",
        ),
        pytest.param(
            "step,loss\n" + "".join(f"{step},3\n{step},2\n" for step in range(50)),
            ", line 3: step 0 after step 0; steps must grow from row to row, and may go back, as in a resumed"
            " run, at most once in 10 rows",
            id="two writers",
        ),
        pytest.param(resumed(range(30, 0, -1)), ", line 3: step 29 after step 30; steps must", id="reversed"),
        pytest.param(
            resumed(range(1, 30), range(30)), ", line 31: step 0 in a record that begins at", id="before 1"
        ),
    ],
)
def test_steps_that_are_a_mess_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(tmp_path, content)
    assert str(refusal.value).startswith(str(tmp_path / "losses.csv") + message)


def test_a_count_that_begins_again_is_refused_in_json_lines_too(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"

    def lines(epochs: int, ranks: int = 1) -> str:
        steps = [step for _ in range(epochs) for step in range(50) for _ in range(ranks)]
        return "".join(f'{{"iter": {step}, "loss": 1}}\n' for step in steps)

    file.write_text(lines(3))
    with pytest.raises(UserError, match=r"row 51: step 0 after step 49; .* but begin again 2 times"):
        logs.read(str(file))
    for epochs, ranks in ((2, 1), (1, 4)):  # as of a resumed run, and of several writers
        file.write_text(lines(epochs, ranks))
        assert logs.read(str(file)).notes[0].startswith("steps 0 to 49 are given ")


# --- the length of the run ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("loss\n3\n2\n1\n", "line 4: update 3 is beyond --total-steps 2, which must cover the record"),
        ("step,loss\n0,3\n2,1\n", "line 3: step 2 is beyond --total-steps 2"),
        ("step,loss\n1,3\n3,1\n", "line 3: step 3 is beyond --total-steps 2"),
    ],
)
def test_the_record_must_fit_into_the_run(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, content, total_steps=2)


def test_a_record_as_long_as_the_run_fits(tmp_path: Path) -> None:
    assert read(tmp_path, "loss\n3\n2\n", total_steps=2) == [3, 2]
    assert read(tmp_path, "step,loss\n1,3\n2,2\n", total_steps=2) == [3, 2]


def test_a_record_longer_than_can_be_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST_STEPS", 2)
    with pytest.raises(UserError, match="line 4: update 3 is beyond 2, the most that can be replayed"):
        read(tmp_path, "loss\n3\n2\n1\n", total_steps=5)
