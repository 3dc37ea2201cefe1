"""What test_keras_fits.py lets a process with Keras do: what is done around `fit`, and within it."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from autowu.integrations.keras import AutoWUCallback
from autowu.integrations.keras_state import number
from integrations.contract.contract import v_curve
from integrations.keras_changes import last_update, stack
from integrations.keras_trials import History, Prescribed, fit, prescribed, prescribed_loss

STEPS = 40


class Calling(keras.callbacks.Callback):
    """Calls what it is given with the model, after each tenth batch."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.call = call

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch % 10 == 9:
            self.call(self.model)


@contextmanager
def seen(autowu: AutoWUCallback) -> Iterator[list[float]]:
    """The losses that the driver is given."""
    driver, losses = autowu.driver, []
    observe = driver.observe
    driver.observe = lambda loss: (losses.append(loss), observe(loss))[1]
    yield losses


@contextmanager
def told(part: str) -> Iterator[list[str]]:
    """The warnings that have such a part."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += [text for text in (str(each.message) for each in caught) if part in text]


def same(losses: list[float], times: int = 1) -> bool:
    true = np.tile(np.float32(v_curve(STEPS)), times)
    return np.allclose(losses, true, rtol=1e-6, atol=0)  # the loss is a sum with what cancels


def evaluating(known: bool) -> bool:
    """A callback that is listed before AutoWU evaluates, on quite another loss."""
    others = np.full((2, 4), 0, np.float32), np.full((2, 1), 9, np.float32)
    model, autowu = prescribed(), AutoWUCallback(STEPS)
    if known:
        model.evaluate(*others, verbose=0)
    with seen(autowu) as losses:
        fit(model, v_curve(STEPS), Calling(lambda model: model.evaluate(*others, verbose=0)), autowu)
    return same(losses)


def recompiled(optimizer: str, listed: str) -> dict[str, Any]:
    """A callback compiles the model anew within the fit, as one that unfreezes it layer by layer."""

    def compile_anew(model: Any) -> None:
        new = model.optimizer
        if optimizer == "another":
            new = keras.optimizers.Adam(float(new.learning_rate))  # which the history reads next
        model.compile(new, loss=model.loss)
        new.build(model.trainable_variables)
        model.make_train_function()

    autowu, changing = AutoWUCallback(2 * STEPS), Calling(compile_anew)
    callbacks = [changing, autowu] if listed == "before" else [autowu, changing]
    with seen(autowu) as losses:
        history = fit(prescribed(), v_curve(STEPS), *callbacks, epochs=2)
    return {
        "same losses": same(losses, 2),
        "steps": autowu.driver.step_count,
        "lrs": history.lrs,
        "left": hasattr(history.model.optimizer, "autowu"),
    }


def plain() -> list[float]:
    """The LRs of the same run without such a callback."""
    return fit(prescribed(), v_curve(STEPS), AutoWUCallback(2 * STEPS), epochs=2).lrs


class Own(Prescribed):
    """Its `train_step` gives the loss to a metric of its own, which has the name of that of `compile`."""

    def __init__(self) -> None:
        super().__init__()
        self.own = keras.metrics.Mean(name="loss")

    def train_step(self, *arguments: Any) -> Any:
        _, y = arguments[-1]
        loss, slopes = ops.mean(y), [ops.zeros(each.shape) for each in self.trainable_variables]
        if keras.backend.backend() != "jax":
            self.optimizer.apply(slopes, self.trainable_variables)
            self.own.update_state(loss)
            return {"loss": loss}
        weights, others, state, metrics = arguments[0]
        weights, state = self.optimizer.stateless_apply(state, slopes, weights)
        after: list[Any] = []
        for metric in self.metrics:
            mine = metrics[len(after) : len(after) + len(metric.variables)]
            after += metric.stateless_update_state(mine, loss) if metric is self.own else mine
        return {"loss": loss}, (weights, others, state, after)


def two_of_one_name() -> tuple[int, bool]:
    """How many metrics are called 'loss', and whether the losses are those that one of them is given."""
    model, autowu = Own(), AutoWUCallback(STEPS)
    model.compile("adam", "mse")
    model.build((None, 4))
    with seen(autowu) as losses:
        fit(model, v_curve(STEPS), autowu)
    return len([metric for metric in model.metrics if metric.name == "loss"]), same(losses)


def message_of(*callbacks: Any) -> str:
    try:
        fit(prescribed(), v_curve(4), *callbacks)
    except ValueError as error:
        return str(error)
    return "none"


def several() -> dict[str, str]:
    twice = AutoWUCallback(4)
    return {"two": message_of(AutoWUCallback(4), AutoWUCallback(4)), "twice": message_of(twice, twice)}


def outside_of_a_list(epochs: int) -> str:
    """Keras calls it in another thread, beside the training."""
    try:
        dense().fit(X, X, batch_size=10, epochs=epochs, verbose=0, callbacks=AutoWUCallback(epochs))
    except ValueError as error:
        return str(error)
    return ""


def dense() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


X = np.linspace(0, 1, 10, dtype=np.float32)[:, None]


def later_epochs(folder: Path) -> dict[str, list[str]]:
    """What is said where a fit begins at a later epoch: with AutoWU's state, and without."""
    model = dense()
    model.fit(X, X, batch_size=1, epochs=2, verbose=0, callbacks=[AutoWUCallback(40)])
    model.save(folder / "model.keras")
    model.save_weights(folder / "run.weights.h5")

    def texts(model: Any, autowu: AutoWUCallback) -> list[str]:
        with told("fit begins at epoch") as found:
            arguments = {"batch_size": 1, "epochs": 4, "initial_epoch": 2, "verbose": 0}
            model.fit(X, X, callbacks=[autowu], **arguments)
        return found

    loaded, weights, right = keras.models.load_model(folder / "model.keras"), dense(), dense()
    weights.load_weights(folder / "run.weights.h5")
    autowu = AutoWUCallback(40)
    autowu.set_model(right)
    right.load_weights(folder / "run.weights.h5")
    return {
        "load_model": texts(loaded, AutoWUCallback(40)),
        "load_weights": texts(weights, AutoWUCallback(40)),
        "set_model": texts(right, autowu),
    }


