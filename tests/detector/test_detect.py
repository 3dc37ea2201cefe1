"""P_min, votes and t* against dense algebra, sampling and hand-made verdicts."""

import math
from dataclasses import astuple, replace
from statistics import NormalDist

import numpy as np
import pytest

from autowu import Config, Verdict
from autowu.detector import detect as detector
from autowu.detector import fit, gp, noise
from controller.helpers import v_shape

from .dense import dense
from .tested import CONFIG, PAPER, PLAIN, decision, detect, reference

# --- P_min --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "lowest"), [(40, 39), (60, 50), (100, 80), (100, 20), (300, 270)])
@pytest.mark.parametrize("noise", [0.01, 0.5])
def test_p_min_and_argmin_are_those_of_the_dense_formula(
    n: int, lowest: int, noise: float, fixed: gp.Hyperparameters
) -> None:
    losses = v_shape(n, lowest, noise)
    verdict = detect(PLAIN, losses)
    f = reference(losses, fixed)
    z = f.rise[:-1] / np.sqrt(f.rise_variance[:-1])
    assert set(verdict.p_min) == {verdict.p_min[0]}
    assert verdict.p_min[0] == pytest.approx(NormalDist().cdf(z.max()), abs=1e-6)
    assert verdict.argmins[0] == pytest.approx(np.argmin(f.mean) / 499, abs=1e-12)


def test_p_min_is_the_share_of_sampled_curves(fixed: gp.Hyperparameters) -> None:
    losses = v_shape(60, 45, 0.5)
    y = (losses - losses.mean()) / losses.std()
    x, grid = np.arange(60) / 60, np.linspace(0, 1, 500)

    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return fixed.signal_variance * np.exp(-((a[:, None] - b) ** 2) / (2 * 0.2**2))

    gain = np.linalg.solve(k(x, x) + fixed.noise_variance * np.eye(60), k(x, grid)).T
    mean, covariance = fixed.mean + gain @ (y - fixed.mean), k(grid, grid) - gain @ k(x, grid)
    values, vectors = np.linalg.eigh(covariance)
    random = np.random.default_rng(0)
    samples = (vectors * np.sqrt(np.maximum(values, 0))) @ random.standard_normal((500, 20_000)) + mean[
        :, None
    ]
    shares = (samples[:-1] < samples[-1]).mean(1)
    p = detect(PLAIN, losses).p_min[0]
    assert 0.05 < p < 0.999  # a case that tells something
    assert shares.max() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 20_000))
    assert p <= (samples[:-1].min(0) < samples[-1]).mean() + 0.01  # the lower bound of Eq. 3 that it is


def test_the_verdict_keeps_the_curve_and_its_band(fixed: gp.Hyperparameters) -> None:
    losses = 7 + 3 * v_shape(80, 50, 0.1)
    verdict = detect(PLAIN, losses)
    f, scale = reference(losses, fixed, gp.CURVE_POINTS), losses.std()
    assert verdict.mean is not None
    assert verdict.sd is not None
    np.testing.assert_allclose(verdict.mean, losses.mean() + scale * f.mean, rtol=1e-8)
    np.testing.assert_allclose(verdict.sd, scale * np.sqrt(f.variance), rtol=1e-6)
    assert verdict.noise == pytest.approx(scale * math.sqrt(fixed.noise_variance), rel=1e-12)


def test_the_band_covers_the_curve_it_smooths() -> None:
    truth = 1 + np.cos(np.arange(400) / 130)
    verdict = detect(CONFIG, truth + 0.1 * np.random.default_rng(0).standard_normal(400))
    at = np.interp(np.linspace(0, 1, 101), np.arange(400) / 400, truth)[:-1]
    assert np.all(np.abs(verdict.mean[:-1] - at) < 4 * verdict.sd[:-1])
    assert verdict.noise == pytest.approx(0.1, rel=0.1)


# --- as published -------------------------------------------------------------------------------------


