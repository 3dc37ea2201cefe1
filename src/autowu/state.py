"""What the controller knows: one frozen dataclass, and its plain form for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from autowu.detector import Verdict
from autowu.fit import AdamState
from autowu.gp import Array

VERSION: Final = 1  # of the plain form


@dataclass(frozen=True)
class Leg:
    """A stretch of exponential growth: η_t = lr (η_max / η_min)^((t - start) / span)."""

    start: int
    lr: float
    span: int


@dataclass(frozen=True)
class Switch:
    """The end of warm-up."""

    step: int
    """Updates done when the decay phase began."""
    capped: bool
    """Whether it began at the cap rather than by detection."""
    t_star: float | None
    """The step whose LR it goes back to; None if it began at the LR of the cap."""
    peak_lr: float
    """First LR of the decay phase."""
    rewound_to: int | None
    """Updates that the weights put back had seen; None without rewind."""


def no_losses() -> Array:
    """An empty curve."""
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class State:
    """The controller's state: made by :func:`autowu.controller.start`, replaced by ``observe``."""

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
    read: int = 0
    """The step of the last decision."""
    first: int = 0
    """The step of the first of ``losses``."""
    losses: Array = field(default_factory=no_losses)
    """Losses that the next decision looks at [step - first]."""
    streak: int = 0
    """Tests in a row that detected the minimum."""
    dead: int = 0
    """Reads in a row that found no finite loss."""
    adam: AdamState | None = None
    """The fit of the last test, in the paper preset."""
    copied: int | None = None
    """Step of the copy of the weights that is to be kept, or None."""
    restores: int = 0
    """How often the kept copy was to be put back."""
    switch: Switch | None = None
    """How warm-up ended; None before."""
    drops: int = 0
    """Drops of the 'plateau' decay so far."""
    previous: tuple[float, float] | None = None
    """Mean loss of the interval before, and its variance, in 'plateau'."""
    verdicts: tuple[Verdict, ...] = ()
    """The tests so far."""

    def to_dict(self) -> dict[str, Any]:
        """The state as plain values and NumPy arrays."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("leg", "adam", "switch"):
            plain[name] = None if plain[name] is None else asdict(plain[name])
        plain["verdicts"] = [asdict(verdict) for verdict in self.verdicts]
        return {"version": VERSION, **plain}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> State:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a key is missing or unknown, or its value is of a wrong kind; the message names it.
        """
        values = dict(plain)
        if values.pop("version", None) != VERSION:
            raise ValueError(f"the state's version must be {VERSION}, not {plain.get('version')!r}")
        odd = set(values) ^ set(cls.__dataclass_fields__)
        if odd:
            raise ValueError(f"the state's keys are not those of autowu: {', '.join(sorted(map(str, odd)))}")
        key = ""
        try:
            for key, kind in _KINDS.items():
                if not isinstance(values[key], kind) or (isinstance(values[key], bool) and kind is not bool):
                    raise TypeError(f"got {values[key]!r:.80}")
            key = "losses"
            values[key] = np.array(values[key], dtype=np.float64)
            if values[key].shape != (values["step"] - values["first"],) and values["switch"] is None:
                raise ValueError(f"shape {values[key].shape} for steps {values['first']} to {values['step']}")
            for key, kind in (("leg", Leg), ("adam", _adam), ("switch", Switch)):
                values[key] = None if values[key] is None else kind(**values[key])
            key = "previous"
            values[key] = None if values[key] is None else _pair(values[key])
            key = "verdicts"
            values[key] = tuple(_verdict(**verdict) for verdict in values[key])
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"the state's {key!r} is damaged: {error}") from error
        return cls(**values)


_WHOLE: Final = (int, type(None))
_KINDS: Final[dict[str, Any]] = {
    "step": int,
    "read_at": _WHOLE,
    "read": int,
    "leg": dict,
    "sweeping": bool,
    "lifted": _WHOLE,
    "first": int,
    "streak": int,
    "dead": int,
    "adam": (dict, type(None)),
    "copied": _WHOLE,
    "restores": int,
    "switch": (dict, type(None)),
    "drops": int,
    "verdicts": (list, tuple),
}


def _pair(values: Any) -> tuple[float, float]:
    a, b = values
    return float(a), float(b)


def _adam(**values: Any) -> AdamState:
    for key in ("raw", "first", "second"):
        a, b, c = values[key]
        values[key] = (float(a), float(b), float(c))
    return AdamState(**values)


def _verdict(**values: Any) -> Verdict:
    for key in ("p_min", "argmins"):
        values[key] = tuple(float(value) for value in values[key])
    for key in ("mean", "sd"):
        values[key] = None if values[key] is None else np.array(values[key], dtype=np.float64)
    return Verdict(**values)
