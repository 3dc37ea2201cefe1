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
from typing import NamedTuple, cast

import numpy as np

from autowu.arrays import Array

GRID = 500  # |S| of Eq. 4
CURVE_POINTS = 101  # at which a verdict keeps the smoothed loss
CHUNK = 4096  # losses whose features are in memory at one time: what a processor's cache holds
ROUNDING = 1e-15  # relative; features and eigenvalues below it are noise


class Basis(NamedTuple):
    """The feature map of one length-scale, with k(x, x') / σ_f² = φ(x)·φ(x'), and the grid S of Eq. 4 in it.

    The features of ``x`` [n] in [0, 1] are ``powers(x, length_scale, order).T @ rotation`` [n, m].
    """

    length_scale: float
    order: int  # powers that the features are made of
    rotation: Array  # [order, m]: from the powers to the m features that matter on [0, 1]
    products: Array  # [2 order - 1, m²]: from exp(-z²) u^q to the products of all pairs of features
    grid: Array  # [GRID]: the points of S, from 0 to 1
    at_grid: Array  # [GRID, m]: features of the grid
    to_end: Array  # [GRID, m]: φ(1) - φ(x) on the grid; each feature's values lie side by side in memory
    at_curve: Array  # [CURVE_POINTS, m]: features of equally spaced points, for pictures


def powers(x: Array, length_scale: float, order: int) -> Array:
    """``exp(-z²/2) u^k`` for k < order, with u = 2x - 1 in [-1, 1], so that z = u / 2ℓ: [order, ...]."""
    factor = 2 * x - 1
    rows = np.empty((order, *x.shape))
    rows[0] = np.exp(-0.5 * (factor / (2 * length_scale)) ** 2)
    known = 1
    while known < order:  # twice as many each time: the next rows are those known times u^known
        more = min(known, order - known)
        np.multiply(rows[:more], factor, out=rows[known : known + more])
        known, factor = known + more, factor * factor
    return rows


@lru_cache(maxsize=16)
def basis(length_scale: float) -> Basis:
    """The basis of a length-scale; the error of its kernel is below 1e-13 everywhere on [0, 1]²."""
    # The kernel's error after `order` terms is at most P(K ≥ order) for K Poisson with mean z_max².
    mean = (0.5 / length_scale) ** 2
    log_term, order = -mean, 0
    while order <= mean or log_term > math.log(ROUNDING / 10):
        order += 1
        log_term += math.log(mean / order)
    steps = np.sqrt(mean / np.arange(1, order))
    size = np.multiply.accumulate(np.append(1.0, steps), dtype=np.float64)  # φ_k / (exp(-z²/2) u^k)
    grid = np.arange(GRID) / (GRID - 1)
    at_grid = powers(grid, length_scale, order).T
    # Most directions are next to nothing on [0, 1]; a rotation of φ leaves out the ones below rounding.
    _, spread, directions = np.linalg.svd(at_grid * size, full_matrices=False)
    rotation = size[:, None] * directions[spread**2 > ROUNDING * GRID].T
    products = np.zeros((2 * order - 1, rotation.shape[1], rotation.shape[1]))
    for k, row in enumerate(rotation):
        products[k : k + order] += row[:, None] * rotation[:, None, :]
    features = at_grid @ rotation
    return Basis(
        length_scale=length_scale,
        order=order,
        rotation=rotation,
        products=products.reshape(len(products), -1),
        grid=grid,
        at_grid=features,
        to_end=np.asfortranarray(features[-1] - features),
        at_curve=powers(np.arange(CURVE_POINTS) / (CURVE_POINTS - 1), length_scale, order).T @ rotation,
    )


class SufficientStatistics(NamedTuple):
    """Sums over a set of n observations (x, y): all that the regression needs to know of them.

    ``y`` below stands for y - center, or else a loss that is large beside its changes would lose its digits.
    Leading dimensions, if there are any, are of several sets of the same size.
    """

    n: int
    center: Array  # the median of some of them, which one exploding loss does not move [...]
    gram: Array  # ΦᵀΦ [..., m, m]
    phi_y: Array  # Φᵀy [..., m]
    phi_1: Array  # Φᵀ1 [..., m]
    sum_y: Array  # [...]
    sum_yy: Array  # [...]

    def of_set(self, index: int) -> SufficientStatistics:
        """The moments of one of several sets."""
        return SufficientStatistics(self.n, *(sums[index] for sums in self[1:]))


