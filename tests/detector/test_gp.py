"""The weight-space Gaussian process against the kernel, n × n algebra and 50-digit arithmetic."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu.detector import gp
from controller.helpers import seeded

from .dense import dense, kernel

LENGTH_SCALE = 0.2
PARAMETERS = [
    gp.Hyperparameters(mean, signal, signal * ratio)
    for mean, signal, ratio in product([0.0, -3.0], [1e-2, 1.0, 50.0], [1e-4, 1e-2, 1.0, 100.0])
]


def observations(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = np.sort(random.random(n))
    return x, np.cos(5 * x) + 0.1 * random.standard_normal(n)


def features(basis: gp.Basis, x: np.ndarray) -> np.ndarray:
    """Those of ``x`` [n] in [0, 1]: [n, m]."""
    return gp.powers(x, basis.length_scale, basis.order).T @ basis.rotation


# --- the kernel ---------------------------------------------------------------------------------------


def test_the_features_give_the_kernel_of_the_paper() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((2, 100_000))
    basis = gp.basis(LENGTH_SCALE)
    product_of_features = (features(basis, a) * features(basis, b)).sum(1)
    exact = np.exp(-((a - b) ** 2) / (2 * LENGTH_SCALE**2))
    assert np.abs(product_of_features - exact).max() < 1e-13


@given(st.floats(0.05, 10), st.lists(st.floats(0, 1), min_size=1, max_size=30))
@seeded
def test_the_features_give_the_kernel_of_any_length_scale(length_scale: float, points: list[float]) -> None:
    x = np.array([0.0, 0.5, 1.0, *points])
    phi = features(gp.basis(length_scale), x)
    assert np.abs(phi @ phi.T - kernel(x, x, length_scale)).max() < 1e-13


@pytest.mark.parametrize("length_scale", [0.05, 0.2, 10])
def test_the_grid_is_500_points_from_0_to_1(length_scale: float) -> None:
    basis = gp.basis(length_scale)
    np.testing.assert_allclose(basis.grid, np.linspace(0, 1, 500), rtol=0, atol=2e-16)
    assert (basis.grid[0], basis.grid[-1]) == (0, 1)
    np.testing.assert_allclose(basis.at_grid, features(basis, basis.grid), rtol=0, atol=1e-14)


def test_a_few_dozen_features_are_enough() -> None:
    assert gp.basis(LENGTH_SCALE).rotation.shape[1] <= 44


# --- the moments --------------------------------------------------------------------------------------


def about_zero(m: gp.SufficientStatistics) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """The sums of y itself, from those of y - center."""
    sum_yy = m.sum_yy + 2 * m.center * m.sum_y + m.n * m.center**2
    return m.gram, m.phi_y + m.center * m.phi_1, m.phi_1, m.sum_y + m.n * m.center, sum_yy


@pytest.mark.parametrize("n", [1, 2, 100, 8192, 8193, 20_000])
def test_moments_are_sums_over_the_observations(n: int) -> None:
    x, y = observations(n)
    basis = gp.basis(LENGTH_SCALE)
    phi, m = features(basis, x), gp.sufficient_statistics(basis, x, y)
    assert m.n == n
    expected = (phi.T @ phi, phi.T @ y, phi.sum(0), y.sum(), y @ y)
    for found, sums in zip(about_zero(m), expected, strict=True):
        np.testing.assert_allclose(found, sums, rtol=0, atol=2e-14 * n)


@pytest.mark.parametrize("chunk", [1, 7, 64, 999, 1000])
def test_moments_in_chunks_are_those_in_one_piece(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = observations(1000)
    basis = gp.basis(LENGTH_SCALE)
    monkeypatch.setattr(gp, "CHUNK", 10**6)
    whole = about_zero(gp.sufficient_statistics(basis, x, y))
    monkeypatch.setattr(gp, "CHUNK", chunk)
    for part, all_of_it in zip(about_zero(gp.sufficient_statistics(basis, x, y)), whole, strict=True):
        np.testing.assert_allclose(part, all_of_it, rtol=1e-12, atol=1e-11)


def test_a_large_offset_costs_no_digits() -> None:
    x, y = observations(1000)
    basis, offset = gp.basis(LENGTH_SCALE), 2.0**30
    y = np.round(y * 2**20) / 2**20  # so that the sum with the offset is exact
    near, far = gp.sufficient_statistics(basis, x, y), gp.sufficient_statistics(basis, x, y + offset)
    assert far.center - near.center == offset
    for a, b in ((far.phi_y, near.phi_y), (far.sum_y, near.sum_y), (far.sum_yy, near.sum_yy)):
        np.testing.assert_array_equal(a, b)


def test_the_memory_of_moments_does_not_grow_with_n() -> None:
    basis = gp.basis(LENGTH_SCALE)

    def peak(n: int) -> int:
        x, y = observations(n)
        tracemalloc.start()
        gp.sufficient_statistics(basis, x, y)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    small, large = peak(30_000), peak(300_000)
    assert large < 1.05 * small
    assert large < 4 * gp.CHUNK * basis.order * 8


# --- the posterior ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 10, 100, 400])
@pytest.mark.parametrize("given_", PARAMETERS)
def test_the_posterior_is_the_dense_one(n: int, given_: gp.Hyperparameters) -> None:
    x, y = observations(n)
    basis = gp.basis(LENGTH_SCALE)
    f = gp.posterior(gp.sufficient_statistics(basis, x, y), given_)
    mean, sd = gp.curve(basis.at_grid, f)
    rise, rise_sd = gp.fall_to_end(basis, f)

    reference = dense(x, y, given_.mean, given_.signal_variance, given_.noise_variance, LENGTH_SCALE)
    np.testing.assert_allclose(mean, reference.mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(rise, reference.rise, rtol=0, atol=1e-8)
    within = 1e-8 * given_.signal_variance
    np.testing.assert_allclose(sd**2, reference.variance, rtol=0, atol=within)
    np.testing.assert_allclose(rise_sd**2, reference.rise_variance, rtol=0, atol=within)
    # A standard deviation by subtraction is itself no better than √ε of the prior's, hence the bound.
    certain = reference.variance > 1e-4 * given_.signal_variance
    np.testing.assert_allclose(sd[certain], np.sqrt(reference.variance[certain]), rtol=1e-8)


@pytest.mark.parametrize("length_scale", [0.05, 0.1, 0.5, 2.0, 10.0])
def test_the_posterior_is_the_dense_one_at_other_length_scales(length_scale: float) -> None:
    x, y = observations(150)
    basis = gp.basis(length_scale)
    f = gp.posterior(gp.sufficient_statistics(basis, x, y), gp.Hyperparameters(0.3, 2.0, 0.05))
    reference = dense(x, y, 0.3, 2.0, 0.05, length_scale)
    np.testing.assert_allclose(gp.curve(basis.at_grid, f)[0], reference.mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(gp.curve(basis.at_grid, f)[1] ** 2, reference.variance, rtol=0, atol=1e-8)
    np.testing.assert_allclose(gp.fall_to_end(basis, f)[0], reference.rise, rtol=0, atol=1e-8)
    np.testing.assert_allclose(gp.fall_to_end(basis, f)[1] ** 2, reference.rise_variance, rtol=0, atol=1e-8)


def test_nothing_cancels_near_the_end() -> None:
    """The sd of f(1) - f(x) beside x = 1, a thousandth of that of f, to 8 digits of 50-digit arithmetic."""
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 50
    x, y = observations(30)
    signal, noise, points = 2.0, 1e-3, [0, 250, 490, 497, 498]
    basis = gp.basis(LENGTH_SCALE)
    rise, sd = gp.fall_to_end(
        basis, gp.posterior(gp.sufficient_statistics(basis, x, y), gp.Hyperparameters(0.5, signal, noise))
    )

    def k(a: float, b: float) -> object:
        return signal * mp.exp(-((mp.mpf(a) - mp.mpf(b)) ** 2) / (2 * mp.mpf(LENGTH_SCALE) ** 2))

    K = mp.matrix([[k(a, b) + (noise if i == j else 0) for j, b in enumerate(x)] for i, a in enumerate(x)])
    residual = mp.matrix([mp.mpf(value) - 0.5 for value in y])
    for i in points:
        at = float(basis.grid[i])
        to_end = mp.matrix([k(a, 1.0) - k(a, at) for a in x])
        solved = mp.lu_solve(K, to_end)
        variance = 2 * (signal - k(at, 1.0)) - (to_end.T * solved)[0]
        assert rise[i] == pytest.approx(float((solved.T * residual)[0]), rel=1e-8, abs=0)
        assert sd[i] == pytest.approx(float(mp.sqrt(variance)), rel=1e-8, abs=0)
    assert sd[499] == 0
    assert rise[499] == 0


def test_the_posterior_survives_data_without_noise() -> None:
    x = np.linspace(0, 1, 500)
    basis = gp.basis(LENGTH_SCALE)
    f = gp.posterior(gp.sufficient_statistics(basis, x, np.cos(5 * x)), gp.Hyperparameters(0.0, 1.0, 1e-12))
    mean, sd = gp.curve(basis.at_grid, f)
    np.testing.assert_allclose(mean, np.cos(5 * basis.grid), rtol=0, atol=1e-5)
    assert np.all((sd >= 0) & (sd < 1e-5))
