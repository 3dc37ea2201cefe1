"""Frozen variables of a Keras model that move nevertheless: a teacher after its student."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("h5py")  # keras itself cannot be imported before its backend is chosen

from integrations.keras import trial, worker


def run(backend: str, name: str, *arguments: Any) -> Any:
    return worker(backend).submit(trial, "keras_resting", name, *arguments).result()


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_frozen_teacher_that_a_callback_moves_is_copied_and_goes_back(backend: str, order: str) -> None:
    result = run(backend, "teacher", order)
    assert result["back"] or order == "after"  # where the copy has the teacher before it moves
    assert result["kept"] == ["teacher/bias", "teacher/kernel"]
    assert result["frozen"] == []
    # Listed after, it moves for the first time when the first copy is there.
    assert all("teacher/bias was frozen when it was taken" in text for text in result["warnings"])
    assert len(result["warnings"]) == (order == "after")


def test_what_counts_as_a_change(backend: str) -> None:
    assert run(backend, "changes") == {
        "nothing": False,
        "rounding": False,
        "rounding of what has a large sum": False,
        "a little": True,
        "a little of what has no sum": True,
        "an exchange": True,
        "NaN": True,
        "a mask of -inf": False,
        "one more in it": True,
    }
