"""The textbook Gaussian process, to judge by."""

import math
from typing import NamedTuple

import numpy as np


class Dense(NamedTuple):
    """Rasmussen & Williams Eq. 2.23, 2.24 and 2.30, by solves with the n × n matrix."""

    mean: np.ndarray
    variance: np.ndarray
    rise: np.ndarray  # E[f(1) - f(x)]
    rise_variance: np.ndarray
    covariance: np.ndarray  # of f at all pairs of points
    log_marginal_likelihood: float
    gradient: tuple[float, float, float]  # by θ, σ_f² and σ_n²: Eq. 5.9


def kernel(a: np.ndarray, b: np.ndarray, length_scale: float) -> np.ndarray:
    """exp(-(a - b)² / 2ℓ²) for every pair."""
    return np.exp(-((a[:, None] - b) ** 2) / (2 * length_scale**2))


def dense(
    x: np.ndarray,
    y: np.ndarray,
    mean: float,
    signal: float,
    noise: float,
    length_scale: float,
    points: int = 500,
) -> Dense:
    """The posterior on as many points of [0, 1], and the marginal likelihood."""
    grid = np.linspace(0, 1, points)
    prior = kernel(x, x, length_scale)
    inverse = np.linalg.inv(signal * prior + noise * np.eye(len(x)))
    cross = signal * kernel(x, grid, length_scale)
    gain = np.linalg.solve(signal * prior + noise * np.eye(len(x)), cross).T
    covariance = signal * kernel(grid, grid, length_scale) - gain @ cross
    variance = covariance.diagonal()
    posterior_mean = mean + gain @ (y - mean)
    whitened = np.linalg.solve(signal * prior + noise * np.eye(len(x)), y - mean)
    logdet = np.linalg.slogdet(signal * prior + noise * np.eye(len(x)))[1]
    slope = np.outer(whitened, whitened) - inverse
    return Dense(
        mean=posterior_mean,
        variance=variance,
        rise=posterior_mean[-1] - posterior_mean,
        rise_variance=variance + variance[-1] - 2 * covariance[:, -1],
        covariance=covariance,
        log_marginal_likelihood=-0.5 * ((y - mean) @ whitened + logdet + len(y) * math.log(2 * math.pi)),
        gradient=(whitened.sum(), 0.5 * (slope * prior).sum(), 0.5 * slope.trace()),
    )
