"""The variables of a Keras model that are rewound, under names that stay theirs throughout a run."""

# Keras has no type stubs, and what pyright infers of it is not so.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from weakref import ReferenceType, ref

import keras
import numpy as np
from keras import ops

from autowu.integrations.keras_resting import Resting
from autowu.integrations.weights import Layout, Leaf, MisfitError, Weights, gone, misfits, some, typed

_NUMBERED: Final = re.compile(r"(.*?)_(\d+)")
_AS_THEY_ARE: Final[Mapping[str, str]] = {}


class Variables:
    """Names each variable by its path, and knows by its identity which name it has in the snapshot.

    So a variable that gets the path of another, such as a new head, does not get that one's values. In
    another process names are all there is. Keras numbers layers without a name of their own from a process's
    start: here the numbers count from 0 in each model, as in Keras' weights files.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[ReferenceType[Any], str]] = {}
        self._taken: set[str] = set()  # names, of variables that may be gone
        self._writable: dict[int, ReferenceType[Any]] = {}
        self._read: Weights | None = None
        self._resting = Resting()

    def named(self, model: Any, called: Mapping[str, str] = _AS_THEY_ARE) -> dict[str, Any]:
        """What training changes, frozen or not, by name; no learning rate, metric or random generator.

        Args:
            model: whose variables.
            called: names in place of the weights' paths, for variables that have none yet.
        """
        named: dict[str, Any] = {}
        for variable, path in _paths(model, called):
            known = self._known.get(id(variable))
            if known is None or known[0]() is not variable:
                name = path
                while name in self._taken:
                    name += "'"
                self._taken.add(name)
                self._known[id(variable)] = known = ref(variable), name
            named[known[1]] = variable
        return named

    def recognised(self, model: Any, snapshot: Weights) -> list[str]:
        """Name the variables as in ``snapshot``, which comes from a file.

        Layers of a model that Keras has loaded have shorter paths than those of one that was built: without
        the names of the models around them, such as a Sequential's.

        Returns:
            The parameters of the snapshot that are not in the model.
        """
        kept = {*snapshot.parameters, *snapshot.rest, *snapshot.frozen}
        named = self.named(model, _alike([path for _, path in _paths(model) if "/" in path], kept))
        for name, variable in named.items():
            if id(variable) in _frozen(model) and name in {*snapshot.parameters, *snapshot.rest}:
                self._resting.move(variable)
        return sorted(snapshot.parameters.keys() - named.keys())

    def of_another(self, model: Any) -> bool:
        """Whether names have been given, and to none of this model's weights."""
        here = {id(variable): variable for variable in model.weights}
        known = {key: reference() for key, (reference, _) in self._known.items()}
        return bool(known) and bool(here) and not any(here[key] is known.get(key) for key in here)

    def watch(self, model: Any) -> None:
        """Note what is frozen, to see by the first copy whether that changes nevertheless."""
        frozen = _frozen(model)
        self._resting.look(variable for variable in model.weights if id(variable) in frozen)

    def read(self, model: Any) -> Weights:
        """A copy of what training changes now, with names as in another process.

        Raises:
            MisfitError: a variable cannot be written.
        """
        named, frozen = Variables().named(model), _frozen(model)
        self._resting.look(variable for variable in named.values() if id(variable) in frozen)
        frozen -= {id(variable) for variable in named.values() if self._resting.moves(variable)}
        here = {name: variable for name, variable in named.items() if id(variable) not in frozen}
        unwritable = [name for name, variable in here.items() if not self._can_be_written(variable)]
        if unwritable:
            raise MisfitError(f"these variables cannot be written: {some(unwritable)}")
        trained = {id(variable) for variable in model.trainable_weights}
        leaves = {name: _leaf(variable) for name, variable in here.items()}
        self._read = Weights(
            {name: leaf for name, leaf in leaves.items() if id(here[name]) in trained},
            {name: leaf for name, leaf in leaves.items() if id(here[name]) not in trained},
            frozenset(named.keys() - here.keys()),
        )
        return self._read

    def settle(self, model: Any, snapshot: Weights | None) -> None:
        """If what was read has become the snapshot, go by its names from now on."""
        if self._read is not None and self._read is snapshot:
            self._known, self._taken = {}, set()
            self.named(model)
        self._read = None

    def thawed(self, model: Any, snapshot: Weights) -> Weights:
        """A copy of what the snapshot left out as frozen, and what can change from now on."""
        named, frozen = self.named(model), _frozen(model)
        names = [name for name in snapshot.frozen & named.keys() if id(named[name]) not in frozen]
        names = [name for name in names if not self._resting.changed([named[name]])]
        return Weights({name: _leaf(named[name]) for name in names}, {})

    def check(self, model: Any, snapshot: Weights) -> None:
        """See that the snapshot can be put back as a whole.

        Raises:
            MisfitError: it cannot.
        """
        named, frozen = self.named(model), _frozen(model)
        present = {name: _layout(variable) for name, variable in named.items()}
        problems = [
            *misfits({**snapshot.parameters, **snapshot.rest}, present),
            *gone(snapshot.parameters, present),
            *(
                f"{name} was frozen when it was taken, and may have changed since"
                for name in sorted(snapshot.frozen & named.keys())
                if id(named[name]) not in frozen or self._resting.changed([named[name]])
            ),
        ]
        if problems:
            raise MisfitError(some(problems))

    def write(self, model: Any, snapshot: Weights) -> None:
        """Put back what is in the snapshot; what is new stays as it is."""
        kept = {**snapshot.parameters, **snapshot.rest}
        for name, variable in self.named(model).items():
            if name in kept:
                variable.assign(typed(kept[name], _layout(variable)[1]))
        _keep_on_jax(model)

    def _can_be_written(self, variable: Any) -> bool:
        """Tried once: a copy of its value is written to it."""
        known = self._writable.get(id(variable))
        if known is None or known() is not variable:
            try:
                variable.assign(ops.copy(variable.value))
            except Exception:  # whatever the backend has against it
                return False
            self._writable[id(variable)] = ref(variable)
        return True


