"""What the controller knows: what all phases share, and a class for each that has its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import numpy as np

from autowu.arrays import Array
from autowu.detector.detect import Verdict
from autowu.detector.fit import AdamState
from autowu.detector.trend import Level, Stretch

V = TypeVar("V")


def replace(value: V, **changes: Any) -> V:
    """:func:`dataclasses.replace` in a fraction of the time.

    That checks what the types of the callers say already, field by field, at several values a read.
    """
    made = object.__new__(type(value))
    made.__dict__.update(value.__dict__, **changes)
    return made


@dataclass(frozen=True)
class Growth:
    """A stretch of exponential growth: η_t = lr (η_max / η_min)^((t - start) / span)."""

    start: int
    lr: float
    span: int
    before: Growth | None = None
    """The growth that this one took the place of."""
    open: bool = False
    """Whether it goes on beyond η_max, if none was given."""


class Reason(str, Enum):
    """Why warm-up ended."""

    MINIMUM = "minimum"
    """The minimum of the loss lay in the past."""
    RISE = "rise before lift-off"
    """The loss rose, and had never fallen."""
    NO_FALL = "no fall"
    """By the cap the loss had neither fallen nor risen."""
    CAP = "cap"
    """By the cap no minimum was detected."""
    NONFINITE = "non-finite"
    """The losses ceased to be finite."""
    ASKED = "asked for"
    """A cooldown, or an end that is near, before a minimum was detected."""


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
    reason: Reason = Reason.MINIMUM
    """Why warm-up ended."""
    reads: int = 0
    """Reads in a row that gave the reason: tests that detected the minimum, or that saw no finite loss."""


@dataclass(frozen=True)
class Broke:
    """The loss had jumped, or ceased to be finite: by one bad batch, other data, or the LR."""

    lr: float
    """At which that was seen."""
    switch: Switch
    """That would have followed, had it been the LR."""
    kept: Stretch | None
    """The level of the losses when the snapshot was taken, as far as it is known."""


# --- phases: each holds what only it knows --------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """Fast growth, before lift-off."""

    growth: Growth
    too_large: float | None = None
    """The least LR at which the loss has exploded, so that growth began anew below η_min."""


@dataclass(frozen=True)
class Search:
    """Slow growth, before lift-off: the fast one has shown nothing, or there is none."""

    growth: Growth
    rises: int = 0
    """Reads in a row that saw the loss risen."""
    too_large: float | None = None
    """The least LR at which it had risen for good, or that growth went back for."""


@dataclass(frozen=True)
class Grow:
    """Slow growth from lift-off on, tested."""

    growth: Growth
    lift_off: int
    """The step of lift-off; 0 where the configuration asks for none."""
    origin: Level | None
    """Of the first losses, from which the loss had fallen at lift-off; None where none is asked for."""
    tests_from: int = 0
    """The step at which the LR is again what the fast growth had when it ended; tests count from there."""
    detections: int = 0
    """Reads in a row by which the minimum is past."""
    rises: int = 0
    """Reads in a row that saw the loss above the first ones."""
    broke: Broke | None = None
    """What growth went back for, and has seen once."""


@dataclass(frozen=True)
class Cut:
    """A change of the LR in the decay phase, since the loss had risen for good, or ceased to be finite."""

    step: int
    """Updates done when it came."""
    factor: float
    """From there on the LR is this share of the line that the switch began."""
    back_to: int | None
    """Updates that the weights put back had seen; None: they stayed."""
    level: float
    """Of the loss, before the cut: a median, or the mean where a few large losses make that; not finite where
    half of the losses were not."""
    least: float
    """The least level up to then."""


@dataclass(frozen=True)
class Line:
    """A fall of the LR to zero, in terms of the share of it that is left: 1 at the peak, 0 at the end."""

    start: int
    """Updates done when it was planned so; it holds from there on."""
    falls_from: float
    """The step from which the share goes to 0, linearly."""
    share: float
    """Up to there."""
    end: int
    """The step at which it is 0."""


@dataclass(frozen=True)
class AfterSwitch:
    """What the phases after warm-up have in common: they are watched."""

    switch: Switch
    growth: Growth
    """The last of warm-up."""
    least: Stretch | None = None
    """The stretch of the least level, of warm-up or since, as far as one is known."""
    kept: Stretch | None = None
    """The level of the losses when the snapshot was taken, as far as it is known."""
    cuts: tuple[Cut, ...] = ()
    """The changes of the LR so far."""
    no_fall: bool = False
    """Whether by half of the run the loss was not below its first level."""
    higher: tuple[float, ...] = ()
    """The last stretches' medians, in a row, that are surely above the least; five are told, and stay."""


