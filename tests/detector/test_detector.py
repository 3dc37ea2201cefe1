"""P_min, votes and t* against dense algebra, sampling and hand-made verdicts; what must not matter."""

import math
from dataclasses import replace
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu import Config, Verdict
from autowu.detector import detect as detector
from autowu.detector import fit, gp, noise
from controller.helpers import dense, seeded, v_shape

CONFIG = Config(total_steps=1000)
PAPER = Config.paper(1000, 25)
PLAIN = Config(total_steps=1000, subset_size=None, fit_size=None, spike=None, ceiling=None)
"""All losses, standardised."""


def detect(config: Config, losses: Any, start: int = 0) -> Verdict:
    return detector.detect(config, np.asarray(losses, float), start)[0]


def decision(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.step, verdict.p_min, verdict.detected, verdict.argmins, verdict.no_evidence


def same(a: Verdict, b: Verdict, tolerance: float) -> bool:
    """Whether two verdicts decide alike, with P_min and the minimum's place equal within ``tolerance``."""
    return (
        (a.detected, a.falling, a.no_evidence) == (b.detected, b.falling, b.no_evidence)
        and a.p_min == pytest.approx(b.p_min, abs=tolerance)
        and a.argmins == pytest.approx(b.argmins, abs=tolerance + 1.01 / 499)
    )


# --- P_min --------------------------------------------------------------------------------------------


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> gp.Hyperparameters:
    """Parameters in place of the fitted ones."""
    parameters = gp.Hyperparameters(0.2, 1.5, 0.3)
    monkeypatch.setattr(fit, "maximum", lambda of: parameters)
    return parameters


def reference(losses: np.ndarray, at: gp.Hyperparameters, points: int = gp.GRID) -> Any:
    y = (losses - losses.mean()) / losses.std()
    x = np.arange(len(y)) / len(y)
    return dense(x, y, at.mean, at.signal_variance, at.noise_variance, PLAIN.length_scale, points)


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


# --- the stall -----------------------------------------------------------------------------------------


def flattening(n: int, flat_from: float, noise: float, seed: int = 0) -> np.ndarray:
    """``n`` losses that fall in a straight line from 2 to 1, and stay there from that share of them on."""
    x = np.arange(n) / n
    return 1 + np.maximum(0, 1 - x / flat_from) + noise * np.random.default_rng(seed).standard_normal(n)


def stall(config: Config, losses: np.ndarray, doublings: float) -> Verdict:
    return detector.detect(config, losses, 0, None, doublings)[0]


@pytest.mark.parametrize("doublings", [2.0, 3.7, 9.0])
@pytest.mark.parametrize(("share", "noise"), [(0.25, 0.05), (0.25, 0.4), (0.9, 0.4)])
def test_p_stall_is_that_of_the_dense_formula(
    doublings: float, share: float, noise: float, fixed: gp.Hyperparameters
) -> None:
    losses = flattening(120, 0.7, noise)
    f = reference(losses, fixed)
    expected = 0.0
    for at in range(round((1 - 1 / doublings) * (gp.GRID - 1)), 0, -detector.STRIDE):
        slope = share * (1 - at / (gp.GRID - 1))
        row = np.zeros(gp.GRID)  # of f(x) - f(1) - slope (f(0) - f(1))
        row[at] += 1
        row[[0, -1]] += -slope, slope - 1
        expected = max(expected, NormalDist().cdf(-(row @ f.mean) / math.sqrt(row @ f.covariance @ row)))
    verdict = stall(replace(PLAIN, stall=share), losses, doublings)
    assert set(verdict.p_stall) == {verdict.p_stall[0]}
    assert verdict.p_stall[0] == pytest.approx(expected, abs=1e-6)


def test_a_stall_is_detected_where_no_minimum_is() -> None:
    curves = [flattening(400, 0.6, 0.02, seed) for seed in range(20)]
    assert all(min(stall(CONFIG, losses, 5).p_stall) > 0.95 for losses in curves)
    assert all(stall(CONFIG, losses, 5).detected for losses in curves)
    without = replace(CONFIG, stall=None)  # noise makes some minimum of the flat part now and then
    assert sum(stall(without, losses, 5).detected for losses in curves) <= 10


@pytest.mark.parametrize("curve", [lambda x: 2 - x, lambda x: 2 - x**2, lambda x: 1 + np.exp(-2 * x)])
@pytest.mark.parametrize("noise", [0.001, 0.05, 0.3])
def test_a_loss_that_goes_on_falling_is_no_stall(curve: Any, noise: float) -> None:
    x = np.arange(400) / 400
    random = np.random.default_rng(0)
    curves = [curve(x) + noise * random.standard_normal(400) for _ in range(80)]
    detected = sum(stall(CONFIG, losses, 2 + i % 5).detected for i, losses in enumerate(curves))
    assert detected <= (1 - CONFIG.confidence) * len(curves)


def test_less_than_two_doublings_are_no_stall() -> None:
    losses = flattening(400, 0.3, 0.02)
    assert stall(CONFIG, losses, 1.99).p_stall == (0.0,) * 5
    assert min(stall(CONFIG, losses, 2.0).p_stall) > 0.95


def test_a_stall_votes_where_p_min_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_p_min", lambda rise, sd: (0.96, 0.1, 0.1))
    monkeypatch.setattr(detector, "_p_stall", lambda *_: (0.1, 0.96, 0.2))
    verdict = detect(replace(CONFIG, subsets=3, subset_size=20), v_shape(100, 60, 0.1))
    assert verdict.p_past == (0.96, 0.96, 0.2)
    assert verdict.votes(0.95) == 2
    assert verdict.detected


def test_a_posterior_that_does_not_vary_tells_of_no_stall() -> None:
    basis, given = gp.basis(0.2), gp.Hyperparameters(0.0, 0.0, 1.0)
    m = basis.to_end.shape[1]
    f = gp.Posterior(given, np.zeros((2, m)), np.zeros((2, m, m)))
    with np.errstate(invalid="ignore"):
        assert detector._p_stall(0.25, 4.0, basis, f) == (0.0, 0.0)


def test_the_paper_asks_for_no_stall() -> None:
    verdict = stall(PAPER, flattening(400, 0.6, 0.02), 5)
    assert verdict.p_stall == ()
    assert verdict.p_past == verdict.p_min


# --- the ceiling ---------------------------------------------------------------------------------------


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
    losses = v_shape(2000, 1800, 0.5)
    first = detect(CONFIG, losses)
    assert len(set(first.p_min)) == 5
    assert decision(detect(CONFIG, losses)) == decision(first)
    assert detect(replace(CONFIG, seed=1), losses).p_min != first.p_min
    assert detect(CONFIG, losses, start=1).p_min != first.p_min


def test_no_more_losses_than_a_subset_holds_are_all_of_them() -> None:
    losses = v_shape(500, 300, 0.3)
    assert decision(detect(CONFIG, losses)) == decision(detect(replace(CONFIG, subset_size=None), losses))
    assert len(set(detect(CONFIG, losses).p_min)) == 1
    assert len(detect(CONFIG, losses).p_min) == 5


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
    assert len(set(verdict.p_min)) == 1
    assert verdict.t_star == pytest.approx(15_000, rel=0.02)
    one = detect(replace(PLAIN, subsets=1), losses)
    assert one.p_min == verdict.p_min[:1]


def test_the_global_generators_are_left_alone() -> None:
    np.random.seed(3)  # noqa: NPY002 (it is this state that must not move)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    detect(CONFIG, v_shape(2000, 1800, 0.5))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# --- losses that are not numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite_leave_the_others_at_their_place(
    bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    of_gp = gp.sufficient_statistics

    def spy(basis: gp.Basis, x: np.ndarray, y: np.ndarray) -> gp.SufficientStatistics:
        seen.extend(x)
        return of_gp(basis, x, y)

    monkeypatch.setattr(gp, "sufficient_statistics", spy)
    losses = v_shape(100, 60, 0.05)
    gaps = [0, 17, 18, 19, 60, 99]
    losses[gaps] = bad
    verdict = detect(PLAIN, losses)
    kept = np.delete(np.arange(100), gaps)
    np.testing.assert_array_equal(seen[0], kept / 100)
    assert verdict.step == 100
    assert verdict.t_star == pytest.approx(60, abs=5)


@pytest.mark.parametrize("config", [CONFIG, PAPER])
@given(
    losses=st.lists(
        st.floats(allow_nan=True, allow_infinity=True, width=64) | st.sampled_from([0.0, 1.0, 2.0]),
        max_size=60,
    )
)
@seeded
def test_any_losses_give_a_verdict(config: Config, losses: list[float]) -> None:
    verdict = detect(config, losses)
    if verdict.no_evidence is None:
        assert len(verdict.p_min) == len(verdict.argmins) == config.subsets
        assert all(0 <= p <= 1 for p in (*verdict.p_min, *verdict.argmins))
    else:
        assert (verdict.p_min, verdict.argmins, verdict.detected) == ((), (), False)


def test_one_spike_does_not_move_the_default_preset() -> None:
    losses = v_shape(300, 200, 0.05)
    clean = detect(CONFIG, losses)
    for at in (0, 50, 199, 298, 299):
        spiked = losses.copy()
        spiked[at] = 1e38
        assert same(detect(CONFIG, spiked), clean, 0.02)


# --- scale and shift ----------------------------------------------------------------------------------

SHAPES = [v_shape(n, low, noise, 1) for n, low in ((60, 50), (300, 300), (700, 600)) for noise in (0, 0.1, 2)]


@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize("exponent", [-900, -40, -3, 1, 40, 900])
def test_powers_of_two_change_not_one_bit(shape: int, exponent: int) -> None:
    losses = SHAPES[shape]
    plain, scaled = detect(CONFIG, losses), detect(CONFIG, losses * 2.0**exponent)
    assert decision(scaled) == decision(plain)
    np.testing.assert_array_equal(scaled.mean, plain.mean * 2.0**exponent)
    np.testing.assert_array_equal(scaled.sd, plain.sd * 2.0**exponent)
    assert scaled.noise == plain.noise * 2.0**exponent


@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize("scale", [10.0**k for k in range(-12, 13, 3)])
@pytest.mark.parametrize("shift", [0.0, -3.0, 1e4])
def test_scale_and_shift_do_not_matter(shape: int, scale: float, shift: float) -> None:
    losses = SHAPES[shape]
    assert same(detect(CONFIG, scale * (losses + shift)), detect(CONFIG, losses), 1e-6)


def test_scale_does_not_matter_to_adam_on_standardised_losses() -> None:
    config = replace(PAPER, standardize=True)
    verdicts = []
    for scale in (1.0, 2.0**40, 2.0**-40):
        adam = None
        for n in (50, 75, 150):
            verdict, adam = detector.detect(config, scale * v_shape(200, 100, 0.02)[:n], 0, adam)
            verdicts.append(decision(verdict))
    assert verdicts[:3] == verdicts[3:6] == verdicts[6:]


def test_rising_losses_upside_down_are_falling() -> None:
    losses = v_shape(300, 200, 0.1)
    assert detect(CONFIG, losses).detected
    assert not detect(CONFIG, -losses[::-1] + 0.02 * np.arange(300)[::-1]).detected


# --- no evidence --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(10))
def test_too_few_losses_are_no_evidence(n: int) -> None:
    losses = np.r_[v_shape(n, 5)[:n] if n else [], np.full(20, math.nan)]
    assert detect(CONFIG, losses).no_evidence == f"too few losses: {n} of at least 10"
    assert detect(PAPER, losses[:0]).no_evidence == "too few losses: 0 of at least 2"


@pytest.mark.parametrize("value", [0.0, 2.3, -1e300, 5e-324])
@pytest.mark.parametrize("config", [CONFIG, PAPER])
def test_equal_losses_are_no_evidence(config: Config, value: float) -> None:
    verdict = detect(config, np.full(50, value))
    assert verdict.no_evidence == "all losses are equal"
    assert decision(verdict) == (50, (), False, (), "all losses are equal")
    assert (verdict.mean, verdict.sd, verdict.noise) == (None, None, None)


@pytest.mark.parametrize("config", [CONFIG, PAPER])
def test_a_range_wider_than_floating_point_is_no_evidence(config: Config) -> None:
    verdict = detect(config, np.r_[np.full(30, 1.79e308), np.full(3, -1.79e308)])
    assert verdict.no_evidence is not None
    assert verdict.no_evidence.startswith("numerical failure: ")
    assert not verdict.detected


@pytest.mark.parametrize("config", [CONFIG, PAPER])
@pytest.mark.parametrize("call", range(1, 4))
@pytest.mark.parametrize(
    "error", [np.linalg.LinAlgError("Eigenvalues did not converge"), ZeroDivisionError("x")]
)
def test_a_failure_inside_the_gp_is_no_evidence(
    config: Config, call: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the fit's eigendecomposition, in the posteriors' Cholesky factors, or in their inverses."""
    losses, calls = v_shape(600, 400, 0.1), []
    _, before = detector.detect(config, losses[:300], 0)

    def failing(function: Any, matrix: np.ndarray) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise error
        return function(matrix)

    gp.basis(config.length_scale)
    for name in ("eigh", "cholesky", "inv"):
        monkeypatch.setattr(np.linalg, name, partial(failing, getattr(np.linalg, name)))
    verdict, adam = detector.detect(config, losses, 0, before)
    assert len(calls) == call
    assert verdict.no_evidence == f"numerical failure: {error}"
    assert (verdict.p_min, verdict.detected) == ((), False)
    assert adam == before  # the next test goes on from the last good fit


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_fit_that_is_not_finite_is_no_evidence(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "maximum", lambda of: gp.Hyperparameters(0.0, value, 1.0))
    verdict = detect(CONFIG, v_shape(100, 60))
    assert verdict.no_evidence is not None
    assert verdict.no_evidence.startswith("numerical failure: ")
