"""Gaussian-process regression of the loss curve, in the weight space of the kernel's feature map.

The squared-exponential kernel with fixed length-scale ℓ on [0, 1] has an explicit feature map,

    k(x, x') = σ_f² exp(-(x - x')² / 2ℓ²) = σ_f² φ(x)·φ(x'),
    φ_k(x) = exp(-z²/2) z^k / √k!,   z = (x - ½) / ℓ,

since exp(z z') = Σ (z z')^k / k!. A few dozen features give it to machine precision, so that the regression
L = θ + f(x) + ε on n losses is Bayesian linear regression (Rasmussen & Williams 2006, Section 2.1): O(n)
once for the moments, then nothing depends on n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRID = 500  # |S| of Eq. 4
CHUNK = 8192  # losses whose features are in memory at one time
ROUNDING = 1e-15  # relative; features and eigenvalues below it are noise


class Basis(NamedTuple):
    """The feature map of one length-scale, and the grid S of Eq. 4 in it."""

    length_scale: float
    order: int  # features before rotation
    rotation: Array  # [order, m]: to the m directions that matter on [0, 1]
    grid: Array  # [GRID]: the points of S, from 0 to 1
    at_grid: Array  # [GRID, m]: rotated features of the grid

    def features(self, x: Array) -> Array:
        """Rotated features of ``x`` [..., n] in [0, 1]: [..., n, m], with k(x, x') / σ_f² = φ(x)·φ(x')."""
        return raw_features(x, self.length_scale, self.order) @ self.rotation


def raw_features(x: Array, length_scale: float, order: int) -> Array:
    """φ_k(x) for k < order: [..., order]."""
    z = (x - 0.5) / length_scale
    columns = np.empty((order, *x.shape))
    columns[0] = np.exp(-0.5 * z * z)
    for k in range(1, order):
        np.multiply(columns[k - 1], z / math.sqrt(k), out=columns[k])
    return np.moveaxis(columns, 0, -1)


@lru_cache(maxsize=16)
def basis(length_scale: float) -> Basis:
    """The basis of a length-scale; the error of its kernel is below 1e-13 everywhere on [0, 1]²."""
    # The kernel's error after `order` terms is at most P(K ≥ order) for K Poisson with mean z_max².
    mean = (0.5 / length_scale) ** 2
    log_term, order = -mean, 0
    while order <= mean or log_term > math.log(ROUNDING / 10):
        order += 1
        log_term += math.log(mean / order)
    grid = np.arange(GRID) / (GRID - 1)
    phi = raw_features(grid, length_scale, order)
    # Most of these directions are next to nothing on [0, 1]; a rotation leaves out the ones below rounding.
    _, sizes, directions = np.linalg.svd(phi, full_matrices=False)
    rotation = np.ascontiguousarray(directions[sizes**2 > ROUNDING * GRID].T)
    return Basis(length_scale, order, rotation, grid, phi @ rotation)


class Moments(NamedTuple):
    """Sums over a set of n observations (x, y): all that the regression needs to know of them.

    ``y`` below stands for y - center, or else a loss that is large beside its changes would lose its digits.
    """

    n: int
    center: float  # the median (of a long curve about it), which one exploding loss does not move
    gram: Array  # ΦᵀΦ [m, m]
    phi_y: Array  # Φᵀy [m]
    phi_1: Array  # Φᵀ1 [m]
    sum_y: float
    sum_yy: float


def moments(basis: Basis, x: Array, y: Array) -> Moments:
    """The moments of ``x`` [n] in [0, 1] and ``y`` [n]: O(n) time, memory that does not grow with n."""
    center = float(np.median(y[:: len(y) // CHUNK + 1]))
    sums = np.zeros((basis.order, basis.order + 2))
    sum_y = sum_yy = 0.0
    for begin in range(0, len(x), CHUNK):
        part = slice(begin, begin + CHUNK)
        phi, r = raw_features(x[part], basis.length_scale, basis.order), y[part] - center
        sums[:, :-2] += phi.T @ phi
        sums[:, -2:] += phi.T @ np.stack([r, np.ones_like(r)], axis=1)
        sum_y, sum_yy = sum_y + float(r.sum()), sum_yy + float(r @ r)
    rotated = basis.rotation.T @ sums
    return Moments(
        n=len(x),
        center=center,
        gram=rotated[:, :-2] @ basis.rotation,
        phi_y=rotated[:, -2],
        phi_1=rotated[:, -1],
        sum_y=sum_y,
        sum_yy=sum_yy,
    )


@dataclass(frozen=True)
class Parameters:
    """θ, σ_f² and σ_n² of Eq. 2."""

    mean: float
    signal_variance: float
    noise_variance: float


class Posterior(NamedTuple):
    """f = θ + φ·w given the data: w has the mean ``weights`` and the covariance ``half halfᵀ``."""

    given: Parameters
    weights: Array  # [m]
    half: Array  # [m, m]


def posterior(of: Moments, given: Parameters) -> Posterior:
    """Condition w ~ N(0, σ_f² I) on the moments (R & W Eq. 2.8).

    w has the covariance ``σ_f² A⁻¹`` and the mean ``s A⁻¹ Φᵀ(y - θ)``, A = I + s ΦᵀΦ, s = σ_f² / σ_n².
    The eigenvectors of ΦᵀΦ keep A⁻¹ positive, however small the noise.
    """
    ratio = given.signal_variance / given.noise_variance
    eigenvalues, vectors = np.linalg.eigh(of.gram)
    root = vectors / np.sqrt(1 + ratio * np.maximum(eigenvalues, 0.0))
    weights = ratio * (root @ (root.T @ (of.phi_y - (given.mean - of.center) * of.phi_1)))
    return Posterior(given, weights, math.sqrt(given.signal_variance) * root)


def curve(basis: Basis, of: Posterior) -> tuple[Array, Array]:
    """Mean and standard deviation of f(x) on the grid: [GRID] each."""
    spread = basis.at_grid @ of.half
    return of.given.mean + basis.at_grid @ of.weights, np.sqrt((spread * spread).sum(1))


def rise(basis: Basis, of: Posterior) -> tuple[Array, Array]:
    """Mean and standard deviation of f(1) - f(x) on the grid: [GRID] each.

    From differences of feature rows, so that nothing cancels near x = 1.
    """
    to_end = basis.at_grid[-1] - basis.at_grid
    spread = to_end @ of.half
    return to_end @ of.weights, np.sqrt((spread * spread).sum(1))