@dataclass(frozen=True)
class Stable(AfterSwitch):
    """The peak LR is held, in a run without a known end."""


@dataclass(frozen=True)
class Decay(AfterSwitch):
    """The decay phase."""

    lines: tuple[Line, ...] = ()
    """The falls of the LR, in the order in which they were planned; none in 'plateau' without a cooldown."""
    lr_drops: int = 0
    """Drops of the 'plateau' decay so far."""
    last_mean: tuple[float, float] | None = None
    """Mean loss of the interval before, and its standard error, in 'plateau'."""


@dataclass(frozen=True)
class End:
    """An end of the run that was set while it went on."""

    step: int
    """Updates done when it was."""
    total_steps: int
    """Updates of the whole run from then on."""
    cooldown: bool
    """Whether the LR was to fall from then on."""


@dataclass(frozen=True)
class Horizon:
    """Where the run ends, as far as is known by now."""

    end: int | None = None
    """Updates of the whole run."""
    warmup_to: int | None = None
    """The step at which warm-up has to end, where the end was set in warm-up."""
    at_once: bool = False
    """Whether the LR falls right from the switch on: a cooldown was asked for."""
    ends: tuple[End, ...] = ()
    """Those that were set while the run went on."""


WarmUp: TypeAlias = Sweep | Search | Grow
Phase: TypeAlias = Sweep | Search | Grow | Stable | Decay
P_co = TypeVar("P_co", bound=Phase, covariant=True)


def no_losses() -> Array:
    """An empty curve."""
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class State(Generic[P_co]):
    """The controller's state: made by :func:`autowu.controller.machine.start`, replaced by ``observe``."""

    phase: P_co
    horizon: Horizon = Horizon()
    step: int = 0
    """Updates whose losses have been observed."""
    read: int = 0
    """The step of the last decision."""
    losses: Array = field(default_factory=no_losses)
    """The last losses, up to ``step``: those that the next decision looks at."""
    nonfinite_reads: int = 0
    """Reads in a row that found no finite loss."""
    adam: AdamState | None = None
    """The fit of the last test, in the paper preset."""
    snapshot_step: int | None = None
    """Step of the snapshot of the weights that is to be kept, or None."""
    restores: int = 0
    """How often the kept snapshot was to be put back."""
    origin: Stretch | None = None
    """Of the first losses of the run, once there are enough."""
    least: Stretch | None = None
    """The least level of ten losses in a row that warm-up has seen at a read."""
    verdicts: tuple[Verdict, ...] = ()
    """The tests so far."""

    @property
    def first(self) -> int:
        """The step of the first of ``losses``."""
        return self.step - len(self.losses)

    @property
    def switch(self) -> Switch | None:
        """How warm-up ended; None while it lasts."""
        return self.phase.switch if isinstance(self.phase, AfterSwitch) else None

    @property
    def stage(self) -> Literal["warmup", "stable", "decay"]:
        """The phase as users know it."""
        if isinstance(self.phase, AfterSwitch):
            return "stable" if isinstance(self.phase, Stable) else "decay"
        return "warmup"

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The changes of the LR since the switch."""
        return self.phase.cuts if isinstance(self.phase, AfterSwitch) else ()

    @property
    def ended(self) -> bool:
        """Whether the losses of the last update are there."""
        return self.horizon.end is not None and self.step >= self.horizon.end

    def replace(self, **changes: Any) -> State[Any]:
        """A state with other values."""
        return replace(cast("State[Any]", self), **changes)

    def since(self, step: int) -> Array:
        """Those of ``losses`` that are of ``step`` and later."""
        return self.losses[max(step - self.first, 0) :]
