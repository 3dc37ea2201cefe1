"""What a learning-rate range test says: the peak LR, and how sure that is.

A range test (sweep) is a short run in which the LR grows from far too small to far too large. AutoWU's
warm-up is one, so its decision can be taken on any sweep: the tests come as the recorded LR grows, and t* of
Eq. 5 gives the peak LR. Three things leave it open, and the interval pools them:

* *noise*: at the deciding test, functions are drawn from the Gaussian process given all losses of the
  window; each has its minimum somewhere, and the LR there is one draw of the peak LR.
* *smoothing*: how much is smoothed moves the minimum of a lopsided curve. So the decision is repeated with a
  length-scale that is shorter, and one that is longer, by √2.
* *subsets*: other random subsets of the losses may move t*, and the test that decides. So all of it is
  repeated with other seeds, where a test looks at subsets, and there are more losses than fit in one.

The interval holds 90% of all draws, and the peak LR. It is of this sweep: how fast the LR grew, from which
weights, with which batch size, it cannot know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.state import Decay, Reason
from autowu.detector import fit, gp, noise
from autowu.detector.detect import Verdict
from autowu.offline.replay import Replay, replay

SEEDS: Final = 5
DRAWS: Final = 2000  # in all
LENGTH_SCALES: Final = (1.0, 1 / math.sqrt(2), math.sqrt(2))  # times the chosen one, which comes first
INTERVAL: Final = (0.05, 0.95)
LEAST_RANGE: Final = 10.0  # greatest LR over least; a baseline's warm-up of a few steps is no sweep
FEWEST: Final = 20  # losses


@dataclass(frozen=True, eq=False)
class RangeTest:
    """The outcome of a sweep."""

    replay: Replay
    """The decision with the first seed and the chosen length-scale; its LRs are those recorded."""
    lrs: Array
    """The recorded LRs [n]."""
    losses: Array
    """The recorded losses [n], NaN where missing."""
    peak_lr: float | None
    """The LR at t*; None where no minimum was found."""
    low: float | None
    """At most 5% of the draws lie below."""
    high: float | None
    """At most 5% of the draws lie above."""
    peaks: tuple[float, ...]
    """The peak LR of each repetition that found a minimum."""
    repetitions: int
    """How often the decision was taken, with other seeds and length-scales."""
    draws: Array
    """The LR of the minimum, in draws from the posterior."""

    def to_json(self) -> dict[str, Any]:
        """What ``autowu replay --json`` prints of it."""
        return {
            "peak_lr": self.peak_lr,
            "interval_90": None if self.low is None else [self.low, self.high],
            "repetitions": self.repetitions,
            "found": len(self.peaks),
            "peaks_from": min(self.peaks, default=None),
            "peaks_to": max(self.peaks, default=None),
        }


def is_sweep(lrs: Array | None) -> bool:
    """Whether ``lrs`` only grow, by a factor of ten or more."""
    if lrs is None or len(lrs) < FEWEST or not np.isfinite(lrs).all():
        return False
    return bool(lrs[0] > 0 and (np.diff(lrs) >= 0).all() and lrs[-1] >= LEAST_RANGE * lrs[0])


def sweep(losses: Array, lrs: Array, seeds: int = SEEDS, **settings: Any) -> RangeTest:
    """The peak LR that a sweep suggests.

    Args:
        losses: of each update [n], NaN where missing.
        lrs: of each update [n]; must satisfy :func:`is_sweep`.
        seeds: how often to repeat the decision with other subsets, where there are others, ≥ 1.
        settings: fields of :class:`autowu.Config` in place of the default preset's. Those of the growth and
            of its length are the record's own.

    Raises:
        TypeError: an unknown setting, or a value of the wrong type.
        ValueError: ``lrs`` are not those of a sweep, or a setting is out of range.
    """
    if not is_sweep(lrs) or len(lrs) != len(losses):
        raise ValueError(
            f"lrs must be {len(losses)} numbers > 0 that grow by a factor of {LEAST_RANGE:g} or more"
        )
    begin, scale = settings.pop("seed", 0), settings.pop("length_scale", Config.length_scale)
    first = decision(losses, lrs, seed=begin, length_scale=scale, **settings)
    size = first.config.subset_size
    others = (
        range(begin, begin + seeds) if size is not None and len(losses) > size else range(begin, begin + 1)
    )
    runs = [(seed, times * scale) for times in LENGTH_SCALES for seed in others]
    peaks, draws = list[float](), list[Array]()
    for seed, length_scale in runs:
        same = (seed, length_scale) == (begin, scale)
        outcome = first if same else decision(losses, lrs, seed=seed, length_scale=length_scale, **settings)
        deciding = outcome.tests[-1] if outcome.tests else None
        if deciding is None or deciding.t_star is None or not _found(outcome):
            continue
        assert outcome.peak_lr is not None
        peaks.append(outcome.peak_lr)
        draws.append(lr_at(_smooth(lrs), _minima(outcome.config, losses, deciding, DRAWS // len(runs))))
    pooled = np.concatenate(draws) if draws else np.zeros(0)
    peak = first.peak_lr if _found(first) else None
    low, high = _interval(pooled, peak) if len(pooled) else (None, None)
    return RangeTest(first, lrs, losses, peak, low, high, tuple(peaks), len(runs), pooled)


def _interval(draws: Array, peak: float | None) -> tuple[float, float]:
    """From 5% to 95% of ``draws``, and as far as ``peak``: draws lie on a grid, and ``peak`` between them."""
    low, high = (float(end) for end in np.quantile(draws, INTERVAL))
    return (low, high) if peak is None else (min(low, peak), max(high, peak))


def _found(outcome: Replay) -> bool:
    """Whether the sweep went beyond a minimum, or at least beyond an LR that is known to be good."""
    switch = outcome.state.switch
    return switch is not None and switch.t_star is not None and switch.reason is not Reason.CAP


def decision(losses: Array, lrs: Array, **settings: Any) -> Replay:
    """The replay of a sweep: all of it is warm-up, and its LRs are those recorded."""
    warmup: dict[str, Any] = {"growth": "exponential", "warmup_fraction": 0.5, "total_steps": 2 * len(losses)}
    warmup["watch"] = None  # after the minimum the LR grows on
    ends: dict[str, Any] = {"min_lr": float(lrs[0]), "max_lr": float(lrs[-1])}
    outcome = replay(losses, **(settings | warmup | ends))
    state, phase = outcome.state, outcome.state.phase
    if isinstance(phase, Decay) and phase.switch.t_star is not None:
        switch = replace(phase.switch, peak_lr=lr_at(_smooth(lrs), phase.switch.t_star))
        state = state.replace(phase=replace(phase, switch=switch))
    return Replay(outcome.config, state, lrs)


def _smooth(lrs: Array) -> Array:
    """``lrs`` [n], where some are held for several updates, in straight lines between the middles of these.

    From logarithms. Else all draws would have the LR of one stair, and seem to be sure of it.
    """
    starts = np.flatnonzero(np.diff(lrs, prepend=0.0))
    if len(starts) == len(lrs):
        return lrs
    middles = (starts + np.append(starts[1:], len(lrs)) - 1) / 2
    return np.exp(np.interp(np.arange(len(lrs)), middles, np.log(lrs[starts])))


def lr_at(lrs: Array, steps: Any) -> Any:
    """The recorded LR at real-valued ``steps``, from logarithms."""
    found = np.exp(cast(Any, np).interp(steps, np.arange(len(lrs)), np.log(lrs)))
    return found if np.ndim(found) else float(found)


def _minima(config: Config, losses: Array, test: Verdict, count: int) -> Array:
    """Steps whose LR functions drawn from the posterior, given all losses of the window, would choose."""
    window = losses[test.start : test.step]
    usable = noise.usable(window, config.spike)
    basis = gp.basis(config.length_scale)
    moments = gp.sufficient_statistics(basis, usable / len(window), _seen(config, test, window[usable]))
    posterior = gp.posterior(moments, fit.maximum(moments))
    normal = np.random.default_rng(config.seed).standard_normal((posterior.covariance_root.shape[1], count))
    curves = basis.at_curve @ (posterior.weights[:, None] + posterior.covariance_root @ normal)
    places = curves.argmin(0) / (len(curves) - 1)
    drawn = [
        replace(test, argmins=(place,), mean=curve, sd=None, logged=False).peak_at(config.basin)
        for place, curve in zip(places.tolist(), curves.T, strict=True)
    ]
    return np.array(drawn, dtype=np.float64)


def _seen(config: Config, test: Verdict, losses: Array) -> Array:
    """``losses`` [n] as the ``test`` saw them, standardised: of a sweep that diverges only a part is left."""
    with np.errstate(all="ignore"):  # as in the test itself: losses may be near the largest float
        y = np.log(losses) if test.logged else losses
        if config.ceiling is not None:
            y = noise.below_ceiling(y, config.ceiling)
        y = y / (np.abs(y).max() or 1.0)  # so that the squares do not overflow
        y -= y.mean()
        return y / (y.std() or 1.0)


def factor(of: RangeTest) -> float:
    """Half the interval's width, as a factor: the peak LR is known up to it."""
    if of.low is None or of.high is None:
        return math.inf
    return math.sqrt(of.high / of.low)
