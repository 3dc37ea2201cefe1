"""Every hyperparameter, with its range and unit, and the two presets."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final, Literal, cast, get_args

Growth = Literal["exponential", "linear", "two-speed"]
Decay = Literal["cosine", "constant-cosine", "linear", "1-sqrt", "plateau"]
Fit = Literal["maximum", "adam", "published"]
Preset = Literal["default", "paper"]

LONGEST: Final = 2**53  # updates; the integers that floating point tells apart
ROOT_FROM: Final = 600  # updates; in longer runs warm-up grows with the root of their length, up to a limit
DECADES: Final = 100  # between two LRs, at most: their ratio is a number
USUAL: Final = 1.0  # η_max, where none is given
SHORTEST_SWEEP: Final = 40  # updates; a faster one overshoots lift-off, whatever its share of the run


@dataclass(frozen=True, kw_only=True)
class Config:
    """The hyperparameters of one run; the field defaults are the default preset.

    ``Config(total_steps=12_000)`` is the default preset, :meth:`paper` is Algorithm 1 of the paper. Values
    are checked here and nowhere else. What each default rests on is in
    https://autowu.github.io/autowu/presets/. What its neighbours do to training is in quality-ablations/
    there, and to the rates of the detector's mistakes in quality-detection/.

    Raises:
        TypeError: a value is of the wrong type.
        ValueError: a value is out of its range; the message gives the name, the range and the value.
    """

    total_steps: int | None = None
    """T, the number of optimizer updates of the whole run, ≥ 1. None: the run has no known end."""
    steps_per_epoch: int | None = None
    """Updates in an epoch, ≥ 1. Needed only where tests come at epoch ends (``test_growth=None``)."""

    growth: Growth = "two-speed"
    """Shape of warm-up: exponential (Eq. 1), linear (Eq. 6), or two-speed. That one is fast to lift-off. Then
    it is Eq. 1, from the LR of a little before."""
    min_lr: float = 1e-5
    """η_min, the LR of the first update, > 0."""
    max_lr: float | None = None
    """η_max, the LR that warm-up never exceeds, > min_lr. None: 1, and more with growth 'two-speed', where
    the loss still falls there, or has not moved in the whole sweep."""
    warmup_fraction: float = 0.5
    """ρ_w in (0, 1), a fraction of total_steps: warm-up is capped at ⌊ρ_w T⌋ updates."""
    sweep_fraction: float = 0.05
    """In (0, 1), a fraction of total_steps: time in which the fast growth would cross [min_lr, max_lr]. That
    is so in runs of up to 600 updates. In longer ones it grows with the root of their length, up to the
    length at which the slow growth takes ``warmup_limit`` updates."""
    warmup_limit: int = 1000
    """≥ 1. The most updates in which the slow growth of 'two-speed' would cross [min_lr, max_lr], however
    long the run is. In a run without a known end also the most that warm-up takes, whatever the growth."""
    lift_off: float | None = 4.0
    """Fall of the loss, > 0, in standard errors, before which no minimum counts. With growth 'two-speed', a
    rise of as many sends the growth back. None: tests always count."""

    test_growth: float | None = 1.1
    """Growth of the LR from one test to the next, > 1. None: a test at each epoch's end. Before lift-off,
    two-speed growth reads the losses each time that the LR has grown by 1.1, or by this if it is less."""
    screen: float | None = 1.0
    """Fall of the loss, > 0, in standard errors, that is too plain to need a test. None: tests always run."""
    subsets: int = 1
    """n_test, the random subsets that vote in a test, ≥ 1."""
    subset_size: int | None = None
    """The most losses in a subset, ≥ 2. None: all losses, of which there is one subset only."""
    fit_size: int | None = None
    """The most losses that the GP's parameters are fitted to, ≥ 2. None: all losses."""
    fit: Fit = "maximum"
    """'maximum' of the marginal likelihood, or 100 steps of 'adam' with LR 0.01 as in the paper. 'published'
    is 'adam' with what the authors' code does besides: θ goes back to the losses' mean at each test, and 1e-4
    is added to the variance of f(x) - f(1)."""
    length_scale: float = 0.2
    """ℓ of the kernel, in [0.05, 10], as a fraction of the observed window."""
    confidence: float = 0.95
    """c in (0, 1): a subset votes for a minimum in the past if its P_min exceeds c."""
    patience: int = 3
    """p, the tests in a row that must detect the minimum, ≥ 1."""
    basin: float | None = 0.05
    """How flat a minimum is, in (0, 1), as a share of the smoothed loss's fall. The flat part begins at the
    smallest LR whose loss is at most so much above the least. The peak LR is halfway, on a log scale, from
    there to the LR of the least. A rise counts beyond so much alone. None: any rise counts, and the peak is
    the LR of the least."""
    min_losses: int = 10
    """The fewest finite losses that a test needs, ≥ 2; below it the verdict is 'no evidence'."""
    standardize: bool = True
    """Whether losses are centred and scaled before a test, so that their scale and shift do not matter; and
    their logarithms taken first where they are positive and have fallen tenfold."""
    spike: float | None = 8.0
    """Height over the curve, > 0, in noise levels, from which a loss is a spike. A test leaves it out if it
    is over within six updates, and has one other near it at most. None: spikes are kept."""
    ceiling: float | None = 1.0
    """Height over the window's start, > 0, in falls of the loss from there. A loss above it is that of a
    divergence: a test sees it as just so high. None: tests see losses as they are."""

    rewind: bool = True
    """Whether the weights go back to the minimum along with the LR."""
    return_at_cap: bool = True
    """Whether, at the cap, evidence for a minimum is used though patience has not run out. Else η_max."""

    watch: float | None = 4.0
    """Rise of the loss in the decay phase, > 0, in standard errors. At such a rise, if it is also a tenth of
    the loss's fall, the weights go back and the LR falls to a third. None: nobody looks after the switch."""

    decay: Decay = "linear"
    """Shape of the decay phase."""
    cooldown_fraction: float = 0.2
    """In (0, 1), a fraction of total_steps: the cosine's part in 'constant-cosine'."""
    plateau_factor: float = 0.1
    """In (0, 1): 'plateau' multiplies the LR by it when the loss has stopped falling."""
    plateau_intervals: int = 50
    """≥ 2: 'plateau' compares mean losses of intervals of total_steps / plateau_intervals updates, ten at
    least. (In a run that goes on for longer, or has no end: of the updates done / plateau_intervals.)"""

    seed: int = 0
    """Seed of the subsets, ≥ 0. The global generators are never touched."""

    @classmethod
    def paper(cls, total_steps: int, steps_per_epoch: int, **changes: Any) -> Config:
        """Algorithm 1 of the paper with the settings of its Section 2 (cosine decay)."""
        return cls.preset("paper", total_steps=total_steps, steps_per_epoch=steps_per_epoch, **changes)

    @classmethod
    def preset(cls, name: str = "default", **settings: Any) -> Config:
        """The preset called ``name`` ('default' or 'paper') with ``settings`` in place of its own.

        Raises:
            TypeError: a keyword is not a field of :class:`Config`.
            ValueError: ``name`` is unknown, or a value is out of range.
        """
        _one_of("preset", name, get_args(Preset))
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                guess = get_close_matches(key, known, 1)
                hint = f"; did you mean {guess[0]!r}?" if guess else ""
                raise TypeError(f"autowu has no setting {key!r}{hint} (settings: {', '.join(known)})")
        return cls(**(_PAPER | settings if name == "paper" else settings))

    def __post_init__(self) -> None:
        self._integer("total_steps", 1, optional=True)
        if self.total_steps is not None and self.total_steps > LONGEST:
            raise ValueError(f"total_steps must be an integer ≤ {LONGEST}, not {self.total_steps}")
        self._integer("steps_per_epoch", 1, optional=True)
        _one_of("growth", self.growth, get_args(Growth))
        self._real("min_lr", 0, math.inf)
        self._real("max_lr", self.min_lr, math.inf, above="min_lr", optional=True)
        if self.max_lr is None and self.min_lr >= USUAL:
            raise ValueError(
                f"max_lr must be in ({self.min_lr:g}, inf), not None, which is {USUAL:g};"
                f" it has to be > min_lr ({self.min_lr:g})"
            )
        if math.log10(self.high_lr) - math.log10(self.min_lr) > DECADES:
            raise ValueError(
                f"max_lr must be at most 1e{DECADES} times min_lr ({self.min_lr:g}), not {self.high_lr:g}"
            )
        self._real("warmup_fraction", 0, 1)
        self._real("sweep_fraction", 0, 1)
        self._integer("warmup_limit", 1)
        self._real("lift_off", 0, math.inf, optional=True)
        self._real("test_growth", 1, math.inf, optional=True)
        self._real("screen", 0, math.inf, optional=True)
        self._integer("subsets", 1)
        self._integer("subset_size", 2, optional=True)
        self._integer("fit_size", 2, optional=True)
        _one_of("fit", self.fit, get_args(Fit))
        self._real("length_scale", 0.05, 10, closed=True)
        self._real("confidence", 0, 1)
        self._integer("patience", 1)
        self._real("basin", 0, 1, optional=True)
        self._integer("min_losses", 2)
        self._boolean("standardize")
        self._real("spike", 0, math.inf, optional=True)
        self._real("ceiling", 0, math.inf, optional=True)
        self._boolean("rewind")
        self._boolean("return_at_cap")
        self._real("watch", 0, math.inf, optional=True)
        _one_of("decay", self.decay, get_args(Decay))
        self._real("cooldown_fraction", 0, 1)
        self._real("plateau_factor", 0, 1)
        self._integer("plateau_intervals", 2)
        self._integer("seed", 0)
        if self.test_growth is None and self.steps_per_epoch is None:
            raise ValueError("steps_per_epoch is missing: tests at epoch ends need it, an integer ≥ 1")
        if self.growth == "two-speed" and self.lift_off is None:
            raise ValueError("lift_off must be a number > 0 for growth 'two-speed', not None")

    def _integer(self, name: str, low: int, *, optional: bool = False) -> None:
        value = getattr(self, name)
        if value is None and optional:
            return
        number = as_integer(value)
        if number is None or number < low:
            error = TypeError if number is None else ValueError
            raise error(f"{name} must be an integer ≥ {low}, not {value!r}")
        object.__setattr__(self, name, number)  # NumPy's integers are not plain values

    def _real(
        self,
        name: str,
        low: float,
        high: float,
        *,
        closed: bool = False,
        optional: bool = False,
        above: str | None = None,
    ) -> None:
        value = getattr(self, name)
        if value is None and optional:
            return
        span = f"[{low:g}, {high:g}]" if closed else f"({low:g}, {high:g})"
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number in {span}, not {value!r}")
        number = float(value)
        if not (low <= number <= high if closed else low < number < high):
            why = f"; it has to be > {above} ({low:g})" if above and number <= low else ""
            raise ValueError(f"{name} must be in {span}, not {value!r}{why}")
        object.__setattr__(self, name, number)

    def _boolean(self, name: str) -> None:
        if not isinstance(getattr(self, name), bool):
            raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")

    @cached_property
    def high_lr(self) -> float:
        """η_max; where none is given that of the paper, 1."""
        return USUAL if self.max_lr is None else self.max_lr

    @cached_property
    def fall_threshold(self) -> float:
        """``lift_off``; where that is None no fall is asked for, and none is more than noise explains."""
        return math.inf if self.lift_off is None else self.lift_off

    @cached_property
    def length(self) -> int:
        """T; in a run without a known end that of a run whose slow growth takes ``warmup_limit`` updates."""
        if self.total_steps is not None:
            return self.total_steps
        by_share = self.warmup_limit / self.warmup_fraction
        if self.growth != "two-speed" or by_share <= ROOT_FROM:
            return math.ceil(by_share)
        return math.ceil(by_share**2 / ROOT_FROM)

    @cached_property
    def warmup_steps(self) -> int:
        """⌊ρ_w T⌋, the most updates that warm-up takes (at least 1); without T ``warmup_limit``."""
        if self.total_steps is None:
            return self.warmup_limit
        return max(1, math.floor(self.warmup_fraction * self.total_steps))

    @cached_property
    def growth_steps(self) -> int:
        """Updates in which the slow growth would cross the whole range of LRs.

        ρ_w T; with growth 'two-speed' at most ``warmup_limit``, and in a run of more than 600 updates
        ρ_w √(600 T); at least 1. Without T ``warmup_limit``.
        """
        if self.total_steps is None or self.growth != "two-speed":
            return self.warmup_steps
        if self.total_steps <= ROOT_FROM:
            return min(self.warmup_steps, self.warmup_limit)
        by_root = math.floor(self.warmup_fraction * math.sqrt(ROOT_FROM * self.total_steps))
        return max(1, min(by_root, self.warmup_limit))

    @cached_property
    def sweep_steps(self) -> int:
        """Updates in which the fast growth would cross the whole range of LRs."""
        share = self.sweep_fraction / self.warmup_fraction
        return min(max(math.ceil(share * self.growth_steps), SHORTEST_SWEEP), self.growth_steps)


_PAPER: Final[dict[str, Any]] = {
    "max_lr": 1.0,
    "growth": "exponential",
    "basin": None,
    "lift_off": None,
    "test_growth": None,
    "screen": None,
    "subsets": 5,
    "subset_size": 500,
    "fit_size": 100,
    "fit": "adam",
    "min_losses": 2,
    "standardize": False,
    "spike": None,
    "ceiling": None,
    "rewind": False,
    "return_at_cap": False,
    "watch": None,
    "decay": "cosine",
}


def nearest_preset(settings: Mapping[str, Any]) -> Preset:
    """The preset that has most of ``settings``, the fields of a :class:`Config`, where the two differ."""
    default = {field.name: field.default for field in fields(Config)}
    paper = sum(settings.get(name) == value for name, value in _PAPER.items())
    return "paper" if paper > sum(settings.get(name) == default[name] for name in _PAPER) else "default"


def as_integer(value: object) -> int | None:
    """``value`` as an integer of Python's; None where it is none, which True and False are not either."""
    try:
        number = operator.index(cast("Any", value))
    except TypeError:
        return None
    return None if isinstance(value, bool) else number


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
