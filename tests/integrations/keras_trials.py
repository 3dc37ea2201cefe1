"""What test_keras.py lets a process with Keras do: each function is one trial, and returns plain values."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from autowu.integrations.keras import AutoWUCallback
from integrations.contract.contract import core_trace, v_curve
from integrations.keras import one_parameter

STEPS = 120


class Prescribed(keras.Model):
    """A network that really trains, on a loss whose value is prescribed: the gradient is the true one."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)
        self.norm = layers.BatchNormalization()

    def build(self, shape: Any) -> None:
        self.dense.build(shape)
        self.norm.build((None, 3))

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.norm(self.dense(x), training=training)


def prescribed_loss(wanted: Any, y: Any, slope: float = 1.0) -> Any:
    real = slope * ops.mean((y - 1) ** 2)
    return real - ops.stop_gradient(real) + ops.mean(wanted)


def prescribed(optimizer: Any = None, slope: float = 1.0) -> Any:
    keras.utils.set_random_seed(0)
    model = Prescribed()
    loss = functools.partial(prescribed_loss, slope=slope)
    model.compile(optimizer or keras.optimizers.Adam(), loss=loss)
    model.build((None, 4))
    return model


def inputs(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two samples for each loss."""
    x = np.random.default_rng(0).normal(size=(2 * len(losses), 4)).astype(np.float32)
    return x, np.repeat(np.float32(losses), 2)[:, None]


class Lossless(Prescribed):
    """Its `train_step` makes an update and returns the loss, and no metric gets it."""

    def train_step(self, *arguments: Any) -> Any:
        values = [ops.zeros(each.shape) for each in self.trainable_variables]
        if keras.backend.backend() == "jax":
            weights, others, state, metrics = arguments[0]
            weights, state = self.optimizer.stateless_apply(state, values, weights)
            return {"loss": ops.zeros(())}, (weights, others, state, metrics)
        self.optimizer.apply(values, self.trainable_variables)
        return {"loss": ops.zeros(())}


class History(keras.callbacks.Callback):
    """All weights before each update, the last LR of each update, and the last running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[list[np.ndarray]] = []
        self.lrs: list[float] = []
        self.means: list[float] = []

    def weights(self) -> list[np.ndarray]:
        model, optimizer = self.model, self.model.optimizer
        state = [variable for variable in optimizer.variables if variable is not optimizer.learning_rate]
        return [np.array(ops.convert_to_numpy(v.value)) for v in [*model.weights, *state]]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.before.append(self.weights())

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.lrs.append(float(self.model.optimizer.learning_rate))
        self.means.append(logs["loss"])


def fit(model: Any, losses: np.ndarray, *callbacks: Any, **arguments: Any) -> History:
    history = History()
    x, y = inputs(losses)
    arguments = {"batch_size": 2, "shuffle": False, "verbose": 0} | arguments
    model.fit(x, y, callbacks=[*callbacks, history], **arguments)
    return history


def undone(driver: Any) -> int:
    """Updates that going back has undone: at the switch, and where the watch cut the LR."""
    restores = [(driver.switch.step, driver.switch.rewound_to)]
    restores += [(cut.step, cut.back_to) for cut in driver.cuts if cut.back_to is not None]
    last, count = 0, 0
    for step, back_to in restores:
        count += step - max(back_to, last)  # what was undone before is not undone again
        last = step
    return count


def rewind(optimizer: str = "adam") -> dict[str, Any]:
    made = {
        "adam": keras.optimizers.Adam,
        "averages": lambda: keras.optimizers.Adam(use_ema=True),
        "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=2.0),
    }[optimizer]()
    model, autowu = prescribed(made), AutoWUCallback(STEPS)
    history = fit(model, v_curve(STEPS), autowu)
    switch = autowu.driver.switch
    at, kept, last = (history.before[step] for step in (switch.step, switch.rewound_to, switch.step - 1))
    return {
        "steps": (switch.rewound_to, switch.step),
        "undone": undone(autowu.driver),
        "restored": all(np.array_equal(a, b) for a, b in zip(at, kept, strict=True)),
        "unlike the step before": [not np.array_equal(a, b) for a, b in zip(at, last, strict=True)],
        "iterations": int(getattr(made, "inner_optimizer", made).iterations),
        "lrs": history.lrs,
        "expected": core_trace(np.float32(v_curve(STEPS))),
    }


def rewind_of_64_bits() -> tuple[int | None, list[str]]:
    """JAX without `jax_enable_x64` has no numbers of 64 bits, whatever a variable claims to have."""
    keras.config.set_dtype_policy("float64")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            autowu = AutoWUCallback(STEPS)
            fit(prescribed(), v_curve(STEPS), autowu)
    finally:
        keras.config.set_dtype_policy("float32")
    texts = [str(each.message) for each in caught if "snapshot" in str(each.message)]
    return autowu.driver.switch.rewound_to, texts


def rewind_twice() -> bool:
    losses = np.full(STEPS, np.nan)
    losses[:3] = 2.0
    autowu = AutoWUCallback(STEPS)
    history = fit(prescribed(), losses, autowu)
    first = next(step for step in range(1, STEPS) if history.lrs[step] < history.lrs[step - 1])
    switch = autowu.driver.switch
    assert switch.step > first
    return all(
        np.array_equal(a, b)
        for step in (first, switch.step)
        for a, b in zip(history.before[step], history.before[switch.rewound_to], strict=True)
    )


def batch_losses() -> dict[str, list[float]]:
    """Random numbers as losses, one of them NaN: as AutoWU reads them, and taken out of the running mean."""
    losses = np.random.default_rng(0).normal(size=STEPS).astype(np.float32)
    losses[70] = np.nan
    autowu, history, read = AutoWUCallback(STEPS), History(), []
    autowu.driver.observe = read.append
    autowu.driver.step = lambda *_: None
    model = one_parameter()
    model.fit(losses[:, None], losses, batch_size=1, shuffle=False, verbose=0, callbacks=[autowu, history])
    sums = np.array(history.means) * np.arange(1, STEPS + 1)
    return {"true": losses.tolist(), "read": read, "taken out": np.diff(sums, prepend=0).tolist()}


def mean_of_epoch() -> list[float]:
    """The epoch's loss that Keras reports, with AutoWU and without."""
    losses = np.float32(v_curve(STEPS))[:, None]
    fits = [
        one_parameter().fit(losses, losses, batch_size=2, shuffle=False, verbose=0, callbacks=callbacks)
        for callbacks in ([AutoWUCallback(STEPS)], [])
    ]
    return [done.history["loss"][0] for done in fits]


def fitted_before() -> dict[str, list[float]]:
    """AutoWU is added to a model whose training function exists already."""
    losses = v_curve(STEPS)
    model = prescribed()
    fit(model, losses[:3])
    history = fit(model, losses, AutoWUCallback(STEPS))
    return {"lrs": history.lrs, "expected": core_trace(np.float32(losses))}


def epochs_and_validation() -> dict[str, list[float]]:
    """One loss an epoch, each followed by a validation with quite another."""
    losses = v_curve(STEPS)
    model, autowu = prescribed(), AutoWUCallback(STEPS)
    x, y = inputs(losses)
    logged: list[float] = []
    for epoch in range(STEPS):
        part = slice(2 * epoch, 2 * epoch + 2)
        others = (x[:4], 0 * y[:4] + 7)
        done = model.fit(x[part], y[part], verbose=0, callbacks=[autowu], validation_data=others)
        logged += done.history["learning_rate"]
    return {"logged": logged, "expected": core_trace(np.float32(losses))}


def overflowing_steps() -> dict[str, Any]:
    """Where the gradient overflows under the loss scale, Keras makes no update and halves the scale."""
    losses = v_curve(40)
    inner = keras.optimizers.SGD()
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**126)
    autowu = AutoWUCallback(40)
    iterations: list[int] = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: iterations.append(int(inner.iterations))
    )
    history = fit(prescribed(optimizer, slope=100.0), losses, autowu, count)
    # The core's view: an update's loss is the mean of the batches since the update before.
    updates = [batch for batch in range(40) if iterations[batch] != (iterations[batch - 1] if batch else 0)]
    groups = np.split(losses, [batch + 1 for batch in updates])
    means = [group.mean() for group in groups[: len(updates)]]
    expected = core_trace([*means, *[np.nan] * (40 - len(means))])
    return {
        "updates": (autowu.driver.step_count, len(updates)),
        "lrs": [history.lrs[batch] for batch in updates],
        "expected": expected[: len(updates)],
    }


