"""Keras runs whose end is not known, or moves while they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py")  # keras itself cannot be imported before its backend is chosen

from integrations.keras import trial, worker


def run(backend: str, name: str, *arguments: Any) -> Any:
    return worker(backend).submit(trial, "keras_horizon", name, *arguments).result()


@pytest.mark.parametrize("when", ["after a batch", "before a batch", "between fits"])
def test_a_cooldown_in_warm_up_puts_the_weights_back_before_the_next_update(backend: str, when: str) -> None:
    result = run(backend, "cooled_in_warm_up", when)
    assert result["phases"] == ["warmup", "decay"]
    rewound_to, step, at = result["rewound"]
    assert rewound_to < step == at
    line = result["peak"] * (1 - np.arange(20) / 20)
    np.testing.assert_allclose(result["lrs"], line, rtol=1e-6)
    assert result["last"] == 0
    assert result["restored"]


@pytest.mark.parametrize("when", ["at the switch", "after its last batch", "in a batch that never comes"])
def test_weights_that_go_back_at_the_end_of_a_stream_stay(backend: str, when: str) -> None:
    # Keras sees the end where the next batch has begun: on JAX it then writes its last update's state.
    assert run(backend, "streamed", when)


def test_more_epochs_by_another_fit_or_from_a_weights_file(backend: str, tmp_path: Path) -> None:
    result = run(backend, "longer_by_another_fit", tmp_path)
    np.testing.assert_array_equal(np.float32(result["lrs"]), np.float32(result["expected"][:-1]))
    assert result["loaded"] == result["lrs"][100:]
    assert result["expected"][-1] == 0
    assert result["left"] == (False, False)  # over: the files are as without AutoWU


def test_a_run_without_a_length_is_told_once_of_the_cooldown_that_it_lacked(backend: str) -> None:
    texts, phase, total_steps = run(backend, "endless")
    (text,) = texts
    assert "ended after 60 updates" in text
    assert "call cooldown(steps)" in text
    assert (phase, total_steps) == ("stable", None)
