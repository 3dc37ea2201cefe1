"""The state as plain values and NumPy arrays, for checkpoints, and back with everything checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.machine import next_read
from autowu.controller.state import Phase, State

VERSION: Final = 14  # of the plain form

KIND: Final = "kind"  # the key of a phase's name
PHASES: Final[dict[str, type[Any]]] = {cls.__name__: cls for cls in get_args(Phase)}


def to_plain(state: State[Phase]) -> dict[str, Any]:
    """The state as dicts, lists, numbers, texts and arrays."""
    return {"version": VERSION, **_plain(state)}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in cast("tuple[Any, ...]", value)]
    if not is_dataclass(value):
        return value
    kind = {KIND: type(value).__name__} if type(value).__name__ in PHASES else {}
    return kind | {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def from_plain(plain: Mapping[str, Any], config: Config) -> State[Phase]:
    """The inverse of :func:`to_plain`, for a run with ``config``.

    Raises:
        ValueError: a key is missing or unknown, its value is of a wrong kind, or the state is none that
            ``config`` can come to; the message names it.
    """
    values = dict(plain)
    version = values.pop("version", None)
    if version != VERSION:
        raise ValueError(f"the state's version must be {VERSION}, not {version!r:.80}")
    state: State[Phase] = _build(State, values, "the state")
    _check(config, state)
    return state


# --- what the types do not say -------------------------------------------------------------------------


def _check(config: Config, state: State[Phase]) -> None:
    """``state`` must be one that ``config`` can come to."""
    growth, switch, losses, end = state.phase.growth, state.switch, len(state.losses), state.horizon.end
    _require(0 < growth.lr < math.inf, f"'growth' must have a finite lr > 0, not {growth.lr}")
    _require(growth.span > 0, f"'growth' must have a span > 0, not {growth.span}")
    _require(growth.start <= state.step, f"'growth' starts at {growth.start}, after step {state.step}")
    if switch is not None:
        peak_lr = switch.peak_lr
        _require(0 < peak_lr < math.inf, f"'switch' must have a finite peak_lr > 0, not {peak_lr}")
        _require(switch.step <= state.step, f"'switch' is at {switch.step}, after step {state.step}")
    _require(state.read <= state.step, f"'read' is {state.read}, after its step {state.step}")
    try:
        due = next_read(config, state)
    except (ArithmeticError, ValueError) as error:
        can_grow = f"a span and an lr that it can grow from to step {state.read}"
        raise ValueError(f"the state's 'growth' must have {can_grow}, not {growth}") from error
    _require(
        due is None or state.step < due,
        f"steps do not fit together: read {state.read}, step {state.step}, next read {due}",
    )
    _require(losses <= state.step, f"'losses' are {losses}, more than its step, {state.step}")
    held = losses - (0 if due is None else state.step - state.read)  # of before the last read
    _require(
        held == 0 or (held > 0 and switch is None),
        f"'losses' are {losses}, for steps {state.read} to {state.step}",
    )
    _require(due is None or end is None or due <= end, f"next read must be at most {end}, not {due}")
    kind = type(state.phase).__name__
    left_out = {"Sweep": config.growth != "two-speed", "Search": config.lift_off is None}
    _require(not left_out.get(kind), f"'phase' is {kind}, which this configuration leaves out")


def _require(true: bool, what: str) -> None:
    if not true:
        raise ValueError(f"the state's {what}")


# --- from plain values, by the types of the fields -----------------------------------------------------


def _build(cls: type[Any], plain: Any, name: str) -> Any:
    if not isinstance(plain, Mapping):
        raise ValueError(f"{name} must be a mapping, not {plain!r:.80}")
    values = cast("Mapping[str, Any]", plain)
    hints = {key: Phase if key == "phase" else hint for key, hint in get_type_hints(cls).items()}
    if values.keys() != hints.keys():
        odd = ", ".join(sorted(map(repr, values.keys() ^ hints.keys())))
        raise ValueError(f"{name} has not the keys that it must have: {odd}")
    return cls(**{key: _convert(hint, values[key], f"{name}'s {key!r}") for key, hint in hints.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    """``value`` as the type that ``hint`` names; integers are counts or steps, and so not negative."""
    if hint == Phase:
        return _phase(value, name)
    if get_origin(hint) is UnionType:  # else only X | None occurs
        return None if value is None else _convert(get_args(hint)[0], value, name)
    if is_dataclass(hint):
        return _build(cast("type[Any]", hint), value, name)
    if get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        items, kinds = cast("list[Any]", value), get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(items)
        if len(kinds) == len(items):
            return tuple(_convert(kind, item, name) for kind, item in zip(kinds, items, strict=True))
    if hint == Array:  # by name: NumPy 2.5 has no class behind it
        array = cast("Array", value)
        if isinstance(value, np.ndarray) and array.ndim == 1 and array.dtype == np.float64:
            return array.copy()
    elif _is_plain(hint, value):
        return hint(value)
    raise ValueError(f"{name} must be {getattr(hint, '__name__', hint)}, not {value!r:.80}")


def _is_plain(hint: Any, value: Any) -> bool:
    """Whether ``value`` is a number, a text or a member of an enumeration, as ``hint`` says."""
    if hint is int:
        return type(value) is int and value >= 0
    if hint is float:
        return type(value) in (int, float)
    if issubclass(hint, Enum):
        return value in [each.value for each in hint]
    return hint in (bool, str) and type(value) is hint


def _phase(plain: Any, name: str) -> Any:
    """A phase, whose ``kind`` says which."""
    values = dict(cast("Mapping[str, Any]", plain)) if isinstance(plain, Mapping) else dict[str, Any]()
    kind = values.pop(KIND, None)
    if kind not in list(PHASES):  # it may be unhashable
        raise ValueError(f"{name} must have a {KIND!r} of {', '.join(PHASES)}, not {kind!r:.80}")
    return _build(PHASES[kind], values, name)