def errors(folder: Path) -> dict[str, str]:
    """The messages of what cannot work."""

    def schedule() -> None:
        decay = keras.optimizers.schedules.CosineDecay(0.1, 100)
        fit(prescribed(keras.optimizers.SGD(decay)), v_curve(4), AutoWUCallback(4))

    def function() -> None:
        fit(prescribed(keras.optimizers.SGD(lambda: 0.1)), v_curve(4), AutoWUCallback(4))

    def several_steps() -> None:
        model = one_parameter()
        model.compile("sgd", "mse", steps_per_execution=2)
        x = np.zeros((4, 1), np.float32)
        model.fit(x, x, batch_size=1, verbose=0, callbacks=[AutoWUCallback(4)])

    def wrong_order() -> None:
        backup = keras.callbacks.BackupAndRestore(folder / "order", save_freq=2)
        fit(prescribed(), v_curve(4), backup, AutoWUCallback(4))

    def cooled_too_soon() -> None:
        autowu = AutoWUCallback(4)
        early = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: autowu.cooldown(2))
        fit(prescribed(), v_curve(4), early, autowu)

    def foreign_weights() -> None:
        model = prescribed()
        fit(model, v_curve(4))
        model.save_weights(folder / "foreign.weights.h5")
        model = prescribed()
        model.optimizer.build(model.trainable_variables)
        AutoWUCallback(4).set_model(model)
        model.load_weights(folder / "foreign.weights.h5")

    def other_settings() -> None:
        model = prescribed()
        fit(model, v_curve(4), AutoWUCallback(40))
        model.save_weights(folder / "other.weights.h5")
        model = prescribed()
        model.optimizer.build(model.trainable_variables)
        AutoWUCallback(40, seed=1).set_model(model)
        model.load_weights(folder / "other.weights.h5")

    def lossless() -> None:
        model = Lossless()
        model.compile("sgd", "mse")
        model.build((None, 4))
        fit(model, v_curve(4), AutoWUCallback(4))

    messages = {}
    attempts = (schedule, function, several_steps, wrong_order, cooled_too_soon, foreign_weights)
    for attempt in (*attempts, other_settings, lossless):
        try:
            attempt()
        except (ValueError, RuntimeError) as error:
            messages[attempt.__name__] = f"{type(error).__name__}: {error}"
    return messages


