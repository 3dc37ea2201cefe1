"""Fitting θ, σ_f² and σ_n² of Eq. 2 to the marginal likelihood, at O(m) an evaluation whatever n is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from autowu.arrays import Array
from autowu.detector.gp import ROUNDING, Hyperparameters, SufficientStatistics


class Spectrum(NamedTuple):
    """The moments in the eigenbasis of ΦΦᵀ, where the marginal likelihood is a sum over r ≤ m terms.

    ``rest_*`` are the inner products of y and 1 outside of the features' span, where K = σ_n² I.
    """

    n: int
    center: float  # what was subtracted from y
    eigenvalues: Array  # λ_j of ΦΦᵀ, all above rounding [r]
    y: Array  # coefficients of y on the unit eigenvectors [r]
    one: Array  # coefficients of the constant 1 [r]
    rest_yy: float
    rest_y1: float
    rest_11: float


def spectrum(of: SufficientStatistics) -> Spectrum:
    """From the eigenvectors of ΦᵀΦ to those of ΦΦᵀ: O(m³), whatever n is."""
    eigenvalues, vectors = np.linalg.eigh(of.gram)  # in ascending order
    first = int(eigenvalues.searchsorted(ROUNDING * float(eigenvalues[-1]), side="right"))
    eigenvalues, vectors = eigenvalues[first:], vectors[:, first:]
    y, one = (np.array([of.phi_y, of.phi_1]) @ vectors) / np.sqrt(eigenvalues)
    return Spectrum(
        n=of.n,
        center=float(of.center),
        eigenvalues=eigenvalues,
        y=y,
        one=one,
        rest_yy=max(0.0, float(of.sum_yy - y @ y)),
        rest_y1=float(of.sum_y - y @ one),
        rest_11=max(0.0, of.n - float(one @ one)),
    )


def terms(s: Spectrum) -> list[tuple[float, float, float]]:
    """(λ_j, y_j, 1_j) as plain numbers: for so few of them a loop takes half the time of NumPy's calls."""
    return list(zip(s.eigenvalues.tolist(), s.y.tolist(), s.one.tolist(), strict=True))


def slopes(
    s: Spectrum, terms: list[tuple[float, float, float]], mean: float, signal: float, noise: float
) -> tuple[float, float, float]:
    """The derivatives by θ, σ_f² and σ_n² of the log marginal likelihood (R & W Eq. 5.9); O(m).

    That is log p(y | θ, σ_f², σ_n²) = -½ [rᵀK⁻¹r + log|K| + n log 2π], r = y - θ (R & W Eq. 2.30). The
    eigenvalues of K = σ_f² ΦΦᵀ + σ_n² I are σ_f² λ_j + σ_n², and σ_n² in the n - r directions outside of the
    features' span.
    """
    mean -= s.center
    rest = s.rest_yy - 2 * mean * s.rest_y1 + mean**2 * s.rest_11
    by_mean = (s.rest_y1 - mean * s.rest_11) / noise
    by_signal, by_noise = 0.0, (s.n - len(terms) - rest / noise) / noise  # of -2 log p
    for eigenvalue, y, one in terms:
        inverse = 1 / (signal * eigenvalue + noise)
        whitened = (y - mean * one) * inverse
        slope = inverse - whitened * whitened  # of -2 log p, by v_j
        by_mean += one * whitened
        by_signal += eigenvalue * slope
        by_noise += slope
    return by_mean, -0.5 * by_signal, -0.5 * by_noise


# --- the default preset: the maximum itself -----------------------------------------------------------

# Range of log(σ_n² / σ_f²): from a curve without noise to noise without a curve.
LOG_RATIO: Final = (math.log(1e-8), math.log(1e6))
POINTS, ZOOMS = 81, 3  # each zoom narrows the range 40-fold: to steps of 2.5e-4 log units in the end
_RANGE: Final = np.arange(POINTS)


