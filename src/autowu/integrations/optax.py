"""AutoWU for optax: it sets the learning rate of ``inject_hyperparams`` from outside of jit, and rewinds."""

# Pytrees have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

try:  # optax itself is not needed: its states are pytrees
    import jax
    import jax.numpy as jnp
    from jax.core import Tracer
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError("this needs JAX and optax: pip install 'autowu[optax]'") from error

from autowu.config import Config
from autowu.integrations.driver import Driver, Leaf, Weights

Params = TypeVar("Params")
OptState = TypeVar("OptState")


class AutoWU:
    """Sets the learning rate by itself: grows it while the loss falls, goes back to the minimum, decays.

    ::

        optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.0)
        schedule = AutoWU(total_steps=12_000)
        opt_state = schedule.set_learning_rate(optimizer.init(params))
        for batch in batches:
            params, opt_state, loss = train_step(params, opt_state, batch)  # your jitted step
            params, opt_state = schedule.step(loss, params, opt_state)

    ``train_step`` is traced once. The optimizer's own learning rate does not matter; all that are injected,
    at whatever depth of ``opt_state``, get the same.

    Args:
        total_steps: T, optimizer updates of the whole run, ≥ 1.
        preset: 'default', or 'paper' (Algorithm 1), which also needs ``steps_per_epoch``.
        steps_per_epoch: updates in an epoch, where tests come at epoch ends.
        settings: fields of :class:`autowu.Config` in place of the preset's.

    ``driver`` has what can be read: ``learning_rate``, ``phase``, ``verdicts``, ``switch``.

    Raises:
        TypeError, ValueError: a setting is missing, unknown or out of range.
    """

    def __init__(
        self,
        total_steps: int | None = None,
        *,
        preset: str = "default",
        steps_per_epoch: int | None = None,
        **settings: Any,
    ) -> None:
        self.driver = Driver(
            Config.preset(preset, total_steps=total_steps, steps_per_epoch=steps_per_epoch, **settings)
        )
        self._structure: Any = None  # of the optimizer state last seen
        self._injected: list[int] = []  # where its leaves are learning rates

    def set_learning_rate(self, opt_state: OptState) -> OptState:
        """``opt_state`` with the next update's learning rate: to be called before the first update.

        Raises:
            ValueError: ``opt_state`` has no injected learning rate, or that is a schedule or an integer.
        """
        leaves, structure = jax.tree.flatten(opt_state)
        if self._structure is None or structure != self._structure:
            self._injected, self._structure = _injected(opt_state), structure
        for index in self._injected:
            # Type and sharding stay as they are, so that nothing is traced again.
            leaves[index] = jnp.full_like(leaves[index], self.driver.learning_rate)
        return jax.tree.unflatten(structure, leaves)

    def observe(self, loss: object) -> None:
        """Add the loss of a micro-batch to the update that the next :meth:`step` closes.

        Args:
            loss: a JAX, NumPy or Python number; one on a device is not waited for.

        Raises:
            TypeError, ValueError: ``loss`` is not one real number, or it is of a function being traced.
        """
        if isinstance(loss, Tracer):
            raise TypeError("AutoWU cannot run inside of jit, grad or scan: give it what your step returns")
        self.driver.observe(loss)

    def step(self, loss: object, params: Params, opt_state: OptState) -> tuple[Params, OptState]:
        """To be called once after each update.

        Args:
            loss: the training loss of the update, as in :meth:`observe`. None after calls of that; the
                update's loss is the mean of all that were given.
            params: a pytree of whatever is to be rewound: the parameters, batch statistics.
            opt_state: the optimizer's state.

        Returns:
            ``params`` and ``opt_state`` for the next update: the same but for the learning rate, or, at the
            end of warm-up, those of the minimum.

        After ``total_steps`` calls the learning rate stays as it is, and a warning says so once.

        Raises:
            TypeError, ValueError: as :meth:`observe` and :meth:`set_learning_rate`, or no loss was given.
        """
        if loss is not None:
            self.observe(loss)
        weights = self.driver.step(lambda: Weights(_read(params), _read(opt_state)))
        if weights is not None:
            params, opt_state = _write(params, weights.parameters), _write(opt_state, weights.rest)
        return params, self.set_learning_rate(opt_state)

    def state_dict(self) -> dict[str, Leaf]:
        """A flat dict of NumPy arrays for any checkpointer, from which a run goes on bit for bit.

        During warm-up the copy for rewinding is part of it.
        """
        return self.driver.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; then call :meth:`set_learning_rate`.

        Raises:
            ValueError: the state is damaged, or of a run with another configuration; nothing is changed.
        """
        self.driver.load_state_dict(state_dict)


def _injected(opt_state: Any) -> list[int]:
    """Which leaves are learning rates that ``inject_hyperparams`` keeps."""
    paths_and_leaves = jax.tree_util.tree_flatten_with_path(opt_state)[0]
    names = [
        [getattr(key, "name", getattr(key, "key", None)) for key in path] for path, _ in paths_and_leaves
    ]
    if any(name[-3:-1] == ["hyperparams_states", "learning_rate"] for name in names):
        raise ValueError("learning_rate is a schedule, which AutoWU cannot set: give a number, such as 0.0")
    found = [index for index, name in enumerate(names) if name[-2:] == ["hyperparams", "learning_rate"]]
    if not found:
        raise ValueError(
            "no learning rate is injected into this optimizer state: make the optimizer with"
            " optax.inject_hyperparams(optax.adamw)(learning_rate=0.0), for example"
        )
    for index in found:
        if not jnp.issubdtype(jnp.result_type(paths_and_leaves[index][1]), jnp.floating):
            raise ValueError(
                "learning_rate is an integer, and can be nothing else: give a number such as 0.0"
            )
    return found


def _kept(leaf: Any) -> bool:
    """Whether rewinding puts a leaf back: random keys go on, as they do in other hosts."""
    return not jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key)


def _read(tree: Any) -> list[Leaf]:
    # Copies: the next step may be given the memory of these ones (donation).
    return [np.array(leaf) for leaf in jax.tree.leaves(tree) if _kept(leaf)]


def _write(tree: Any, values: Any) -> Any:
    remaining = iter(values)
    return jax.tree.map(lambda leaf: _like(leaf, next(remaining)) if _kept(leaf) else leaf, tree)


def _like(leaf: Any, value: Leaf) -> Any:
    """``value`` of the type and where ``leaf`` is."""
    if value.dtype.kind == "V":  # such as bfloat16, whose name np.savez forgets
        value = value.view(leaf.dtype)
    shape = np.shape(leaf)
    if value.shape != shape:
        raise ValueError(f"an array of shape {shape} has shape {value.shape} in the copy for rewinding")
    if not isinstance(leaf, jax.Array):
        return value
    copied = jnp.array(value, leaf.dtype)
    return jax.device_put(copied, leaf.sharding) if leaf.committed else copied
