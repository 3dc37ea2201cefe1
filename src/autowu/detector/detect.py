"""Has the loss passed its minimum? Losses in, a verdict out: Section 2.1.2 of the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.detector import fit, gp, noise
from autowu.detector.trend import Level, median_variance

LOGARITHMS: Final = 700.0
"""Of numbers that floating point holds."""

PUBLISHED_VARIANCE: Final = 1e-4
"""What the authors' code adds to the variance of f(x) - f(1), in units of the loss squared."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """The outcome of one test, and the smoothed curve that it saw."""

    step: int
    """Updates done when the test ran: t of Eq. 5."""
    start: int
    """First step of the window that the test looked at."""
    p_min: tuple[float, ...] = ()
    """P_min (Eq. 4), one per subset; empty where there is no evidence."""
    detected: bool = False
    """Whether for most subsets P_min exceeds the confidence."""
    argmins: tuple[float, ...] = ()
    """Where the smoothed loss is least, one per subset, as a fraction of the window."""
    streak: int = 0
    """Tests in a row that detected the minimum, this one included."""
    no_evidence: str | None = None
    """Why the test could not be made, or None."""
    mean: Array | None = None
    """The smoothed loss at 101 equally spaced points of the window (first subset)."""
    sd: Array | None = None
    """Its standard deviation at these points."""
    noise: float | None = None
    """σ_n, in units of the loss."""
    logged: bool = False
    """Whether the test saw the logarithms of the losses."""

    def votes(self, confidence: float) -> int:
        """Subsets that say that the minimum is past."""
        return sum(p > confidence for p in self.p_min)

    @property
    def argmin(self) -> float | None:
        """The mean of ``argmins`` (the expectation over i in Eq. 5)."""
        return math.fsum(self.argmins) / len(self.argmins) if self.argmins else None

    @property
    def t_star(self) -> float | None:
        """t* of Eq. 5, in steps from the start of the run."""
        return None if self.argmin is None else self.start + (self.step - self.start) * self.argmin

    def peak_at(self, basin: float | None) -> float | None:
        """The step whose LR the decay begins at: t*, or earlier where the smoothed loss is flat before it.

        Halfway from where the loss has come within a share ``basin`` of its fall, or within a standard error,
        to where it is least. The LR grows exponentially, so that this is the middle on a log scale. (First
        subset.)
        """
        if basin is None or self.mean is None or self.t_star is None:
            return self.t_star
        mean, sd = self.mean, np.zeros_like(self.mean) if self.sd is None else self.sd
        if self.logged:
            mean = np.maximum(mean, np.finfo(np.float64).tiny)  # far below the losses it may have become 0
            mean, sd = np.log(mean), sd / mean
        least = int(mean.argmin())
        most = float(mean[: least + 1].max())
        # The first such place: beyond a steep fall the curve may ring, and be above for a moment.
        first = int((mean <= mean[least] + max(basin * (most - mean[least]), sd[least])).argmax())
        earlier = 0.5 * (least - first) / (len(mean) - 1)
        return max(float(self.start), self.t_star - (self.step - self.start) * earlier)

    def below(self, level: Level) -> bool:
        """Whether the least of the smoothed loss is below ``level`` by two standard errors.

        Of logarithms, where the test saw these: heavy tails alone may make losses fall tenfold.
        """
        if self.mean is None or self.sd is None or self.noise is None:
            return False
        at = int(self.mean.argmin())
        least, sd, noise_sd, above = float(self.mean[at]), float(self.sd[at]), self.noise, level.median
        if self.logged:
            if not 0 < least < above:
                return False
            least, sd, noise_sd, above = 0.0, sd / least, noise_sd / least, math.log(above / least)
        return above - least > 2 * math.hypot(sd, noise_sd * math.sqrt(median_variance(level.losses)))

    @property
    def falling(self) -> bool:
        """Whether, for most subsets, the smoothed loss is still falling to the window's end."""
        return 2 * sum(argmin == 1 for argmin in self.argmins) > len(self.argmins)


def detect(
    config: Config,
    losses: Array,
    start: int,
    adam: fit.AdamState | None = None,
) -> tuple[Verdict, fit.AdamState | None]:
    """Test whether the minimum of a loss curve lies in the past.

    Args:
        config: the hyperparameters.
        losses: losses of the updates ``start``, ``start + 1``, … [n]; the test is made at step ``start + n``.
            Non-finite ones are left out, and the others keep their places.
        start: first step of the window.
        adam: where the fit of the test before ended, if ``config.fit`` is 'adam' or 'published'.

    Returns:
        The verdict (its ``streak`` is the caller's to count), and where the fit ended.
    """
    step = start + len(losses)
    usable = noise.usable(losses, config.spike)
    y = losses if len(usable) == len(losses) else losses[usable]
    if len(y) < config.min_losses:
        reason = f"too few losses: {len(y)} of at least {config.min_losses}"
        return Verdict(step, start, no_evidence=reason), adam
    if y.min() == y.max():
        return Verdict(step, start, no_evidence="all losses are equal"), adam
    try:
        with np.errstate(all="ignore"):
            return _test(config, usable / len(losses), y, step, start, adam)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        return Verdict(step, start, no_evidence=f"numerical failure: {error}"), adam


