"""AutoWU for optax: it sets the learning rate of ``inject_hyperparams`` from outside of jit, and rewinds."""

# Pytrees have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import warnings
from collections.abc import Mapping, Set
from typing import Any, Final, TypeVar

import numpy as np

from autowu.extras import install

try:  # optax itself is not needed: its states are pytrees
    import jax
    import jax.numpy as jnp
    from jax.core import Tracer
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError(f"this needs JAX and optax: {install('optax')}") from error

from autowu.config import Config
from autowu.integrations import optax_trees
from autowu.integrations.driver import Driver
from autowu.integrations.logged import Folder
from autowu.integrations.optax_rates import (
    as_set,
    can_be_read,
    from_dict,
    is_close,
    not_as_set,
    ratios_of,
    to_dict,
)
from autowu.integrations.optax_updates import Updates
from autowu.integrations.said import summary
from autowu.integrations.saved import check_keys
from autowu.integrations.weights import Leaf, Weights

IN_JIT: Final = "AutoWU cannot run inside of jit, grad or scan: give it what your step returns"

Params = TypeVar("Params")
OptState = TypeVar("OptState")


class AutoWU:
    """Sets the learning rate by itself: grows it while the loss falls, goes back to the minimum, decays.

    ::

        optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.0)
        schedule = AutoWU(total_steps=12_000)
        opt_state = schedule.set_learning_rate(optimizer.init(params), params)
        for batch in batches:
            params, opt_state, loss = train_step(params, opt_state, batch)  # your jitted step
            params, opt_state = schedule.step(loss, params, opt_state)

    ``train_step`` is traced once. One injected learning rate may have any value. Where there are several, at
    whatever depth of ``opt_state``, each keeps its ratio to the first that is called ``learning_rate``.

    Args:
        total_steps: T, optimizer updates of the whole run, ≥ 1. None: no end is known, and the peak LR is
            held until :meth:`cooldown` or :meth:`extend` is called.
        preset: 'default', or 'paper' (Algorithm 1), which also needs ``steps_per_epoch``.
        steps_per_epoch: updates in an epoch, where tests come at epoch ends.
        log: a folder for the run log that `autowu report` reads.
        settings: fields of :class:`autowu.Config` in place of the preset's.

    ``driver`` has what can be read: ``learning_rate``, ``phase``, ``verdicts``, ``switch``.

    Raises:
        TypeError, ValueError: a setting is unknown or out of range.
    """

    def __init__(
        self,
        total_steps: int | None = None,
        *,
        preset: str = "default",
        steps_per_epoch: int | None = None,
        log: Folder | None = None,
        **settings: Any,
    ) -> None:
        self.driver = Driver(
            Config.preset(preset, total_steps=total_steps, steps_per_epoch=steps_per_epoch, **settings),
            log,
            {"host": "JAX", "packages": ("jax", "optax", "flax")},
        )
        self._structure: Any = None  # of the optimizer state last seen
        self._places: dict[str, int] = {}  # where its leaves are learning rates, by their paths
        self._ratios: dict[str, Leaf] = {}  # of learning rates to the leading one, by their paths
        self._unit: float | None = None  # the leading one, as the user gave it
        self._written: dict[str, Leaf] = {}  # what they were set to last
        self._watched: dict[str, tuple[Any, Leaf]] = {}  # what came back of them, beside what was written
        self._second_hand = False
        self._told: set[str] = set()
        self._updates = Updates()

    def __repr__(self) -> str:
        return summary("AutoWU", self.driver.session)

    def set_learning_rate(self, opt_state: OptState, params: Any = None) -> OptState:
        """``opt_state`` with the next update's learning rate: to be called before the first update.

        Args:
            opt_state: the optimizer's state.
            params: as for :meth:`step`. If they are given before the first update, they are what the run goes
                back to where that was one too many. Without them the first copy is of after it.

        Raises:
            ValueError: ``opt_state`` has no injected learning rate, or one is a schedule, an integer,
                negative, not finite, or in no ratio to the first, which is 0.
            TypeError: it is of a function being traced.
        """
        leaves, structure = jax.tree.flatten(opt_state)
        places = self._find(opt_state, leaves, structure)
        rates = {path: leaves[index] for path, index in places.items()}
        new, self._unit = ratios_of(rates, self._ratios, self._unit)
        self._ratios |= new
        self._written = {path: self._ratios[path] * self.driver.learning_rate for path in places}
        if params is not None:
            read, _ = optax_trees.reading(params, opt_state, places.keys())
            self.driver.begin(read)
        for path, index in places.items():
            # Type and sharding stay as they are, so that nothing is traced again.
            leaves[index] = jnp.full_like(leaves[index], self._written[path])
        return jax.tree.unflatten(structure, leaves)

    def observe(self, loss: object) -> None:
        """Add the loss of a micro-batch to the update that the next :meth:`step` closes.

        It counts, even if the update is then given up and tried again. To be free to do so, keep the losses
        until the update is made, and give their mean to :meth:`step`.

        Args:
            loss: a JAX, NumPy or Python number; one on a device is not waited for.

        Raises:
            TypeError, ValueError: ``loss`` is not one real number, or it is of a function being traced.
        """
        if isinstance(loss, Tracer):
            raise TypeError(IN_JIT)
        if isinstance(loss, jax.Array) and loss.size != 1:
            raise ValueError(
                f"loss must have one element, not shape {loss.shape}: give the mean, of a batch's samples or"
                " of the updates in one lax.scan"
            )
        # A copy: the array may be part of a state whose memory the next step is given (donation).
        self.driver.observe(jnp.copy(loss) if isinstance(loss, jax.Array) else loss)

    def step(self, loss: object, params: Params, opt_state: OptState) -> tuple[Params, OptState]:
        """To be called once after each update.

        Args:
            loss: the training loss of the update, as in :meth:`observe`. None after calls of that; the
                update's loss is the mean of all that were given.
            params: a pytree of whatever is to be rewound: the parameters, batch statistics.
            opt_state: the optimizer's state.

        Returns:
            ``params`` and ``opt_state`` for the next update: the same but for the learning rate, or, where
            weights go back, such as at the end of warm-up, those of then.

        After ``total_steps`` calls the learning rate stays as it is, and a warning says so once.

        Raises:
            TypeError, ValueError: as :meth:`observe` and :meth:`set_learning_rate`, or no loss was given.
        """
        rates = self._rates(opt_state)
        self._look_whether_set(opt_state, rates)
        if loss is not None:
            self.observe(loss)
        due, weights = self.driver.session.due, None
        try:
            weights = self.driver.step(*optax_trees.reading(params, opt_state, rates))
            if weights is None and self.driver.session.due != due:
                self._updates.look(opt_state, self.driver.step_count)
            return self._put_back(weights, params, opt_state)
        except BaseException:  # Ctrl-C: nobody has got them
            self.driver.owe(weights)
            raise

    def extend(self, total_steps: int) -> None:
        """The run ends after ``total_steps`` updates: more or fewer than was planned, or than were known.

        Warm-up goes on as it began. A decay that has begun bends towards the new end, and the LR jumps
        nowhere: that of the next update stays as it is. A stable phase becomes a decay.

        Raises:
            TypeError: ``total_steps`` is no integer.
            ValueError: it is not above the updates done, or the run is over; nothing is changed.
        """
        self.driver.extend(total_steps)

    def cooldown(self, steps: int, params: Params, opt_state: OptState) -> tuple[Params, OptState]:
        """The LR falls to zero in the next ``steps`` updates, by the shape of the decay.

        It may be called between any two updates; in warm-up the LR, and what is given, first go back to the
        best known.

        Args:
            steps: ≥ 1.
            params: as for :meth:`step`.
            opt_state: as for :meth:`step`.

        Returns:
            ``params`` and ``opt_state`` for the next update, as from :meth:`step`.

        Raises:
            TypeError: ``steps`` is no integer.
            ValueError: it is below 1, or the run is over; nothing is changed. Else as :meth:`step`.
        """
        rates, weights = self._rates(opt_state), None
        try:
            weights = self.driver.cooldown(steps, *optax_trees.reading(params, opt_state, rates))
            return self._put_back(weights, params, opt_state)
        except BaseException:
            self.driver.owe(weights)
            raise

    def _look_whether_set(self, opt_state: Any, rates: Set[str]) -> None:
        """Warn where the first update, of a run or after a checkpoint, was made with another LR."""
        if self._written:
            return
        leaves = jax.tree.leaves(opt_state)
        # Without ratios known, the first is all that can be told.
        for path in self._ratios.keys() & rates or list(rates)[:1]:
            expected = self._ratios.get(path, np.ones(())) * self.driver.learning_rate
            here, there = as_set(leaves[self._places[path]], expected)
            if not is_close(here, there):
                warnings.warn(
                    f"AutoWU: this update was made with opt_state{path} at {here!s:.80}, not {there!s:.80}:"
                    " call set_learning_rate(opt_state) before the first update, of a run and after"
                    " load_state_dict, and take what it returns.",
                    stacklevel=3,
                )
                return

    def _rates(self, opt_state: Any) -> Set[str]:
        """The paths of the learning rates; whether they are as they were set is looked at."""
        leaves, structure = jax.tree.flatten(opt_state)
        rates = self._find(opt_state, leaves, structure)
        self._watch({path: leaves[index] for path, index in rates.items()})
        return rates.keys()

    def _put_back(
        self, weights: Weights | None, params: Params, opt_state: OptState
    ) -> tuple[Params, OptState]:
        if weights is not None:
            self._updates.forget()
            params = optax_trees.written(params, weights.parameters)
            opt_state = optax_trees.written(opt_state, weights.rest)
        return params, self.set_learning_rate(opt_state)

    def _find(self, opt_state: Any, leaves: list[Any], structure: Any) -> dict[str, int]:
        """Which leaves are learning rates, by their paths."""
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            raise TypeError(IN_JIT)
        if self._structure is None or structure != self._structure:
            self._places, self._structure = optax_trees.learning_rates(opt_state), structure
            self._tell(opt_state)
        return self._places

    def _tell(self, opt_state: Any) -> None:
        for kind, text in optax_trees.troubles(opt_state):
            if kind not in self._told:
                self._told.add(kind)
                warnings.warn(text, stacklevel=4)

    def _watch(self, rates: Mapping[str, Any]) -> None:
        """Warn once if learning rates are not as they were set; what comes back of them is not waited for."""
        if self._second_hand:
            return
        if not self._watched:
            self._watched = {
                path: (leaf, self._written[path]) for path, leaf in rates.items() if path in self._written
            }
        if not all(map(can_be_read, (leaf for leaf, _ in self._watched.values()))):
            return
        for path, (leaf, written) in self._watched.items():
            if (text := not_as_set(path, leaf, written)) is not None:
                warnings.warn(text, stacklevel=4)
                self._second_hand = True
                break
        self._watched = {}

    def state_dict(self) -> dict[str, Leaf]:
        """A flat dict of NumPy arrays for any checkpointer, from which a run goes on bit for bit.

        Up to the end of the run the copy for rewinding is part of it.
        """
        return self.driver.state_dict() | to_dict(self._ratios, self._unit)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; then call :meth:`set_learning_rate`.

        Raises:
            ValueError: the state is damaged, or of a run with another configuration; nothing is changed.
        """
        check_keys(state_dict, "schedule")
        ratios, unit = from_dict(state_dict)
        self.driver.load_state_dict(state_dict)
        self._ratios, self._unit, self._written, self._watched = ratios, unit, {}, {}
        self._updates.forget()