def sufficient_statistics(basis: Basis, x: Array, y: Array) -> SufficientStatistics:
    """The moments of ``x`` in [0, 1] and of ``y``: [n] or, of several sets, [sets, n].

    O(n m) time, and memory that does not grow with n: the products of features are sums of exp(-z²) u^q,
    and each of these is the product of a power with the first one or, for the higher q, with the last one.
    """
    *sets, n = x.shape
    some = y[..., :: n // 64 + 1]
    middle = some.shape[-1] // 2
    center = np.partition(some, middle, axis=-1)[..., middle]
    sums = np.zeros((*sets, basis.order, 4))
    sum_y, sum_yy = np.zeros(sets), np.zeros(sets)
    for begin in range(0, n, CHUNK):
        part = (..., slice(begin, begin + CHUNK))
        u, r = powers(x[part], basis.length_scale, basis.order), y[part] - center[..., None]
        others = np.ones((*r.shape, 4))
        others[..., 0], others[..., 1], others[..., 2] = u[0], u[-1], r
        sums += u.swapaxes(0, -2) @ others
        sum_y, sum_yy = sum_y + r.sum(-1), sum_yy + (r * r).sum(-1)
    gram = np.concatenate([sums[..., 0], sums[..., 1:, 1]], axis=-1) @ basis.products
    rotated = basis.rotation.T @ sums[..., 2:]
    m = rotated.shape[-2]
    return SufficientStatistics(
        n=n,
        center=center,
        gram=gram.reshape(*sets, m, m),
        phi_y=rotated[..., 0],
        phi_1=rotated[..., 1],
        sum_y=sum_y,
        sum_yy=sum_yy,
    )


@dataclass(frozen=True)
class Hyperparameters:
    """θ, σ_f² and σ_n² of Eq. 2."""

    mean: float
    signal_variance: float
    noise_variance: float


class Posterior(NamedTuple):
    """f = θ + φ·w given the data: w has the mean ``weights`` and the covariance ``covariance_root halfᵀ``.

    Given one set of data or, as with the moments, several.
    """

    given: Hyperparameters
    weights: Array  # [..., m]
    covariance_root: Array  # [..., m, m]

    def of_set(self, index: int) -> Posterior:
        """That given one of the sets."""
        return Posterior(self.given, self.weights[index], self.covariance_root[index])


def posterior(of: SufficientStatistics, given: Hyperparameters) -> Posterior:
    """Condition w ~ N(0, σ_f² I) on the moments (R & W Eq. 2.8).

    w has the covariance ``σ_f² A⁻¹`` and the mean ``s A⁻¹ Φᵀ(y - θ)``, A = I + s ΦᵀΦ, s = σ_f² / σ_n². With
    Cholesky's A = L Lᵀ, the half of A⁻¹ is ``L⁻ᵀ``.
    """
    ratio = given.signal_variance / given.noise_variance
    factor = np.linalg.cholesky(np.eye(of.gram.shape[-1]) + ratio * of.gram)
    half = cast("Array", np.linalg.inv(factor))
    root = half.swapaxes(-1, -2)
    residual = (of.phi_y - (given.mean - of.center)[..., None] * of.phi_1)[..., None]
    weights = ratio * (root @ (half @ residual))[..., 0]
    return Posterior(given, weights, math.sqrt(given.signal_variance) * root)


def curve(phi: Array, of: Posterior) -> tuple[Array, Array]:
    """Mean and standard deviation of f at points with the features ``phi`` [p, m]: [..., p] each."""
    mean, sd = project(phi, of)
    return of.given.mean + mean, sd


def fall_to_end(basis: Basis, of: Posterior) -> tuple[Array, Array]:
    """Mean and standard deviation of f(1) - f(x) on the grid: [..., GRID] each.

    From differences of feature rows, so that nothing cancels near x = 1.
    """
    return project(basis.to_end, of)


def project(phi: Array, of: Posterior) -> tuple[Array, Array]:
    """Mean and standard deviation of φ·w for each row of ``phi``."""
    spread = of.covariance_root.swapaxes(-1, -2) @ phi.T
    return of.weights @ phi.T, np.sqrt(np.einsum("...ip,...ip->...p", spread, spread))
