"""A place for AutoWU's state in the files of a Keras model's weights."""

# Keras has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import keras
import numpy as np
from keras import ops


class State(keras.losses.Loss):  # the lightest of the classes whose objects Keras saves
    """An attribute of the optimizer, and so saved and loaded with it: the state of a callback's driver."""

    def __init__(self, callback: Any) -> None:
        super().__init__(name="autowu")
        self.callback = callback

    def __repr__(self) -> str:
        """What Keras shows where it cannot be loaded."""
        return "<the state of AutoWU>"

    def save_own_variables(self, store: Any) -> None:
        """Keras' hook."""
        for name, leaf in self.callback.state_for_saving().items():
            store[quote(name, safe=" []'")] = leaf  # a "/" would make a group of it

    def load_own_variables(self, store: Any) -> None:
        """Keras' hook."""
        if "schedule" not in store.keys():  # noqa: SIM118 (Keras' stores are no mappings)
            raise ValueError(
                "these weights were saved without the state of AutoWU: to begin anew with them, first `del"
                " model.optimizer.autowu`, and then give fit a new AutoWUCallback"
            )
        self.callback.loaded({unquote(name): np.asarray(store[name]) for name in store.keys()})  # noqa: SIM118


def owner_of(optimizer: Any) -> Any:
    """The callback whose state is saved with the optimizer; None if there is none."""
    return getattr(getattr(optimizer, "autowu", None), "callback", None)


def iterations(optimizer: Any) -> int:
    """Updates that the optimizer has made; in Keras 3.8 what scales the loss for it counts none itself."""
    return int(number(getattr(optimizer, "inner_optimizer", optimizer).iterations))


def number(variable: Any) -> float:
    """The value of a variable; under a strategy of TensorFlow what its replicas have together."""
    return float(np.asarray(ops.convert_to_numpy(variable)))
