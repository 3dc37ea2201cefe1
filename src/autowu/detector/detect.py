"""Has the loss passed its minimum? Losses in, a verdict out: Section 2.1.2 of the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.detector import fit, gp, noise

DOUBLINGS = 2.0  # of the LR, at least, before the last can be compared with those before it
STRIDE = 5  # a stall is asked for at each so many points of the grid: the curve bends in no fewer


@dataclass(frozen=True, eq=False)
class Verdict:
    """The outcome of one test, and the smoothed curve that it saw."""

    step: int
    """Updates done when the test ran: t of Eq. 5."""
    start: int
    """First step of the window that the test looked at."""
    p_min: tuple[float, ...] = ()
    """P_min (Eq. 4), one per subset; empty where there is no evidence."""
    p_stall: tuple[float, ...] = ()
    """The probability that the fall has all but ended, one per subset; empty where it is not asked for."""
    detected: bool = False
    """Whether for most subsets P_min, or the probability of a stall, exceeds the confidence."""
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

    @property
    def p_past(self) -> tuple[float, ...]:
        """What the subsets vote by, one each: the larger of ``p_min`` and ``p_stall``."""
        return tuple(map(max, self.p_min, self.p_stall)) if self.p_stall else self.p_min

    def votes(self, confidence: float) -> int:
        """Subsets that say that the minimum is past, or the fall at its end."""
        return sum(p > confidence for p in self.p_past)

    def stalled(self, confidence: float) -> bool:
        """Whether subsets vote by a stall alone."""
        return self.votes(confidence) > sum(p > confidence for p in self.p_min)

    @property
    def argmin(self) -> float | None:
        """The mean of ``argmins`` (the expectation over i in Eq. 5)."""
        return math.fsum(self.argmins) / len(self.argmins) if self.argmins else None

    @property
    def t_star(self) -> float | None:
        """t* of Eq. 5, in steps from the start of the run."""
        return None if self.argmin is None else self.start + (self.step - self.start) * self.argmin

    def middle(self, share: float, weight: float) -> float | None:
        """Between the smallest LR within ``share`` of the fall of the least smoothed loss, and that of the least."""
        if self.mean is None:
            return None
        place = int(self.mean.argmin())
        least = float(self.mean[place])
        near = self.mean <= least + share * (float(self.mean[: place + 1].max()) - least)
        low = place
        while low > 0 and near[low - 1]:
            low -= 1
        at = weight * low + (1 - weight) * place
        return self.start + (self.step - self.start) * at / (len(near) - 1)

    @property
    def falling(self) -> bool:
        """Whether, for most subsets, the smoothed loss is still falling to the window's end."""
        return 2 * sum(argmin == 1 for argmin in self.argmins) > len(self.argmins)


def detect(
    config: Config,
    losses: Array,
    start: int,
    adam: fit.AdamState | None = None,
    doublings: float = 0.0,
) -> tuple[Verdict, fit.AdamState | None]:
    """Test whether the minimum of a loss curve lies in the past.

    Args:
        config: the hyperparameters.
        losses: losses of the updates ``start``, ``start + 1``, … [n]; the test is made at step ``start + n``.
            Non-finite ones are left out, and the others keep their places.
        start: first step of the window.
        adam: where the fit of the test before ended, if ``config.fit`` is 'adam'.
        doublings: how often the LR has doubled over the window, at equal distances; 0 if it has grown
            otherwise. With fewer than two, no stall is seen.

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
    x = usable / len(losses)
    try:
        with np.errstate(all="ignore"):
            if config.logs and y.min() > 0:
                y = np.log(y)
            if config.ceiling is not None:
                y = noise.below_ceiling(y, config.ceiling)
            return _test(config, x, y, step, start, adam, doublings)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        return Verdict(step, start, no_evidence=f"numerical failure: {error}"), adam


def _test(
    config: Config,
    x: Array,
    losses: Array,
    step: int,
    start: int,
    adam: fit.AdamState | None,
    doublings: float,
) -> tuple[Verdict, fit.AdamState | None]:
    if not math.isfinite(float(losses.max()) - float(losses.min())):
        raise FloatingPointError("the losses' range is too wide for floating point")
    center, scale, y = _standardized(losses) if config.standardize else (0.0, 1.0, losses)
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
    fitted = (subsets if drawn_to_fit is None else drawn_to_fit).of_set(0)
    if config.fit == "maximum":
        parameters = fit.maximum(fitted)
    else:
        adam = fit.adam(fitted, adam or fit.AdamState.start(float(y.mean())))
        parameters = adam.parameters

    f = gp.posterior(subsets, parameters)
    rise, rise_sd = gp.fall_to_end(basis, f)
    copies = config.subsets // len(rise)
    p_min = _p_min(rise, rise_sd) * copies
    p_stall = () if config.stall is None else _p_stall(config.stall, doublings, basis, f) * copies
    argmins = tuple(basis.grid[rise.argmax(-1)].tolist()) * copies
    mean, sd = gp.curve(basis.at_curve, f.of_set(0))
    verdict = Verdict(
        step=step,
        start=start,
        p_min=p_min,
        p_stall=p_stall,
        argmins=argmins,
        mean=center + scale * mean,
        sd=scale * sd,
        noise=scale * math.sqrt(parameters.noise_variance),
    )
    return replace(verdict, detected=2 * verdict.votes(config.confidence) > len(p_min)), adam


def _standardized(losses: Array) -> tuple[float, float, Array]:
    """Mean, standard deviation, and ``losses`` less the one and over the other.

    Without overflow; exact under multiplication by powers of two.
    """
    largest = math.ldexp(1.0, math.frexp(max(float(losses.max()), -float(losses.min())))[1] - 1)
    part = losses / largest
    mean = float(part.sum()) / len(part)
    part -= mean
    deviation = math.sqrt(float(part @ part) / len(part))
    return mean * largest, deviation * largest, part / deviation


def _p_min(rise: Array, sd: Array) -> tuple[float, ...]:
    """max over x in S of P(f(x) < f(1)) = Φ(E / sd) of f(1) - f(x): Eq. 4, for each set [sets, GRID].

    At x = 1, where the standard deviation is 0, the probability is 0.
    """
    if not (np.isfinite(rise).all() and np.isfinite(sd).all()):
        raise FloatingPointError("the posterior is not finite")
    return _largest(rise, sd)


def _p_stall(share: float, doublings: float, basis: gp.Basis, f: gp.Posterior) -> tuple[float, ...]:
    """max over x of P(f(x) - f(1) < share (1 - x) (f(0) - f(1))), for each set: since x next to no fall.

    Over the window the LR has doubled d times, and since x at least once: x ≤ 1 - 1/d. With fewer than two
    doublings there is nothing to compare the last one with: 0.
    """
    if doublings < DOUBLINGS:
        return (0.0,) * len(f.weights)
    last = round((1 - 1 / doublings) * (gp.GRID - 1))
    chosen = slice(last, 0, -STRIDE)
    slope = share * (1 - basis.grid[chosen])
    return _largest(*gp.project(basis.to_end[chosen] - slope[:, None] * basis.to_end[0], f))


def _largest(mean: Array, sd: Array) -> tuple[float, ...]:
    """The largest Φ(mean / sd), the probability of a value above 0, for each set; 0 where nothing varies."""
    z = np.where(sd > 0, mean / sd, -math.inf).max(-1)
    return tuple(0.5 * math.erfc(-value / math.sqrt(2)) for value in z.tolist())
