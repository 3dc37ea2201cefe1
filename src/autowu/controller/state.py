"""What the controller knows: one frozen dataclass, and its plain form for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from types import UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import numpy as np

from autowu.arrays import Array
from autowu.detector.detect import Verdict
from autowu.detector.fit import AdamState
from autowu.detector.trend import Fall, Level

VERSION: Final = 3  # of the plain form


@dataclass(frozen=True)
class Leg:
    """A stretch of exponential growth: η_t = lr (η_max / η_min)^((t - start) / span)."""

    start: int
    lr: float
    span: int


@dataclass(frozen=True)
class Rise:
    """A rise of the loss before lift-off."""

    lr: float
    """The LR that it was seen at."""
    level: Level | None
    """Of the losses before it, if the weights are again those of before; else None."""
    drifts: bool = False
    """Whether the data make the loss rise, and growth takes no more notice of it."""


@dataclass(frozen=True)
class Switch:
    """The end of warm-up."""

    step: int
    """Updates done when the decay phase began."""
    capped: bool
    """Whether it began at the cap rather than by detection."""
    t_star: float | None
    """The step whose LR it goes back to; None if it began at the LR of the cap, or without lift-off."""
    peak_lr: float
    """First LR of the decay phase."""
    rewound_to: int | None
    """Updates that the weights put back had seen; None without rewind."""
    probed: int | None = None
    """The step at which a probe beyond the minimum began, which ended in this; None without."""


@dataclass(frozen=True)
class Probe:
    """A growth of the LR beyond a minimum, to see whether it is the last."""

    switch: Switch
    """The end of warm-up, if it is."""
    doubt: Fall | None
    """What goes with that."""
    leg: Leg
    """The growth that had led to it."""
    level: Level
    """Of the losses around t*."""


@dataclass(frozen=True)
class Reopening:
    """A return to warm-up, after a switch that proved wrong, or a minimum that was not the last."""

    step: int
    """Updates done when warm-up went on."""
    lr: float
    """The LR then, from which it grows again."""
    switch: Switch
    """The end of warm-up that is taken back; or, of a probe, that would have come when it began."""
    leg: Leg
    """The growth that had led to it."""
    probed: bool = False
    """Whether a probe saw it, before the decay phase began."""


def no_losses() -> Array:
    """An empty curve."""
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class State:
    """The controller's state: made by :func:`autowu.controller.machine.start`, replaced by ``observe``."""

    step: int
    """Updates whose losses have been observed."""
    read_at: int | None
    """The step of the next decision, which needs all losses before it. None: never."""
    leg: Leg
    """The current stretch of growth."""
    sweeping: bool
    """Whether growth is at the fast one of two speeds."""
    lifted: int | None
    """The step of lift-off; None before it. 0 where the configuration asks for none."""
    settled: int = 0
    """The step at which the slow growth is back at the LR that the fast one had when it ended."""
    origin: Level | None = None
    """Of the first losses, which the loss had fallen from at lift-off; None before it."""
    rise: Rise | None = None
    """The last rise of the loss before lift-off that growth has gone back for."""
    read: int = 0
    """The step of the last decision."""
    first: int = 0
    """The step of the first of ``losses``."""
    losses: Array = field(default_factory=no_losses)
    """Losses that the next decision looks at [step - first]."""
    streak: int = 0
    """Tests in a row that detected the minimum; before lift-off, reads in a row that saw a rise."""
    dead: int = 0
    """Reads in a row that found no finite loss."""
    adam: AdamState | None = None
    """The fit of the last test, in the paper preset."""
    probe: Probe | None = None
    """The growth beyond a minimum that is on."""
    copied: int | None = None
    """Step of the copy of the weights that is to be kept, or None."""
    restores: int = 0
    """How often the kept copy was to be put back."""
    switch: Switch | None = None
    """How warm-up ended; None before."""
    doubt: Fall | None = None
    """The fall of the loss up to t*, while the switch is in doubt; losses are kept until it is settled."""
    reopenings: tuple[Reopening, ...] = ()
    """The returns to warm-up so far."""
    drops: int = 0
    """Drops of the 'plateau' decay so far."""
    previous: tuple[float, float] | None = None
    """Mean loss of the interval before, and its variance, in 'plateau'."""
    verdicts: tuple[Verdict, ...] = ()
    """The tests so far."""

    def but(self, **changes: Any) -> State:
        """A state with other values: :func:`dataclasses.replace` in a fraction of the time.

        That checks what the types of the callers say already, field by field, at several states a read.
        """
        state = object.__new__(State)
        state.__dict__.update(self.__dict__, **changes)
        return state

    def to_dict(self) -> dict[str, Any]:
        """The state as plain values and NumPy arrays."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> State:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a key is missing or unknown, or its value is of a wrong kind; the message names it.
        """
        values = dict(plain)
        version = values.pop("version", None)
        if version != VERSION:
            raise ValueError(f"the state's version must be {VERSION}, not {version!r:.80}")
        state = _build(cls, values, "the state")
        due = math.inf if state.read_at is None else state.read_at
        if not (state.first <= state.step and state.read <= state.step < due and state.leg.span > 0):
            raise ValueError(
                f"the state's steps do not fit together: first {state.first}, read {state.read},"
                f" step {state.step}, read_at {state.read_at}, span {state.leg.span}"
            )
        _check_leg(state.leg, state.step)
        if state.switch is not None:
            _check_switch(state.switch)
        if state.probe is not None:
            _check_probe(state, state.probe)
        if state.doubt is not None and (state.switch is None or state.read_at is None):
            raise ValueError("the state's 'doubt' needs a switch and a step of the next decision")
        kept = state.switch is None or state.doubt is not None
        if kept and len(state.losses) != state.step - state.first:
            raise ValueError(
                f"the state's 'losses' are {len(state.losses)}, for steps {state.first} to {state.step}"
            )
        return state


