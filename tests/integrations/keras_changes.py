"""What test_keras_changes.py lets a process with Keras do: models that change while there is a snapshot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.keras import AutoWUCallback
from autowu.integrations.keras_variables import Variables
from autowu.integrations.weights import Weights
from integrations.contract.contract import v_curve
from integrations.keras_trials import STEPS, fit, prescribed, prescribed_loss

LAYERS = ("layer0", "layer1", "layer2", "layer3")


def stack(*frozen: str) -> Any:
    """Layers of one shape."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), *[layers.Dense(4, name=name) for name in LAYERS]])
    for name in frozen:
        model.get_layer(name).trainable = False
    return compiled(model)


def compiled(model: Any, optimizer: Any = None) -> Any:
    model.compile(optimizer or keras.optimizers.SGD(momentum=0.9), loss=prescribed_loss)
    return model


def last_update() -> int:
    """The update before the one that ends warm-up, which no snapshot is taken after."""
    driver = Driver(Config(total_steps=STEPS))
    for loss in v_curve(STEPS):
        driver.observe(np.float32(loss))
        driver.step(lambda: Weights({"w": np.zeros(1)}, {}))
    assert driver.switch is not None
    assert driver.switch.rewound_to is not None
    assert driver.switch.rewound_to < driver.switch.step - 1
    return driver.switch.step - 1


class Values(keras.callbacks.Callback):
    """Each weight before each update, and after it, but before a rewind: to be listed before AutoWU."""

    def __init__(self, autowu: AutoWUCallback) -> None:
        super().__init__()
        self.autowu = autowu
        self.before: dict[int, dict[str, np.ndarray]] = {}
        self.after: dict[int, dict[str, np.ndarray]] = {}

    def values(self) -> dict[str, np.ndarray]:
        return {
            weight.path.split("/", 1)[1]: np.array(ops.convert_to_numpy(weight.value))
            for weight in self.model.weights
        }

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.before[self.autowu.driver.step_count] = self.values()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after[self.autowu.driver.step_count + 1] = self.values()


def freeze(model: Any) -> None:
    model.get_layer("layer1").trainable = False
    # With JAX, Keras wants a new optimizer for this.
    compiled(model, model.optimizer if keras.backend.backend() == "torch" else None)


def unfreeze(model: Any) -> None:
    model.get_layer("layer1").trainable = True
    compiled(model)


def replace_head(model: Any) -> None:
    model.pop()
    model.add(layers.Dense(4, name="layer3"))
    compiled(model)


def drop_first(model: Any) -> None:
    """What is left has other places in the list of weights."""
    kept = model.layers[1:]
    model._layers[:] = [model._layers[0], *kept]
    model._maybe_rebuild()
    compiled(model)


def recompile(model: Any) -> None:
    compiled(model)


def change(name: str, *frozen: str) -> dict[str, Any]:
    """Which weights a rewind puts back, and which it leaves, if the model is changed before it."""
    cut, losses = last_update(), v_curve(STEPS)
    model, autowu = stack(*frozen), AutoWUCallback(STEPS)
    values = Values(autowu)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, losses[:cut], values, autowu)
        snapshot = autowu.driver.snapshot
        assert snapshot is not None
        changes: dict[str, Callable[[Any], None]] = {
            function.__name__: function
            for function in (freeze, unfreeze, replace_head, drop_first, recompile)
        }
        changes[name](model)
        fit(model, losses[cut:], values, autowu)
    switch = autowu.driver.switch
    assert switch is not None
    at, last = values.before[switch.step], values.after[switch.step]
    kept = {} if switch.rewound_to is None else values.before[switch.rewound_to]
    return {
        "back": [name for name in at if name in kept and np.array_equal(at[name], kept[name])],
        "stayed": [name for name in at if np.array_equal(at[name], last[name])],
        "frozen": sorted(snapshot.frozen),
        "warnings": [str(each.message) for each in caught if "snapshot" in str(each.message)],
        "steps": autowu.driver.step_count,
    }