def test_as_published_p_min_is_the_dense_formula_with_1e_4_more_variance() -> None:
    """The fit is checked in test_fit.py and, test by test, in tests/offline/test_replay.py."""
    losses = 0.03 * v_shape(90, 60, 0.05)  # a loss on which 1e-4 is not nothing
    adam = fit.AdamState((5.0, -4.0, -8.0), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), count=100)
    published = replace(PAPER, fit="published")
    verdict, after = detector.detect(published, losses, 0, adam)
    assert after is not None
    statistics = gp.sufficient_statistics(gp.basis(0.2), np.arange(90) / 90, losses)
    assert after == fit.adam(statistics, replace(adam, raw=(losses.mean(), -4.0, -8.0)))
    f = dense(np.arange(90) / 90, losses, *astuple(after.parameters), 0.2)
    z = f.rise[:-1] / np.sqrt(f.rise_variance[:-1] + 1e-4)
    assert verdict.p_min == pytest.approx([NormalDist().cdf(z.max())] * 5, abs=1e-9)
    assert 0.5 < verdict.p_min[0] < 0.999  # a case that tells something


@pytest.mark.parametrize(("scale", "detected"), [(1.0, True), (0.1, True), (0.01, False)])
def test_as_published_the_decision_depends_on_the_scale_of_the_loss(scale: float, detected: bool) -> None:
    losses = scale * v_shape(90, 60, 0.02)
    assert detect(replace(PAPER, fit="published"), losses).detected == detected


# --- the ceiling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [1e30, 1e60, 1e150])
def test_a_divergence_without_bound_is_detected(factor: float, seed: int) -> None:
    """20 updates of exponential growth, after a V that has its minimum at 200."""
    losses = v_shape(320, 200, 0.02, seed)
    losses[-20:] *= factor ** (np.arange(1, 21) / 20)
    verdict = detect(CONFIG, losses)
    assert verdict.detected
    assert verdict.t_star is not None
    assert 190 < verdict.t_star < 300
    assert not detect(replace(CONFIG, ceiling=None), losses).detected  # so there is need of it


def test_the_ceiling_is_the_formula_and_changes_nothing_below_it() -> None:
    losses = v_shape(200, 100, 0.05)
    assert noise.below_ceiling(losses, 1.0) is losses
    losses[150:] *= 3
    first, least = np.sort(losses[:20])[10], np.median(losses.reshape(-1, 5), axis=1).min()
    for falls in (0.5, 1.0, 3.0):
        level = first + 4 * noise.noise_level(losses) + falls * (first - least)
        found = noise.below_ceiling(losses, falls)
        np.testing.assert_array_equal(found, np.minimum(losses, level))
    assert (noise.below_ceiling(losses, 0.5) < losses).any()


# --- votes and t* -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p_min", "detected"),
    [
        ((0.96, 0.96, 0.96, 0.1, 0.1), True),
        ((0.96, 0.96, 0.95, 0.1, 0.1), False),  # 'exceed'
        ((0.96, 0.96, 0.1, 0.1), False),  # a tie is no majority
        ((0.951,), True),
        ((0.949,), False),
    ],
)
def test_most_subsets_must_exceed_the_confidence(
    p_min: tuple[float, ...], detected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "_p_min", lambda rise, sd: p_min)
    config = replace(CONFIG, subsets=len(p_min), subset_size=20)
    verdict = detect(config, v_shape(100, 60, 0.1))
    assert verdict.p_min == p_min
    assert verdict.detected == detected


def test_t_star_is_eq_5() -> None:
    verdict = Verdict(step=520, start=120, p_min=(1.0,) * 3, detected=True, argmins=(0.25, 0.5, 0.7))
    assert verdict.argmin == pytest.approx(1.45 / 3, rel=1e-15)
    assert verdict.t_star == pytest.approx(120 + 400 * 1.45 / 3, rel=1e-15)
    from_the_start = replace(verdict, start=0)
    assert from_the_start.t_star == pytest.approx(520 * 1.45 / 3, rel=1e-15)
    assert Verdict(step=3, start=0).argmin is None
    assert Verdict(step=3, start=0).t_star is None


