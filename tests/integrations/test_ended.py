"""When an end, or what may bring it about, is told."""

from __future__ import annotations

from typing import Any

import pytest

from autowu.integrations.ended import ended_early, is_over


@pytest.mark.parametrize(
    ("updates", "lr", "peak_lr", "told"),
    [
        (60, 0.0101, 0.1, True),
        (60, 0.01, 0.1, False),  # a tenth
        (60, 0.1, None, True),  # warm-up
        (100, 0.1, 0.1, False),  # in full
        (101, 0.1, 0.1, False),
        (0, 0.1, None, False),  # it has not begun
    ],
)
def test_what_is_told(updates: int, lr: float, peak_lr: float | None, told: bool) -> None:
    assert (ended_early(100, updates, lr, peak_lr) is not None) == told


def test_the_text_has_the_numbers() -> None:
    text = ended_early(400, 120, 0.012, 0.016)
    assert text is not None
    assert "after 120 of the 400 updates" in text
    assert "an LR of 0.012 (75% of its peak)" in text
    assert "(in warm-up)" in str(ended_early(400, 120, 0.012, None))


def test_a_run_without_a_length_is_told_what_to_call() -> None:
    text = str(ended_early(None, 120, 0.012, 0.012))
    assert "after 120 updates, at an LR of 0.012 (100% of its peak)" in text
    assert "call cooldown(steps) so many updates before the end" in text
    assert ended_early(None, 120, 0.001, 0.012) is None  # decayed by a plateau's drops


def saved(end: Any, done: Any) -> dict[str, Any]:
    return {"step": done, "run": ({"horizon": {"end": end}}, {}, None)}


@pytest.mark.parametrize(
    ("state", "asked", "over"),
    [
        (saved(9, 9), None, 9),
        (saved(9, 10), 12, 9),
        (saved(9, 9), 9, None),  # it is the run that goes on
        (saved(9, 7), None, None),
        (saved(None, 7), None, None),
        ({"last_epoch": 7, "base_lrs": [0.1]}, None, None),  # of another scheduler
        (saved("9", 7), None, None),
        ({"step": 7, "run": None}, None, None),
        ([], None, None),
    ],
)
def test_whether_a_saved_run_is_over(state: Any, asked: int | None, over: int | None) -> None:
    assert is_over(state, asked) == over