def other_optimizers(model: Any) -> dict[str, Any]:
    """Optimizers that the model has besides the one it was compiled with, by the names of the attributes."""
    return {
        name: value
        for name, value in vars(model).items()
        if isinstance(value, keras.optimizers.Optimizer) and value is not model.optimizer
    }


def _keep_on_jax(model: Any) -> None:
    """Have Keras put back this, not what its last update gave, where a stream of batches turns out to end."""
    state = getattr(model, "_jax_state", None)  # within a fit on JAX
    if state:
        own = {
            "trainable_variables": model.trainable_variables,
            "non_trainable_variables": model.non_trainable_variables,
            "optimizer_variables": model.optimizer.variables,
        }
        model._jax_state = state | {
            kind: [variable.value for variable in variables]
            for kind, variables in own.items()
            if state.get(kind)
        }


def _frozen(model: Any) -> set[int]:
    """The identities of weights that training does not change for being frozen."""
    if other_optimizers(model):  # for which they may not be frozen
        return set()
    trained = {id(variable) for variable in model.trainable_weights}
    # Not all that such a layer has: what its call writes, such as statistics, may change still.
    own = (getattr(layer, "_trainable_variables", ()) for layer in model._flatten_layers())
    return {id(variable) for variables in own for variable in variables} - trained


def _alike(paths: Iterable[str], kept: set[str]) -> dict[str, str]:
    """Which of the names ``kept`` belongs to a path, where one is the other's end, and no second one is."""
    here = set(paths)
    free = kept - here
    called = {
        path: ends[0]
        for path in here - kept
        if len(ends := [name for name in free if name.endswith(f"/{path}") or path.endswith(f"/{name}")]) == 1
    }
    names = list(called.values())
    return {path: name for path, name in called.items() if names.count(name) == 1}


def _paths(model: Any, called: Mapping[str, str] = _AS_THEY_ARE) -> Iterator[tuple[Any, str]]:
    """Each variable with its path, in which the numbers of models, layers and optimizers count from 0."""
    weights = {"_".join(variable.path.split("/")): variable for variable in model.weights}
    states = [
        variable
        for optimizer in (model.optimizer, *other_optimizers(model).values())
        for variable in optimizer.variables
        if variable is not optimizer.learning_rate
    ]
    first: dict[str, int] = {}
    for variable in [*model.weights, *states]:
        for base, number in map(_parts, variable.path.split("/")):
            first[base] = min(number, first.get(base, number))

    def from_zero(path: str) -> str:
        counted = [(base, number - first.get(base, 0)) for base, number in map(_parts, path.split("/"))]
        return "/".join(f"{base}_{number}" if number else base for base, number in counted)

    def name(variable: Any) -> str:
        path = from_zero(variable.path)
        return called.get(path, path)

    for variable in model.weights:
        yield variable, name(variable)
    longest = sorted(weights, key=len, reverse=True)
    for variable in states:
        # The name of a state begins with the path of the weight that it belongs to.
        *parents, last = variable.path.split("/")
        owner = next((path for path in longest if last.startswith(f"{path}_")), None)
        if owner is not None:
            last = f"{name(weights[owner]).replace('/', '_')}{last[len(owner) :]}"
        yield variable, from_zero("/".join([*parents, last]))


def _parts(part: str) -> tuple[str, int]:
    found = _NUMBERED.fullmatch(part)
    return (found[1], int(found[2])) if found else (part, 0)


def _layout(variable: Any) -> Layout:
    # Of the value: JAX without `jax_enable_x64` has none of the 64 bits that a variable may claim.
    return tuple(variable.shape), np.dtype(keras.backend.standardize_dtype(variable.value.dtype))


def _leaf(variable: Any) -> Leaf:
    # A copy: on CPUs PyTorch gives its own memory, and JAX may give that of one to the next step.
    return np.array(ops.convert_to_numpy(variable.value))