def test_falling_is_for_most_subsets_to_be_least_at_the_end() -> None:
    assert Verdict(9, 0, argmins=(1.0, 1.0, 0.3)).falling
    assert not Verdict(9, 0, argmins=(1.0, 0.998, 0.3)).falling
    assert not Verdict(9, 0, argmins=(1.0, 0.998)).falling
    assert not Verdict(9, 0).falling
    assert detect(CONFIG, 3 - 0.01 * np.arange(100)).falling
    assert not detect(CONFIG, v_shape(100, 70)).falling


@pytest.mark.parametrize("start", [0, 137])
@pytest.mark.parametrize("config", [CONFIG, PAPER, PLAIN])
def test_the_minimum_of_a_v_is_found(config: Config, start: int) -> None:
    falling = detect(config, v_shape(400, 400, 0.05, seed=1), start)
    assert not falling.detected
    past = detect(config, v_shape(400, 250, 0.05, seed=1), start)
    assert past.detected
    assert min(past.p_min) > 0.9999
    assert (past.start, past.step) == (start, start + 400)
    assert past.t_star == pytest.approx(start + 250, abs=12)


# --- subsets ------------------------------------------------------------------------------------------


def test_subsets_differ_and_depend_on_seed_and_step_alone() -> None:
    losses, config = v_shape(2000, 1800, 0.5), replace(CONFIG, subsets=5, subset_size=500)
    first = detect(config, losses)
    assert len(set(first.p_min)) == 5
    assert decision(detect(config, losses)) == decision(first)
    assert detect(replace(config, seed=1), losses).p_min != first.p_min
    assert detect(config, losses, start=1).p_min != first.p_min


def test_no_more_losses_than_a_subset_holds_are_all_of_them() -> None:
    losses, five = v_shape(500, 300, 0.3), replace(CONFIG, subsets=5)
    assert decision(detect(replace(five, subset_size=500), losses)) == decision(detect(five, losses))
    assert detect(five, losses).p_min == 5 * detect(CONFIG, losses).p_min
    assert detect(five, losses).argmin == detect(CONFIG, losses).argmin


def test_subsets_have_the_sizes_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    of_gp = gp.sufficient_statistics

    def spy(basis: gp.Basis, x: np.ndarray, y: np.ndarray) -> gp.SufficientStatistics:
        sizes.extend(len(np.unique(one)) for one in x)
        return of_gp(basis, x, y)

    monkeypatch.setattr(gp, "sufficient_statistics", spy)
    detect(PAPER, v_shape(900, 600, 0.1))
    assert sizes == [100, 500, 500, 500, 500, 500]


def test_all_losses_may_be_used() -> None:
    losses = v_shape(20_000, 15_000, 0.5)
    verdict = detect(PLAIN, losses)
    assert verdict.detected
    assert len(verdict.p_min) == 1
    assert verdict.t_star == pytest.approx(15_000, rel=0.02)


def test_the_global_generators_are_left_alone() -> None:
    np.random.seed(3)  # noqa: NPY002 (it is this state that must not move)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    detect(CONFIG, v_shape(2000, 1800, 0.5))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# --- where the decay begins ---------------------------------------------------------------------------


def test_the_peak_is_halfway_from_where_the_loss_has_become_flat_to_where_it_is_least() -> None:
    mean = np.r_[np.linspace(2, 1, 41), np.full(30, 1.0), np.linspace(1, 2, 30)]
    mean[60] = 0.999
    verdict = Verdict(300, 100, argmins=(0.6,), mean=mean)
    assert verdict.peak_at(None) == verdict.t_star == pytest.approx(220)
    # Within a twentieth of the fall, 1.05 at most, from point 39 on: half of 21 points, of two updates each.
    assert verdict.peak_at(0.05) == pytest.approx(220 - 21)
    assert verdict.peak_at(0.15) == pytest.approx(220 - 25)