def _check_leg(leg: Leg, step: int) -> None:
    if leg.start > step:
        raise ValueError(f"the state's 'leg' starts at {leg.start}, after step {step}")
    if not 0 < leg.lr < math.inf:
        raise ValueError(f"the state's 'leg' must have a finite lr > 0, not {leg.lr}")
    if leg.span <= 0:
        raise ValueError(f"the state's 'leg' must have a span > 0, not {leg.span}")


def _check_switch(switch: Switch) -> None:
    if not 0 < switch.peak_lr < math.inf:
        raise ValueError(f"the state's 'switch' must have a finite peak_lr > 0, not {switch.peak_lr}")


def _check_probe(state: State, probe: Probe) -> None:
    """Lift-off and a detected minimum come before it, and a copy that it goes back to."""
    if state.switch is not None or state.sweeping or state.lifted is None or state.origin is None:
        raise ValueError(
            "the state's 'probe' comes after lift-off, from which 'origin' is, and before a switch"
        )
    if state.copied is None or state.copied >= state.step:
        raise ValueError(f"the state's 'probe' needs a copy from before, not one 'copied' at {state.copied}")
    if probe.switch.step > state.step or probe.level.losses < 1:
        began, losses = probe.switch.step, probe.level.losses
        raise ValueError(f"the state's 'probe' began at {began}, by {losses} losses, at step {state.step}")
    _check_leg(probe.leg, state.step)
    _check_switch(probe.switch)


# --- from plain values, by the types of the fields ----------------------------------------------------


def _build(cls: type[Any], plain: Any, name: str) -> Any:
    if not isinstance(plain, Mapping):
        raise ValueError(f"{name} must be a mapping, not {plain!r:.80}")
    values = cast("Mapping[str, Any]", plain)
    hints = get_type_hints(cls)
    if values.keys() != hints.keys():
        odd = ", ".join(sorted(map(repr, values.keys() ^ hints.keys())))
        raise ValueError(f"{name} has not the keys that it must have: {odd}")
    return cls(**{key: _convert(hint, values[key], f"{name}'s {key!r}") for key, hint in hints.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:  # noqa: PLR0911 (one line for each kind of field)
    """``value`` as the type that ``hint`` names; integers are counts or steps, and so not negative."""
    if get_origin(hint) is UnionType:  # only X | None occurs
        return None if value is None else _convert(get_args(hint)[0], value, name)
    if is_dataclass(hint):
        return _build(cast("type[Any]", hint), value, name)
    if get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        items, kinds = cast("list[Any]", value), get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(items)
        if len(kinds) == len(items):
            return tuple(_convert(kind, item, name) for kind, item in zip(kinds, items, strict=True))
    if hint == Array and isinstance(value, np.ndarray):  # by name: NumPy 2.5 has no class behind it
        array = cast("Array", value)
        if array.ndim == 1 and array.dtype == np.float64:
            return array.copy()
    if hint is int and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise ValueError(f"{name} must be {hint}, not {value!r:.80}")
