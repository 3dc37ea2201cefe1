"""What test_keras_hands.py lets a process with Keras do: others set the LR, or end the run, beside AutoWU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers, ops

from autowu.integrations.keras import AutoWUCallback
from integrations.contract.contract import v_curve
from integrations.keras_trials import STEPS, fit, inputs, prescribed


class Assigning(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 3:
            self.model.optimizer.learning_rate = 0.5


def texts(*callbacks: Any, steps: int = 40, planned: int = 40, **arguments: Any) -> list[str]:
    """What a run of several epochs is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, autowu = prescribed(), AutoWUCallback(planned)
        arguments = {"epochs": 4} | arguments
        fit(model, v_curve(steps // arguments["epochs"]), autowu, *callbacks, **arguments)
    return [str(each.message) for each in caught if str(each.message).startswith("AutoWU: ")]


def second_hands() -> dict[str, list[str]]:
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=100.0)
    return {
        "scheduler": texts(keras.callbacks.LearningRateScheduler(lambda epoch: 0.25)),
        "plateau": texts(plateau),
        "assigned": texts(Assigning()),
        "none": texts(),
    }


def stream() -> Iterator[tuple[Any, Any]]:
    for _ in range(10):
        yield ops.ones((2, 4)), ops.ones((2, 1))


def of_streams() -> dict[str, list[str]]:
    """What fits are warned of that do not know how many batches there will be."""
    found = dict[str, list[str]]()
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.25)
    for name, others in {"scheduler": [scheduler], "none": []}.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model, autowu = prescribed(), AutoWUCallback(30)
            for _ in range(3):
                model.fit(stream(), verbose=0, callbacks=[autowu, *others])
        found[name] = [str(each.message) for each in caught if str(each.message).startswith("AutoWU: ")]
    return found


class Counting(keras.callbacks.Callback):
    """As TensorFlow does it where a stream ends in a batch's place: counts an update that is not made."""

    begun = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.begun += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.begun -= 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.iterations.assign_add(self.begun)


def of_counted_ends() -> tuple[int, list[str]]:
    """The updates of streams whose ends the optimizer counts, and what is said of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, autowu = prescribed(), AutoWUCallback(30)
        for _ in range(3):
            model.fit(stream(), verbose=0, callbacks=[Counting(), autowu])
    return autowu.driver.step_count, [str(each.message) for each in caught if "has made" in str(each.message)]


def ends() -> dict[str, list[str]]:
    stopping = keras.callbacks.EarlyStopping("loss", min_delta=100.0, patience=1)
    return {
        "early": texts(stopping),
        "planned for more": texts(planned=400),
        "as planned": texts(),
    }


class TwoOptimizers(keras.Model):
    """As the GAN of Keras' guides: the optimizer of `compile` is there, and makes no update."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)
        self.d_optimizer, self.g_optimizer = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def build(self, shape: Any) -> None:
        self.dense.build(shape)

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, *arguments: Any) -> Any:
        if keras.backend.backend() == "jax":
            return {"loss": ops.mean(arguments[1][0])}, arguments[0]
        self.tracker.update_state(ops.mean(arguments[0][0]))
        return {"loss": self.tracker.result()}


def two_optimizers() -> dict[str, Any]:
    model, autowu = TwoOptimizers(), AutoWUCallback(STEPS)
    model.compile()
    model.build((None, 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            fit(model, v_curve(4), autowu)
    return {
        "steps": autowu.driver.step_count,
        "warnings": [str(each.message) for each in caught if str(each.message).startswith("AutoWU: ")],
    }


class Beside(keras.callbacks.Callback):
    """Trains on batches of its own, in one of the hooks."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        setattr(self, hook, self.train)

    def train(self, *_: Any, **__: Any) -> None:
        self.model.train_on_batch(*inputs(v_curve(4)))


def beside_fit() -> dict[str, tuple[int, list[str]]]:
    """Updates that are of no batch of `fit`: how many AutoWU counts, and what it says."""
    found = dict[str, tuple[int, list[str]]]()
    for hook in ("on_train_batch_begin", "on_train_batch_end", "on_epoch_end", "between", "none"):
        model, autowu, beside = prescribed(), AutoWUCallback(40), Beside(hook)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                fit(model, v_curve(8), beside, autowu)
                if hook == "between":
                    beside.train()
        told = [str(each.message) for each in caught if "has made" in str(each.message)]
        found[hook] = autowu.driver.step_count, told
    return found


def two_models() -> list[str]:
    """One callback serves two models in turns."""
    autowu, models = AutoWUCallback(40), [prescribed(), prescribed()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for model, updates in zip([*models, models[0]], (8, 3, 8), strict=True):
            fit(model, v_curve(updates), autowu)
    return [str(each.message) for each in caught if "where AutoWU counts" in str(each.message)]