def maximum(of: SufficientStatistics) -> Hyperparameters:
    """The parameters of the greatest marginal likelihood, found in one dimension.

    For a given ratio τ = σ_n² / σ_f², the best θ and σ_f² are known: with M = ΦΦᵀ + τI,
    ``θ = 1ᵀM⁻¹y / 1ᵀM⁻¹1`` and ``σ_f² = rᵀM⁻¹r / n``, r = y - θ. What is left is a function of τ alone, which
    is searched over its whole range, so that no start can trap it in a local maximum.
    """
    s = spectrum(of)
    # The directions outside of the features' span have the eigenvalue 0: one entry stands for all of them.
    rank = len(s.eigenvalues)
    eigenvalues, counts, products = np.zeros(rank + 1), np.ones(rank + 1), np.empty((3, rank + 1))
    eigenvalues[:-1], counts[-1] = s.eigenvalues, s.n - rank
    products[:, :-1] = s.y * s.y, s.y * s.one, s.one * s.one
    products[:, -1] = s.rest_yy, s.rest_y1, s.rest_11
    low, high = LOG_RATIO
    mean, signal, ratio = 0.0, 1.0, 1.0
    for _ in range(ZOOMS):
        logs = low + (high - low) / (POINTS - 1) * _RANGE
        ratios = np.exp(logs)
        v = eigenvalues + ratios[:, None]  # of K / σ_f²
        yy, y1, one = products @ (1 / v).T  # yᵀM⁻¹y, yᵀM⁻¹1 and 1ᵀM⁻¹1
        means = y1 / one
        signals = np.maximum(yy - y1 * means, ROUNDING * yy) / s.n
        best = int((s.n * np.log(signals) + np.log(v) @ counts).argmin())  # -2 log p, up to a constant
        mean, signal, ratio = float(means[best]), float(signals[best]), float(ratios[best])
        low, high = float(logs[max(best - 1, 0)]), float(logs[min(best + 1, POINTS - 1)])
    return Hyperparameters(s.center + mean, signal, signal * ratio)


# --- the paper preset: 100 steps of Adam --------------------------------------------------------------

STEPS, LEARNING_RATE, BETA_1, BETA_2, EPSILON = 100, 0.01, 0.9, 0.999, 1e-8
NOISE_FLOOR: Final = 1e-4


@dataclass(frozen=True)
class AdamState:
    """Raw parameters and moments of Adam, which go on from one test to the next.

    ``raw`` is (θ, ρ_f, ρ_n) with σ_f² = softplus(ρ_f) and σ_n² = softplus(ρ_n) + 1e-4.
    """

    raw: tuple[float, float, float]
    first: tuple[float, float, float] = (0.0, 0.0, 0.0)
    second: tuple[float, float, float] = (0.0, 0.0, 0.0)
    count: int = 0

    @classmethod
    def start(cls, mean: float) -> AdamState:
        """θ at the mean of the losses, σ_f² = log 2, σ_n² = 1e-3."""
        return cls(raw=(mean, 0.0, math.log(math.expm1(1e-3 - NOISE_FLOOR))))

    @property
    def parameters(self) -> Hyperparameters:
        """θ, σ_f² and σ_n²."""
        mean, signal, noise = self.raw
        return Hyperparameters(mean, _softplus(signal), _softplus(noise) + NOISE_FLOOR)


def adam(of: SufficientStatistics, state: AdamState) -> AdamState:
    """100 steps of Adam (Kingma and Ba, 2014) with LR 0.01 on -log p(y) / n: Section 2.1.2 of the paper."""
    s = spectrum(of)
    numbers = terms(s)
    mean, signal, noise = zip(state.raw, state.first, state.second, strict=True)
    for count in range(state.count + 1, state.count + STEPS + 1):
        by = slopes(s, numbers, mean[0], _softplus(signal[0]), _softplus(noise[0]) + NOISE_FLOOR)
        step, unbias = LEARNING_RATE / (1 - BETA_1**count), 1 - BETA_2**count
        mean = _moved(mean, -by[0] / s.n, step, unbias)
        signal = _moved(signal, -by[1] * _sigmoid(signal[0]) / s.n, step, unbias)
        noise = _moved(noise, -by[2] * _sigmoid(noise[0]) / s.n, step, unbias)
    raw, first, second = zip(mean, signal, noise, strict=True)
    return AdamState(raw, first, second, state.count + STEPS)


def _moved(
    parameter: tuple[float, float, float], slope: float, step: float, unbias: float
) -> tuple[float, float, float]:
    """A raw parameter and its two moments after a step."""
    raw, first, second = parameter
    first = BETA_1 * first + (1 - BETA_1) * slope
    second = BETA_2 * second + (1 - BETA_2) * slope * slope
    return raw - step * first / (math.sqrt(second / unbias) + EPSILON), first, second


def _softplus(x: float) -> float:
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * x))