def by_weights_file(folder: Path) -> dict[str, Any]:
    """A run that goes on from a file of ModelCheckpoint, which knows nothing of epochs or batches."""
    losses = v_curve(STEPS)
    whole = fit(prescribed(), losses, AutoWUCallback(STEPS))
    path = folder / "checkpoint.weights.h5"
    keeper = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    begun = fit(prescribed(), losses[:25], AutoWUCallback(STEPS), keeper)
    model, autowu, resumed = prescribed(), AutoWUCallback(STEPS), History()
    model.optimizer.build(model.trainable_variables)
    autowu.set_model(model)
    model.load_weights(path)
    x, y = inputs(losses)
    model.fit(x[50:], y[50:], batch_size=2, shuffle=False, verbose=0, callbacks=[autowu, resumed])
    return {
        "whole": whole.lrs,
        "begun": begun.lrs,
        "resumed": resumed.lrs,
        "same weights": all(
            np.array_equal(a, b) for a, b in zip(whole.weights(), resumed.weights(), strict=True)
        ),
    }


def whole_model_file(folder: Path) -> dict[str, Any]:
    """A `.keras` file of a run under way is read without AutoWU; a run that is over leaves nothing behind."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.linspace(0, 1, 60, dtype=np.float32)[:, None]
    model.fit(x[:50], x[:50], batch_size=1, verbose=0, callbacks=[AutoWUCallback(100)])
    during, iterations = hasattr(model.optimizer, "autowu"), int(model.optimizer.iterations)
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    model.fit(x, x, batch_size=1, verbose=0, callbacks=[AutoWUCallback(60)])
    return {
        "during": during,
        "after": hasattr(model.optimizer, "autowu"),
        "loaded": int(loaded.optimizer.iterations) == iterations,
    }
