"""When an end, or what may bring it about, is told."""

from __future__ import annotations

from typing import Any

import pytest

from autowu.integrations.ended import ended_early, length_and_progress


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


@pytest.mark.parametrize(
    ("saved", "known"),
    [
        ({"step": 7, "config": {"total_steps": 9}}, (9, 7)),
        ({"last_epoch": 7, "base_lrs": [0.1]}, None),  # of another scheduler
        ({"step": 7, "config": {"total_steps": "9"}}, None),
        ([], None),
    ],
)
def test_the_length_of_a_saved_run(saved: Any, known: tuple[int, int] | None) -> None:
    assert length_and_progress(saved) == known
