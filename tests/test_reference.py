"""The GPyTorch reference of the paper's algorithm: closed forms, known answers, its own golden record."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gpytorch")

import torch

from reference import curves
from reference.make_golden import golden
from reference.paper_gpytorch import FIT_STEPS, LENGTH_SCALE, Detector, curve, decide, dense_algebra, gpytorch

TOTAL_STEPS, STEPS_PER_EPOCH, LOWEST = 400, 25, 100
GAMMA = 1e5 ** (1 / 200)


def v_shaped(steps: int = 200, noise: float = 0.02) -> list[float]:
    """Losses that fall by 1 up to step LOWEST, then rise as fast."""
    step = np.arange(steps)
    return list(1 + abs(step - LOWEST) / LOWEST + noise * np.random.default_rng(0).standard_normal(steps))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_finds_the_minimum_of_a_v():
    decision = decide(v_shaped(), TOTAL_STEPS, STEPS_PER_EPOCH)

    assert [test.step for test in decision.tests] == list(range(25, decision.switch_step + 1, 25))
    assert not decision.capped
    assert [test.detected for test in decision.tests[-4:]] == [False, True, True, True]
    assert decision.switch_step == 175  # the rise shows at 125; two more detections follow
    assert decision.t_star == pytest.approx(LOWEST, abs=5)
    assert decision.t_star == decision.switch_step * np.mean(decision.tests[-1].argmin)
    assert decision.peak_lr == pytest.approx(1e-5 * GAMMA**decision.t_star, rel=1e-12)


def test_cap_when_the_loss_only_falls():
    falling = list(np.linspace(2, 1, 200))

    decision = decide(falling, TOTAL_STEPS, steps_per_epoch=50, max_lr=3.0)

    assert (decision.switch_step, decision.capped, decision.t_star) == (200, True, None)
    assert decision.peak_lr == 3.0


def test_no_decision_when_the_record_ends_early():
    decision = decide(v_shaped(steps=140), TOTAL_STEPS, STEPS_PER_EPOCH)

    assert (decision.switch_step, decision.capped, decision.t_star, decision.peak_lr) == (None,) * 4
    assert len(decision.tests) == 5


def test_losses_that_are_not_finite_are_left_out():
    with_gaps = v_shaped()
    with_gaps[:25] = [math.nan] * 25
    with_gaps[90:95] = [math.inf] * 5

    decision = decide(with_gaps, TOTAL_STEPS, STEPS_PER_EPOCH)

    assert decision.tests[0].step == 50  # nothing to test on at 25
    assert decision.t_star == pytest.approx(LOWEST, abs=5)


def test_seed_decides_the_subsets():
    # One test, on 150 losses: enough of them for the fit to take a true subset.
    decisions = [decide(v_shaped(), TOTAL_STEPS, steps_per_epoch=150, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (decision.tests[0].noise_variance for decision in decisions)
    assert first == again
    assert first != other


def test_posterior_is_the_textbook_one():
    """P_min and argmin by dense algebra in NumPy (Rasmussen & Williams, eqs. 2.25 and 2.26)."""
    x, y = curve(v_shaped(steps=90))  # where P_min is far from 0 and from 1
    detector = Detector(y)
    with dense_algebra():
        detector.fit(x[::2], y[::2])
        p_min, argmin = detector.infer(x, y)
        gp = detector.gp
        mean, signal, noise = (
            value.item()
            for value in (gp.mean_module.constant, gp.covar_module.outputscale, gp.likelihood.noise)
        )

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return signal * np.exp(-((a[:, None] - b) ** 2) / (2 * LENGTH_SCALE**2))

    x, y, grid = x.numpy(), y.numpy(), np.linspace(0, 1, 500)
    gain = np.linalg.solve(kernel(x, x) + noise * np.eye(len(x)), kernel(x, grid)).T
    posterior_mean = mean + gain @ (y - mean)
    covariance = kernel(grid, grid) - gain @ kernel(x, grid)
    difference_variance = covariance.diagonal() + covariance[-1, -1] - 2 * covariance[:, -1]
    z = (posterior_mean[-1] - posterior_mean[:-1]) / np.sqrt(difference_variance[:-1])
    assert argmin == pytest.approx(grid[posterior_mean.argmin()], abs=1e-12)
    assert p_min == pytest.approx(0.5 * math.erfc(-z.max() / math.sqrt(2)), abs=1e-9)


def test_fit_raises_the_likelihood_from_the_published_start():
    x, y = curve(v_shaped(steps=80))
    detector = Detector(y)
    gp = detector.gp
    assert gp.mean_module.constant.item() == y.mean().item()
    assert gp.covar_module.outputscale.item() == pytest.approx(math.log(2), rel=1e-12)
    assert gp.likelihood.noise.item() == pytest.approx(1e-3, rel=1e-12)

    log_likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(gp.likelihood, gp)

    def value() -> float:
        gp.set_train_data(x, y, strict=False)
        gp.train()
        with torch.no_grad():
            return log_likelihood(gp(x), y).item()

    with dense_algebra():
        before = value()
        detector.fit(x, y)
        assert value() > before
    assert gp.covar_module.base_kernel.lengthscale.item() == pytest.approx(LENGTH_SCALE, rel=1e-12)
    assert {int(state["step"]) for state in detector.adam.state.values()} == {FIT_STEPS}


def test_global_settings_are_left_alone():
    def settings() -> tuple[object, ...]:
        fast = gpytorch.settings.fast_computations
        return (
            torch.get_default_dtype(),
            fast.covar_root_decomposition.on(),
            fast.log_prob.on(),
            fast.solves.on(),
            torch.random.get_rng_state().tolist(),
        )

    before = settings()
    decide(v_shaped(steps=30), TOTAL_STEPS, STEPS_PER_EPOCH)
    assert settings() == before


def test_golden_entry_can_be_reproduced():
    name, seed = "fashion-mlp-ln-adamw", 1
    expected = json.loads((curves.FOLDER / "golden.json").read_text())["decisions"][name][str(seed)]

    decision = golden(decide(curves.losses(name), **curves.schedule(name), seed=seed))

    assert decision == pytest.approx(expected)


def test_every_curve_has_its_record():
    for name, entry in curves.INDEX.items():
        losses = curves.losses(name)
        assert len(losses) == math.floor(entry["warmup_fraction"] * entry["total_steps"])
        assert np.nanmin(losses) < losses[0]
