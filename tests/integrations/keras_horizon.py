"""What test_keras_horizon.py lets a process with Keras do: runs whose end is not known, or moves."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from autowu.config import Config
from autowu.integrations.keras import AutoWUCallback
from integrations.contract.contract import core_lrs, v_curve
from integrations.keras_trials import History, fit, inputs, prescribed

STEPS = 120
RARE = {"test_growth": 1.5}  # so that losses wait for the next read


def switch_step() -> int:
    autowu = AutoWUCallback(STEPS, **RARE)
    fit(prescribed(), v_curve(STEPS), autowu)
    return autowu.driver.switch.step


def cooled_in_warm_up(when: str) -> dict[str, Any]:
    """Two updates before the switch a cooldown begins: after a batch, before one, or between two fits."""
    losses, at, autowu = v_curve(STEPS), switch_step() - 2, AutoWUCallback(STEPS, **RARE)
    model, phases = prescribed(), list[str]()

    def cool(batch: int, due: int) -> None:
        if batch == due:
            phases.append(autowu.driver.phase)
            autowu.cooldown(20)

    hooks = {
        "after a batch": {"on_train_batch_end": lambda batch, logs: cool(batch, at - 1)},
        "before a batch": {"on_train_batch_begin": lambda batch, logs: cool(batch, at)},
        "between fits": {},
    }[when]
    callbacks = (autowu, keras.callbacks.LambdaCallback(**hooks))
    if hooks:
        history = fit(model, losses[: at + 20], *callbacks)
        before, lrs = history.before, history.lrs
    else:
        first = fit(model, losses[:at], *callbacks)
        cool(0, 0)
        x, y = inputs(losses)
        second, part = History(), slice(2 * at, 2 * at + 40)
        model.fit(x[part], y[part], batch_size=2, shuffle=False, verbose=0, callbacks=[*callbacks, second])
        before, lrs = [*first.before, *second.before], [*first.lrs, *second.lrs]
    switch = autowu.driver.switch
    pairs = zip(before[at], before[switch.rewound_to], strict=True)
    return {
        "phases": [*phases, autowu.driver.phase],
        "rewound": (switch.rewound_to, switch.step, at),
        "restored": all(np.array_equal(a, b) for a, b in pairs),
        "lrs": lrs[at:],
        "peak": switch.peak_lr,
        "last": autowu.driver.learning_rate,
    }


def longer_by_another_fit(folder: Path) -> dict[str, Any]:
    """More epochs: by extend() and another fit, and by a weights file and a callback that is to make more."""
    losses, path = v_curve(150), folder / "saved.weights.h5"
    autowu = AutoWUCallback(STEPS)
    model = prescribed()
    first = fit(model, losses[:100], autowu)
    model.save_weights(path)
    autowu.extend(150)
    x, y = (part[200:] for part in inputs(losses))
    arguments = {"batch_size": 2, "shuffle": False, "verbose": 0}
    second, third, again = History(), History(), AutoWUCallback(150)
    model.fit(x, y, callbacks=[autowu, second], **arguments)
    other = prescribed()
    other.optimizer.build(other.trainable_variables)
    again.set_model(other)
    other.load_weights(path)
    other.fit(x, y, callbacks=[again, third], **arguments)
    expected = core_lrs(Config(total_steps=STEPS), np.float32(losses), {100: ("extend", 150)})
    return {
        "lrs": [*first.lrs, *second.lrs],
        "loaded": third.lrs,
        "expected": expected,
        "left": (hasattr(model.optimizer, "autowu"), hasattr(other.optimizer, "autowu")),
    }


def endless() -> tuple[list[str], str, int | None]:
    """A run without a length that nobody cools down."""
    autowu = AutoWUCallback(warmup_limit=30)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(prescribed(), v_curve(60), autowu)
        fit(prescribed(), v_curve(3), autowu)
    texts = [str(each.message) for each in caught if "the run ended" in str(each.message)]
    return texts, autowu.driver.phase, autowu.driver.total_steps


def streamed(when: str) -> bool:
    """Whether the weights are those of the minimum where they go back at the very end of a stream."""
    whole = AutoWUCallback(STEPS, **RARE)
    before = fit(prescribed(), v_curve(STEPS), whole).before
    end = whole.driver.switch.step - 2 * (when != "at the switch")
    autowu, model, after = AutoWUCallback(STEPS, **RARE), prescribed(), History()

    def cool(*_: Any, **__: Any) -> None:
        if autowu.driver.step_count == end and autowu.driver.phase == "warmup":
            autowu.cooldown(20)

    hooks = {
        "at the switch": {},
        "after its last batch": {"on_train_batch_end": cool},
        "in a batch that never comes": {"on_train_batch_begin": cool, "on_epoch_end": cool},
    }[when]

    def batches(first: int, last: int) -> Any:
        x, y = inputs(v_curve(STEPS))
        return ((x[2 * at : 2 * at + 2], y[2 * at : 2 * at + 2]) for at in range(first, last))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")  # as Keras says of each
        model.fit(batches(0, end), verbose=0, callbacks=[autowu, keras.callbacks.LambdaCallback(**hooks)])
        model.fit(batches(end, end + 1), verbose=0, callbacks=[autowu, after])
    pairs = zip(after.before[0], before[autowu.driver.switch.rewound_to], strict=True)
    counts = keras.backend.backend() == "tensorflow"  # the end of a stream as an update
    return all(np.array_equal(a, b) for a, b in pairs if not (counts and a.dtype.kind == "i"))
