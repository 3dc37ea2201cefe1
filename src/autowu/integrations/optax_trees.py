"""Pytrees leaf by leaf, each by its path: where learning rates are, copies, and the way back."""

# Pytrees have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import FlattenedIndexKey, SequenceKey, keystr

from autowu.integrations.weights import Layout, Leaf, MisfitError, Weights, gone, misfits, some, typed

# Such as `adam_learning_rate` or `head_lr`, but no bound of one.
_LEARNING_RATE: Final = re.compile(r"(?!(.*_)?(min|max)_)(.*_)?(learning_rates?|lrs?)")

_PRECISE: Final = 32  # bits that a hyperparameter needs

# States of transformations that scale the updates by a schedule of their own, or a step size that they seek.
_SCHEDULES: Final = frozenset(
    {
        *("ScaleByScheduleState", "ReduceLROnPlateauState"),
        *("ScaleByBacktrackingLinesearchState", "ScaleByZoomLinesearchState"),
    }
)


def states(opt_state: Any, sought: Set[str]) -> set[str]:
    """Of the names ``sought``, those that states in ``opt_state`` have."""

    def name(node: object) -> str:
        return type(node).__name__

    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: name(node) in sought)
    return {name(node) for node in nodes} & sought


def troubles(opt_state: Any) -> Iterator[tuple[str, str]]:
    """What to warn of in an optimizer state that is seen for the first time: of which kind, and the text."""
    if others := states(opt_state, _SCHEDULES):
        yield (
            "schedules",
            f"AutoWU: the optimizer has a schedule of its own besides ({some(sorted(others))}): what it"
            " scales is not made with AutoWU's learning rate. Take scale_by_schedule, reduce_on_plateau and"
            " line searches (lbfgs has one, unless linesearch=None) out of the chain.",
        )
    if states(opt_state, {"ScaleByRpropState"}):
        yield (
            "rprop",
            "AutoWU: rprop takes its learning rate for its very first step alone, and then sets the size of"
            " its steps by itself: no schedule of the learning rate changes it. Take another optimizer, or no"
            " schedule.",
        )
    rates = learning_rates(opt_state)
    for path, leaf in jax.tree_util.tree_flatten_with_path(opt_state)[0]:
        names = [getattr(key, "name", getattr(key, "key", None)) for key in path]
        dtype = jnp.result_type(leaf)
        if "hyperparams" not in names or keystr(path) in rates or not jnp.issubdtype(dtype, jnp.floating):
            continue
        if jnp.finfo(dtype).bits < _PRECISE:
            yield (
                "precision",
                f"AutoWU: opt_state{keystr(path)} is of {dtype}, as the first parameter is, and so is all"
                " that inject_hyperparams has made an array of. In bfloat16 b2=0.999 is 1, in float16"
                " eps=1e-8 is 0, and updates become NaN. Inject the learning rate alone,"
                " inject_hyperparams(lambda learning_rate: optax.adamw(learning_rate))(learning_rate=0.0), or"
                " give hyperparam_dtype=jnp.float32.",
            )
            return


def learning_rates(opt_state: Any) -> dict[str, int]:
    """Which leaves are learning rates that ``inject_hyperparams`` keeps, by their paths.

    The first of them leads: it is the first that is called ``learning_rate``, or the first of all.

    Raises:
        ValueError: there is none, or one is a schedule or an integer.
    """
    found: dict[str, int] = {}
    others: list[str] = []  # that are injected, and go by other names
    leading = 0
    for index, (path, leaf) in enumerate(jax.tree_util.tree_flatten_with_path(opt_state)[0]):
        names = [getattr(key, "name", getattr(key, "key", None)) for key in path]
        # The last may be followed by what a framework wraps an array in, such as Flax NNX's `.value`.
        for kind, name in itertools.pairwise(names):
            if not (isinstance(name, str) and _LEARNING_RATE.fullmatch(name)):
                others += [str(name)] if kind == "hyperparams" else []
                continue
            if kind == "hyperparams_states":
                raise ValueError(f"{name} is a schedule, which AutoWU cannot set: give a number, such as 0.0")
            if kind == "hyperparams":
                if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                    dtype = jnp.result_type(leaf)
                    if jnp.issubdtype(dtype, jnp.complexfloating):
                        raise ValueError(
                            f"{name} is of {dtype}, as the first parameter is: give inject_hyperparams(…,"
                            " hyperparam_dtype=jnp.float32)"
                        )
                    raise ValueError(
                        f"{name} is an integer, and can be nothing else: give a number such as 0.0"
                    )
                leads = name == "learning_rate" and not leading
                leading += leads
                found = {keystr(path): index} | found if leads else found | {keystr(path): index}
    if not found and others:
        raise ValueError(
            "an injected learning rate must be called learning_rate or lr, or end so, as head_lr does;"
            f" injected is only {some(others)}"
        )
    if not found:
        raise ValueError(
            f"no learning rate is injected into this optimizer state (of type {type(opt_state).__name__}):"
            " make the optimizer with optax.inject_hyperparams(optax.adamw)(learning_rate=0.0), for example,"
            " and give what its init(params) returns"
        )
    return found