def _test(
    config: Config,
    x: Array,
    losses: Array,
    step: int,
    start: int,
    adam: fit.AdamState | None,
) -> tuple[Verdict, fit.AdamState | None]:
    logged, unit = config.standardize and noise.fallen_tenfold(losses), 1.0
    if logged:
        unit = _power_of_two(float(losses.max()))
        losses = np.log(losses / unit)
    if config.ceiling is not None:
        losses = noise.below_ceiling(losses, config.ceiling)
    low, high = float(losses.min()), float(losses.max())
    if not math.isfinite(high - low):
        raise FloatingPointError("the losses' range is too wide for floating point")
    center, scale, y = 0.0, 1.0, losses
    if config.standardize:
        center, scale, y = _standardized(losses, _power_of_two(max(high, -low)))
    basis = gp.basis(config.length_scale)
    random: np.random.Generator | None = None

    def draw(size: int, subsets: int) -> gp.SufficientStatistics:
        if size == len(x):  # the subsets are all the same: one serves for all
            return gp.sufficient_statistics(basis, x[None], y[None])
        nonlocal random
        random = random or np.random.default_rng([config.seed, step])
        chosen = np.array([random.choice(len(x), size, replace=False, shuffle=False) for _ in range(subsets)])
        return gp.sufficient_statistics(basis, x[chosen], y[chosen])

    fit_size, size = (min(most or len(x), len(x)) for most in (config.fit_size, config.subset_size))
    drawn_to_fit = draw(fit_size, 1) if fit_size != size else None  # C_0 of the paper; else C_1 serves
    subsets = draw(size, config.subsets)
    parameters, adam = _fitted(config, (drawn_to_fit or subsets).of_set(0), y, adam)

    f = gp.posterior(subsets, parameters)
    rise, rise_sd = gp.fall_to_end(basis, f)
    if config.fit == "published":  # at x = 1, the last point, there is nothing to be in doubt about
        rise_sd[..., :-1] = np.sqrt(rise_sd[..., :-1] ** 2 + PUBLISHED_VARIANCE)
    copies = config.subsets // len(rise)
    p_min = _p_min(rise if config.basin is None else _beyond(rise, config.basin), rise_sd) * copies
    mean, sd = gp.curve(basis.at_curve, f.of_set(0))
    mean, sd, noise_sd = center + scale * mean, scale * sd, scale * math.sqrt(parameters.noise_variance)
    if logged:  # as a verdict on losses; its errors to first order
        mean = unit * np.exp(np.clip(mean, -LOGARITHMS, LOGARITHMS))
        sd, noise_sd = mean * sd, noise_sd * float(mean.min())
    verdict = Verdict(
        step=step,
        start=start,
        p_min=p_min,
        detected=2 * sum(p > config.confidence for p in p_min) > len(p_min),
        argmins=tuple(basis.grid[rise.argmax(-1)].tolist()) * copies,
        mean=mean,
        sd=sd,
        noise=noise_sd,
        logged=logged,
    )
    return verdict, adam


def _fitted(
    config: Config, of: gp.SufficientStatistics, y: Array, adam: fit.AdamState | None
) -> tuple[gp.Hyperparameters, fit.AdamState | None]:
    """The hyperparameters, and where the fit ended, if it goes on from one test to the next."""
    if config.fit == "maximum":
        return fit.maximum(of), adam
    mean = float(y.mean())
    adam = adam or fit.AdamState.start(mean)
    if config.fit == "published":
        adam = replace(adam, raw=(mean, *adam.raw[1:]))  # Adam's moments go on
    adam = fit.adam(of, adam)
    return adam.parameters, adam


def _power_of_two(largest: float) -> float:
    """A power of two of the size of the ``largest`` loss: to divide by it is exact."""
    return math.ldexp(1.0, math.frexp(largest)[1] - 1)


def _standardized(losses: Array, unit: float) -> tuple[float, float, Array]:
    """Mean, standard deviation, and ``losses`` less the one and over the other.

    Without overflow, by a ``unit`` of their size; exact under multiplication by powers of two.
    """
    part = losses / unit
    mean = float(part.sum()) / len(part)
    part -= mean
    deviation = math.sqrt(float(part @ part) / len(part))
    return mean * unit, deviation * unit, part / deviation


def _beyond(rise: Array, basin: float) -> Array:
    """f(1) - f(x), less a share ``basin`` of the fall of E f to its least, for each set [sets, GRID].

    On a plateau P_min comes near 1 by chance, now and then, and x is one of many; a loss that has left the
    flat part around its least is beyond that.
    """
    falls = [float(row.max() - row[: int(row.argmax()) + 1].min()) for row in rise]
    return rise - basin * np.array(falls)[:, None]


def _p_min(rise: Array, sd: Array) -> tuple[float, ...]:
    """max over x in S of P(f(x) < f(1)) = Φ(E / sd) of f(1) - f(x): Eq. 4, for each set [sets, GRID].

    At x = 1, where the standard deviation is 0, the probability is 0.
    """
    if not (np.isfinite(rise).all() and np.isfinite(sd).all()):
        raise FloatingPointError("the posterior is not finite")
    z = np.where(sd > 0, rise / sd, -math.inf).max(-1)
    return tuple(0.5 * math.erfc(-value / math.sqrt(2)) for value in z.tolist())