def unwritable() -> dict[str, Any]:
    """A statistic whose elements are one number in memory: PyTorch does not write that."""
    import torch

    model, autowu = prescribed(), AutoWUCallback(STEPS)
    model.norm.moving_mean._value = torch.zeros(1).expand(3)
    # Training does not write it, for the layer is told that it is not training.
    model.call = lambda x, training=None: model.norm(model.dense(x), training=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, v_curve(STEPS), autowu)
    switch = autowu.driver.switch
    return {
        "steps": autowu.driver.step_count,
        "rewound_to": switch.rewound_to,
        "warnings": [str(each.message) for each in caught if "snapshot" in str(each.message)],
    }


def misfit() -> dict[str, Any]:
    """A snapshot of which one array has another shape: nothing of it may be written."""
    cut, losses = last_update(), v_curve(STEPS)
    model, autowu = stack(), AutoWUCallback(STEPS)
    values = Values(autowu)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, losses[:cut], values, autowu)
        state = autowu.driver.state_dict()
        state["parameter.sequential/layer2/kernel"] = np.zeros((4, 5), np.float32)
        autowu.driver.load_state_dict(state)
        fit(model, losses[cut:], values, autowu)
    switch = autowu.driver.switch
    at, last = values.before[switch.step], values.after[switch.step]
    return {
        "stayed": all(np.array_equal(at[name], last[name]) for name in at),
        "rewound_to": switch.rewound_to,
        "steps": autowu.driver.step_count,
        "warnings": [str(each.message) for each in caught if "snapshot" in str(each.message)],
    }


class Unnamed(layers.Layer):
    def build(self, shape: Any) -> None:
        self.scale, self.shift = self.add_weight(), self.add_weight()

    def call(self, x: Any) -> Any:
        return self.scale * x + self.shift


def names() -> dict[str, list[str]]:
    """Of the variables of one model that is built twice in a process, its layers without names."""

    def build() -> list[str]:
        inner = keras.Sequential([layers.Dense(2), layers.BatchNormalization(), Unnamed()])
        model = keras.Sequential([keras.Input((2,)), layers.Dense(2), inner, layers.Dense(2, name="head_7")])
        compiled(model, keras.optimizers.Adam())
        model.optimizer.build(model.trainable_variables)
        return list(Variables().named(model))

    return {"first": build(), "second": build()}


def another_model() -> list[str]:
    """The warnings where one callback serves two models, one after the other."""
    autowu = AutoWUCallback(STEPS)
    fit(stack(), v_curve(STEPS)[:20], autowu)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(stack(), v_curve(STEPS)[20:60], autowu)
    return [str(each.message) for each in caught if "another model" in str(each.message)]


def gone_on_with(folder: Path, builder: str) -> dict[str, Any]:
    """The weights' file of a model goes on in the whole model's file, whose layers have other paths."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    given = keras.Input((4,))
    model = compiled(inner if builder == "sequential" else keras.Model(given, layers.Dense(4)(inner(given))))
    cut, losses = last_update(), v_curve(STEPS)
    fit(model, losses[:cut], autowu := AutoWUCallback(STEPS))
    model.save_weights(folder / "run.weights.h5")
    assert autowu.driver.snapshot is not None
    kept = [leaf.tolist() for leaf in autowu.driver.snapshot.parameters.values()]
    paths = [variable.path for variable in model.weights]
    model.save(folder / "run.keras")
    loaded = compiled(keras.models.load_model(folder / "run.keras", compile=False))
    loaded.optimizer.build(loaded.trainable_variables)
    autowu = AutoWUCallback(STEPS)
    autowu.set_model(loaded)
    loaded.load_weights(folder / "run.weights.h5")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(loaded, losses[cut:], autowu)
    switch = autowu.driver.switch
    assert switch is not None
    assert switch.rewound_to is not None
    return {
        "same paths": [variable.path for variable in loaded.weights] == paths,
        "as kept": [leaf.tolist() for leaf in history.before[switch.step - cut][: len(kept)]] == kept,
        "warnings": [str(each.message) for each in caught if "rewinding" in str(each.message)],
    }