def names(tree: Any) -> set[str]:
    """The paths of all leaves."""
    return {keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]}


def read(tree: Any, but: Set[str] = frozenset()) -> dict[str, Leaf]:
    """A copy of each leaf in host memory, but for some paths.

    Raises:
        MisfitError: a leaf cannot be copied.
    """
    leaves = _arrays(tree, but)
    lost = [
        f"{path} {why}"
        for path, leaf in leaves.items()
        if isinstance(leaf, jax.Array)
        for why, holds in (
            ("has been deleted, as donated arrays are", leaf.is_deleted()),
            ("is spread over several processes", not (leaf.is_fully_addressable or leaf.is_fully_replicated)),
        )
        if holds
    ]
    if lost:
        raise MisfitError(some(lost))
    # Copies: the next step may be given the memory of these ones (donation).
    return {path: np.array(leaf) for path, leaf in leaves.items()}


def check(kept: Mapping[str, Leaf], tree: Any, but: Set[str] = frozenset()) -> Iterator[str]:
    """Why what was read from a tree like ``tree`` cannot be put back into it."""
    try:
        leaves = _arrays(tree, but)
    except MisfitError as error:
        yield f": {error}"
        return
    yield from misfits(kept, {path: _layout(leaf) for path, leaf in leaves.items()})
    # Names tell which leaf is which; numbers do so only if they are the same ones.
    for parent, here in _numbered(tree, leaves).items():
        inside = [path[len(parent) :] for path in kept if path.startswith(f"{parent}[")]
        there = {path[: path.index("]") + 1] for path in inside if "]" in path}
        if there and here != there:
            yield f"{parent} has the entries {some(sorted(here))}, and {some(sorted(there))} in the snapshot"


def written(tree: Any, kept: Mapping[str, Leaf]) -> Any:
    """``tree`` with the leaves that :func:`check` found to fit; those that are new stay."""
    fitting = _arrays(tree, frozenset())

    def put_back(path: Any, leaf: Any) -> Any:
        name = keystr(path)
        return _like(leaf, kept[name]) if name in kept and name in fitting else leaf

    return jax.tree_util.tree_map_with_path(put_back, tree)


def _arrays(tree: Any, but: Set[str]) -> dict[str, Any]:
    """The leaves that training may change: no functions, texts and the like, and no random keys.

    Random keys go on when weights are rewound, as they do in other hosts.
    """
    arrays: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = keystr(path)
        if name in but or not isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | complex):
            continue
        if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key):
            continue
        if name in arrays:
            raise MisfitError(f"two leaves have the same path {name}")
        arrays[name] = leaf
    return arrays


def _numbered(tree: Any, leaves: Mapping[str, Any]) -> dict[str, set[str]]:
    """The entries with ``leaves`` of each list, tuple and node without names, by the path of it."""
    numbered: dict[str, set[str]] = {}
    for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]:
        for depth, key in enumerate(path):
            if isinstance(key, SequenceKey | FlattenedIndexKey) and keystr(path) in leaves:
                numbered.setdefault(keystr(path[:depth]), set()).add(str(key))
    return numbered


def _layout(leaf: Any) -> Layout:
    return np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _like(leaf: Any, kept: Leaf) -> Any:
    """``kept`` of the type of ``leaf`` and where that is."""
    if isinstance(leaf, int | float | complex) and not isinstance(leaf, np.generic):
        return kept.item()
    value = typed(kept, leaf.dtype)
    if not isinstance(leaf, jax.Array):
        return value
    copied = jnp.array(value, leaf.dtype)
    if leaf.weak_type:  # a copy has to be, too, or else the user's step would be traced again
        copied = jnp.zeros_like(leaf).at[...].set(copied)
    return jax.device_put(copied, leaf.sharding) if leaf.committed else copied


def reading(
    params: Any, opt_state: Any, rates: Set[str]
) -> tuple[Callable[[], Weights], Callable[[Weights], None]]:
    """What the driver calls to copy the trees, but for the learning rates, and to see whether a copy fits."""

    def copied() -> Weights:
        return Weights(read(params), read(opt_state, rates))

    def checked(snapshot: Weights) -> None:
        problems = [
            *(f"params{text}" for text in check(snapshot.parameters, params)),
            *(f"opt_state{text}" for text in check(snapshot.rest, opt_state, rates)),
            *gone(snapshot.parameters, names(params)),
        ]
        if problems:
            raise MisfitError(some(problems))

    return copied, checked