def interrupted(folder: Path) -> dict[str, Any]:
    """A fit ends within an update, and the model is saved."""

    def interrupt(model: Any) -> None:
        raise KeyboardInterrupt

    model, autowu = dense(), AutoWUCallback(40)
    with suppress(KeyboardInterrupt):
        model.fit(X, X, batch_size=1, verbose=0, callbacks=[Calling(interrupt), autowu])
    try:
        model.save(folder / "model.keras")
    except RuntimeError as error:
        message = str(error)
    else:
        message = "none"
    del model.optimizer.autowu
    model.save(folder / "model.keras")
    model.fit(X, X, batch_size=1, verbose=0, callbacks=[autowu])
    model.save(folder / "model.keras")
    return {"message": message, "steps": autowu.driver.step_count}


def copies(how: str) -> dict[str, Any]:
    """A run goes on with a copy of the callback, and of the model that it has."""
    losses, cut = v_curve(120), last_update()

    def trained(copied: Any) -> History:
        model, autowu = stack(), AutoWUCallback(120)
        fit(model, losses[:cut], autowu)
        autowu = copied(autowu)
        history = fit(autowu.model, losses[cut:], autowu)
        assert autowu.driver.switch.rewound_to is not None
        return history

    made = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda it: pickle.loads(pickle.dumps(it))}
    with (
        told("another model") as found,
        keras.saving.custom_object_scope({"prescribed_loss": prescribed_loss}),
    ):
        whole, other = trained(lambda autowu: autowu), trained(made[how])
    weights = zip(whole.weights(), other.weights(), strict=True)
    return {
        "same LRs": whole.lrs == other.lrs,
        "same weights": all(np.array_equal(one, two) for one, two in weights),
        "told": found,
    }


def begun_anew(folder: Path) -> dict[str, Any]:
    """Weights of before AutoWU go into a model whose run under AutoWU is not over."""
    path, model = folder / "first.weights.h5", dense()
    model.save_weights(path)
    model.fit(X, X, batch_size=1, verbose=0, callbacks=[AutoWUCallback(40)])
    try:
        model.load_weights(path)
    except ValueError as error:
        message = str(error)
    else:
        message = "none"
    del model.optimizer.autowu
    model.load_weights(path)
    autowu = AutoWUCallback(40)
    model.fit(X, X, batch_size=1, verbose=0, callbacks=[autowu])
    return {"message": message, "steps": autowu.driver.step_count}


class Named(Prescribed):
    """As the autoencoder of Keras' examples, its metrics are its own, and none is called 'loss'."""

    @property
    def metrics(self) -> list[Any]:
        return [keras.metrics.Mean(name="total_loss"), keras.metrics.Mean(name="kl_loss")]


def without_the_name() -> str:
    model = Named()
    model.compile("sgd")
    try:
        AutoWUCallback(STEPS).set_model(model)
    except ValueError as error:
        return str(error)
    return ""


class Strategy:
    """In the place of TensorFlow's, which is not installed with each backend."""

    def __init__(self) -> None:
        self.entered = 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.entered += 1
        yield


class Strategic(Prescribed):
    """A model that TensorFlow trains in several replicas has their strategy."""

    distribute_strategy = Strategy()


class Replicated:
    """A value of several replicas: no number in Python's eyes."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return np.array(2.5, np.float32)


def replicas() -> tuple[int, set[str], float]:
    """How often the scope is entered, how losses of replicas are made one, and a replicated number."""
    model = Strategic()
    model.compile("sgd", "mse")
    AutoWUCallback(STEPS).set_model(model)
    kinds = {metric.last_value.aggregation for metric in model.metrics if metric.name == "loss"}
    return model.distribute_strategy.entered, kinds, number(Replicated())
