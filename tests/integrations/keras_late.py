"""What test_late_lift_off.py lets a process with Keras do."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np

from autowu.integrations.keras import AutoWUCallback
from integrations.contract.contract import core_trace
from integrations.keras_trials import History, fit, inputs, prescribed
from integrations.late import FIRST, LATE, STEPS, STOPS, late_fall


class Rewinds(keras.callbacks.Callback):
    """Knows how often the weights have gone back by the end of each batch."""

    def __init__(self, autowu: Any) -> None:
        super().__init__()
        self.autowu, self.counts = autowu, list[int]()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.counts.append(self.autowu.driver.rewinds)


def same(one: list[np.ndarray], other: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(a, b) for a, b in zip(one, other, strict=True)]


def late(folder: Path) -> dict[str, Any]:
    """A whole run, and others that go on from a file of weights."""
    losses, autowu = late_fall(), AutoWUCallback(STEPS)
    rewinds = Rewinds(autowu)
    whole = fit(prescribed(), losses, autowu, rewinds)
    before = whole.before
    resumed = []
    for stop in STOPS:
        path = folder / f"{stop}.weights.h5"
        model = prescribed()
        begun = fit(model, losses[:stop], AutoWUCallback(STEPS))
        model.save_weights(path)
        model, autowu, rest = prescribed(), AutoWUCallback(STEPS), History()
        model.optimizer.build(model.trainable_variables)
        autowu.set_model(model)
        model.load_weights(path)
        x, y = (part[2 * stop :] for part in inputs(losses))
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0, callbacks=[autowu, rest])
        resumed.append(begun.lrs + rest.lrs == whole.lrs and all(same(rest.weights(), whole.weights())))
    return {
        "back": same(before[LATE], before[FIRST]),
        "moved": not any(same(before[LATE - 1], before[FIRST])),
        "rewinds": rewinds.counts[LATE - 2 : LATE],
        "resumed": resumed,
        "lrs": whole.lrs,
        "expected": core_trace(losses),
    }


def interrupted() -> dict[str, Any]:
    """Ctrl-C comes while the weights are put back, and the next fit goes on."""
    losses, autowu, model = late_fall(), AutoWUCallback(STEPS), prescribed()
    first, variables = fit(model, losses[: LATE - 1], autowu), autowu._variables

    def press(*_: Any) -> None:
        del variables.write  # the next time it is the true one
        raise KeyboardInterrupt

    variables.write = press
    with suppress(KeyboardInterrupt):
        fit(model, losses[LATE - 1 : LATE], autowu)
    steps, rewinds = autowu.driver.step_count, autowu.driver.rewinds
    last = fit(model, losses[LATE : LATE + 1], autowu)
    return {"steps": steps, "rewinds": rewinds, "back": same(last.weights(), first.before[FIRST])}
