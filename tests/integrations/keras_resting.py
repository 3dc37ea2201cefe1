"""What test_keras_resting.py lets a process with Keras do: a frozen teacher that a callback moves."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from autowu.integrations.keras import AutoWUCallback
from autowu.integrations.keras_resting import Resting
from integrations.contract.contract import v_curve
from integrations.keras_changes import compiled, last_update
from integrations.keras_trials import STEPS, fit


class Follow(keras.callbacks.Callback):
    """The teacher goes a tenth of the way to its student."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        student, teacher = self.model.get_layer("student"), self.model.get_layer("teacher")
        for from_, to in zip(student.weights, teacher.weights, strict=True):
            to.assign(0.9 * to + 0.1 * from_)


def taught() -> Any:
    keras.utils.set_random_seed(0)
    given = keras.Input((4,))
    student, teacher = layers.Dense(4, name="student"), layers.Dense(4, name="teacher")
    model = keras.Model(given, student(given) + 0 * teacher(given))
    teacher.trainable = False
    return compiled(model)


def teacher(order: str) -> dict[str, Any]:
    """What there is of the teacher in the copy, and whether all weights go back."""
    model, autowu = taught(), AutoWUCallback(STEPS)
    callbacks = [Follow(), autowu] if order == "before" else [autowu, Follow()]
    cut, losses = last_update(), v_curve(STEPS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = fit(model, losses[:cut], *callbacks)
        snapshot = autowu.driver.snapshot
        assert snapshot is not None
        fit(model, losses[cut : cut + 1], *callbacks[: 1 + callbacks.index(autowu)])
    switch = autowu.driver.switch
    assert switch is not None
    assert switch.rewound_to is not None
    now = [ops.convert_to_numpy(weight.value) for weight in model.weights]
    return {
        "back": all(map(np.array_equal, now, first.before[switch.rewound_to])),
        "kept": sorted(snapshot.rest.keys() & {"teacher/kernel", "teacher/bias"}),
        "frozen": sorted(snapshot.frozen),
        "warnings": [str(each.message) for each in caught if "snapshot" in str(each.message)],
    }


def changes() -> dict[str, bool]:
    """What counts as a change of a frozen variable."""
    start = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    swapped = start.copy()
    swapped[0, 0], swapped[0, 1] = start[0, 1], start[0, 0]

    large = np.float32(1) + np.tile(start, (20, 1)) * np.float32(0.02)
    # Each of the four sums is zero, whatever all of them are multiplied by.
    without_a_sum = np.concatenate([start, -start])

    mask = np.where(start > 1, -np.inf, start).astype(np.float32)
    assert start[0, 0] <= 1

    def seen(value: Any, before: Any = start) -> bool:
        variable, resting = keras.Variable(before), Resting()
        resting.look([variable])
        variable.assign(value)
        changed = bool(resting.changed([variable]))
        resting.look([variable])
        assert resting.moves(variable) == changed
        return changed

    return {
        "nothing": seen(start),
        "rounding": seen((start + np.float32(3)) - np.float32(3)),
        "rounding of what has a large sum": any(
            seen((large + step) - step, large) for step in np.float32(np.linspace(0.01, 0.1, 10))
        ),
        "a little": seen(start * np.float32(1 + 1e-4)),
        "a little of what has no sum": seen(without_a_sum * np.float32(1 + 1e-4), without_a_sum),
        "an exchange": seen(swapped),
        "NaN": seen(np.where(start == start[0, 0], np.nan, start)),
        "a mask of -inf": seen(mask, mask),
        "one more in it": seen(np.where(start == start[0, 0], -np.inf, mask), mask),
    }
