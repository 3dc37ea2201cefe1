"""The marginal likelihood and its fits against dense algebra, GPyTorch, scikit-learn, PyTorch and SciPy."""

import math
from collections.abc import Iterator
from dataclasses import astuple
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from autowu.detector import fit, gp
from controller.helpers import v_shape
from reference import curves

from .dense import dense, kernel
from .likelihood import gradient, log_marginal_likelihood

LENGTH_SCALE = 0.2
PARAMETERS = [
    gp.Hyperparameters(mean, signal, signal * ratio)
    for mean, signal, ratio in product([0.0, 1.7], [1e-2, 1.0, 50.0], [1e-4, 1e-2, 1.0, 100.0])
]


def observations(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = np.sort(random.random(n))
    return x, np.cos(5 * x) + 0.1 * random.standard_normal(n)


def sufficient_statistics(x: np.ndarray, y: np.ndarray) -> gp.SufficientStatistics:
    return gp.sufficient_statistics(gp.basis(LENGTH_SCALE), x, y)


def spectrum(x: np.ndarray, y: np.ndarray) -> fit.Spectrum:
    return fit.spectrum(sufficient_statistics(x, y))


# --- the marginal likelihood --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 10, 100, 300])
@pytest.mark.parametrize("at", PARAMETERS)
def test_value_and_gradient_are_those_of_the_dense_formulas(n: int, at: gp.Hyperparameters) -> None:
    x, y = observations(n)
    s = spectrum(x, y)
    reference = dense(x, y, *astuple(at), LENGTH_SCALE)
    value = log_marginal_likelihood(s, at)
    assert value == pytest.approx(reference.log_marginal_likelihood, rel=1e-9, abs=1e-9)
    assert gradient(s, at) == pytest.approx(reference.gradient, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("at", PARAMETERS)
def test_the_gradient_is_the_central_difference(at: gp.Hyperparameters) -> None:
    s = spectrum(*observations(200))

    def slope(i: int, h: float) -> float:
        values = list(astuple(at))
        ends = [values[i] + h, values[i] - h]
        above, below = (gp.Hyperparameters(*[*values[:i], end, *values[i + 1 :]]) for end in ends)
        rise = log_marginal_likelihood(s, above) - log_marginal_likelihood(s, below)
        return rise / (ends[0] - ends[1])

    for i, exact in enumerate(gradient(s, at)):
        h = 1e-3 * max(abs(astuple(at)[i]), math.sqrt(at.noise_variance) if i == 0 else 0)
        richardson = (4 * slope(i, h / 2) - slope(i, h)) / 3  # error h⁴
        assert exact == pytest.approx(richardson, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("at", PARAMETERS)
def test_value_and_gradient_are_those_of_scikit_learn(at: gp.Hyperparameters) -> None:
    gaussian_process = pytest.importorskip("sklearn.gaussian_process")
    kernels = gaussian_process.kernels
    x, y = observations(60)
    model = gaussian_process.GaussianProcessRegressor(
        kernels.ConstantKernel(1.0) * kernels.RBF(LENGTH_SCALE, "fixed") + kernels.WhiteKernel(1.0),
        alpha=0.0,
        optimizer=None,
    )
    # scikit-learn's prior mean is zero, and it knows the logarithms of the variances.
    model.fit(x[:, None], y - at.mean)
    logs = np.log([at.signal_variance, at.noise_variance])
    value, slopes = model.log_marginal_likelihood(logs, eval_gradient=True)

    s = spectrum(x, y)
    assert log_marginal_likelihood(s, at) == pytest.approx(value, rel=1e-9, abs=1e-9)
    by_signal, by_noise = slopes / np.exp(logs)
    assert gradient(s, at)[1:] == pytest.approx((by_signal, by_noise), rel=1e-7, abs=1e-7)


@pytest.fixture(scope="module")
def gpytorch_route() -> Iterator[SimpleNamespace]:
    """PyTorch on one thread, and the reference of the paper's algorithm."""
    torch = pytest.importorskip("torch")
    paper = pytest.importorskip("reference.paper_gpytorch", exc_type=ImportError)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield SimpleNamespace(torch=torch, paper=paper, gpytorch=paper.gpytorch)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("at", PARAMETERS[::3])
def test_value_and_gradient_are_those_of_gpytorch(
    at: gp.Hyperparameters, gpytorch_route: SimpleNamespace
) -> None:
    torch, paper, gpytorch = gpytorch_route.torch, gpytorch_route.paper, gpytorch_route.gpytorch
    noise = max(at.noise_variance, 2e-4)  # its likelihood does not go below 1e-4
    x, y = observations(80)
    tx, ty = torch.tensor(x), torch.tensor(y)
    model = paper.ExactGP(torch.tensor(at.mean, dtype=torch.float64))
    # As tensors: GPyTorch rounds Python numbers to float32.
    model.covar_module.base_kernel.lengthscale = torch.tensor(LENGTH_SCALE, dtype=torch.float64)
    model.covar_module.outputscale = torch.tensor(at.signal_variance, dtype=torch.float64)
    model.likelihood.noise = torch.tensor(noise, dtype=torch.float64)
    model.set_train_data(tx, ty, strict=False)
    model.train()
    with paper.dense_algebra():
        value = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)(model(tx), ty) * len(y)
    value.backward()
    by_raw = [p.grad.item() for p in (model.mean_module.raw_constant, model.covar_module.raw_outputscale,
                                      model.likelihood.noise_covar.raw_noise)]  # fmt: skip

    s, at = spectrum(x, y), gp.Hyperparameters(at.mean, at.signal_variance, noise)
    assert log_marginal_likelihood(s, at) == pytest.approx(value.item(), rel=1e-9, abs=1e-9)
    by_mean, by_signal, by_noise = gradient(s, at)
    chain = [-math.expm1(-v) for v in (at.signal_variance, noise - 1e-4)]  # softplus' at softplus = v
    assert (by_mean, by_signal * chain[0], by_noise * chain[1]) == pytest.approx(by_raw, rel=1e-7, abs=1e-7)


def test_the_cost_of_an_evaluation_does_not_depend_on_n() -> None:
    few, many = spectrum(*observations(100)), spectrum(*observations(50_000))
    assert len(few.eigenvalues) <= len(many.eigenvalues) <= gp.basis(LENGTH_SCALE).rotation.shape[1]


def test_losses_with_an_offset_have_the_same_likelihood() -> None:
    x, y = observations(100)
    at = gp.Hyperparameters(0.4, 1.3, 0.02)
    moved = gp.Hyperparameters(1000.4, 1.3, 0.02)
    value = log_marginal_likelihood(spectrum(x, y), at)
    assert log_marginal_likelihood(spectrum(x, y + 1000), moved) == pytest.approx(value, rel=1e-9)


# --- Adam, as in the paper ----------------------------------------------------------------------------


def test_adam_starts_where_the_published_code_does() -> None:
    at = fit.AdamState.start(2.3).parameters
    assert astuple(at) == pytest.approx((2.3, math.log(2), 1e-3), rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_adam_is_that_of_pytorch_on_gpytorchs_model(seed: int, gpytorch_route: SimpleNamespace) -> None:
    torch, paper = gpytorch_route.torch, gpytorch_route.paper
    losses = v_shape(200, 100, noise=0.05, seed=seed)
    detector = paper.Detector(torch.tensor(losses[:60]))
    state = fit.AdamState.start(losses[:60].mean())
    for tests, n in enumerate((60, 100, 200), 1):  # carried from one test to the next
        x, y = np.arange(n) / n, losses[:n]
        with paper.dense_algebra():
            detector.fit(torch.tensor(x), torch.tensor(y))
        state = fit.adam(sufficient_statistics(x, y), state)
        model = detector.gp
        raw = [model.mean_module.raw_constant, model.covar_module.raw_outputscale,
               model.likelihood.noise_covar.raw_noise]  # fmt: skip
        assert state.raw == pytest.approx([p.item() for p in raw], rel=1e-8, abs=1e-8)
        moments_of_adam = [detector.adam.state[p] for p in raw]
        for own, theirs in ((state.first, "exp_avg"), (state.second, "exp_avg_sq")):
            assert own == pytest.approx([m[theirs].item() for m in moments_of_adam], rel=1e-6, abs=1e-12)
        assert state.count == 100 * tests


def test_carried_on_100_steps_twice_are_200_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    m, begin = sufficient_statistics(*observations(80)), fit.AdamState.start(0.1)
    twice = fit.adam(m, fit.adam(m, begin))
    monkeypatch.setattr(fit, "STEPS", 200)
    assert fit.adam(m, begin) == twice


def test_an_offset_of_the_losses_makes_no_difference_to_adam() -> None:
    x, y = observations(80)
    plain = fit.adam(sufficient_statistics(x, y), fit.AdamState.start(float(y.mean())))
    moved = fit.adam(sufficient_statistics(x, y + 1000), fit.AdamState.start(float(y.mean()) + 1000))
    assert moved.raw == pytest.approx((plain.raw[0] + 1000, *plain.raw[1:]), rel=0, abs=1e-9)


# --- the maximum --------------------------------------------------------------------------------------


def standardized(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = np.isfinite(losses)
    y = losses[kept]
    return np.flatnonzero(kept) / len(losses), (y - y.mean()) / y.std()


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Recorded curves as the tests of a run would fit them, and synthetic ones: at most 500 losses each."""
    found = {}
    for name in curves.INDEX:
        losses = np.array(curves.losses(name))
        for share in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0):
            part = losses[: max(12, round(share * len(losses)))]
            x, y = standardized(part)
            keep = np.sort(np.random.default_rng(0).permutation(len(x))[:500])
            if len(x) >= 10:
                found[f"{name}:{len(part)}"] = x[keep], y[keep]
    for n, noise, seed in product((12, 40, 300), (0.0, 1e-3, 0.03, 0.3, 3.0), (0, 1)):
        found[f"v:{n}:{noise}:{seed}"] = standardized(v_shape(n, n // 2, noise, seed))
        steps = np.arange(n) / n
        flat = 2 - np.exp(-(((steps - 0.7) / 0.1) ** 2))
        bump = flat + noise * np.random.default_rng(seed).standard_normal(n)
        found[f"bump:{n}:{noise}:{seed}"] = standardized(bump)
    for n, seed in product((10, 30, 300), range(5)):
        found[f"noise:{n}:{seed}"] = standardized(np.random.default_rng(seed).standard_normal(n))
    return found


CASES = cases()


class Full:
    """The marginal likelihood by the n × n matrix's own eigenvalues."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self.eigenvalues, vectors = np.linalg.eigh(kernel(x, x, LENGTH_SCALE))
        self.eigenvalues = np.maximum(self.eigenvalues, 0)
        self.y, self.one = vectors.T @ y, vectors.T @ np.ones(len(y))

    def value(self, mean: float, signal: float, noise: float) -> float:
        v = signal * self.eigenvalues + noise
        r = self.y - mean * self.one
        return -0.5 * float((r * r / v + np.log(2 * math.pi * v)).sum())

    def slopes(self, mean: float, signal: float, noise: float) -> tuple[float, float, float]:
        v = signal * self.eigenvalues + noise
        r = self.y - mean * self.one
        by_v = 0.5 * (r * r / v - 1) / v
        return float((self.one * r / v).sum()), float(self.eigenvalues @ by_v), float(by_v.sum())

    def greatest(self) -> float:
        """From nine starts, over the range of σ_n² / σ_f² that is asked for."""
        optimize = pytest.importorskip("scipy.optimize")

        def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
            signal, noise = math.exp(z[1]), math.exp(z[1] + z[2])
            slopes = self.slopes(z[0], signal, noise)
            by_log_signal = slopes[1] * signal + slopes[2] * noise
            return -self.value(z[0], signal, noise), -np.array([slopes[0], by_log_signal, slopes[2] * noise])

        bounds = [(None, None), (-40, 40), fit.LOG_RATIO]
        best = -math.inf
        for log_ratio in np.linspace(-16, 12, 9):
            start = np.array([0.0, -max(log_ratio, 0.0), log_ratio])
            for _ in range(3):  # from where it stopped: its memory of the curvature is what stops it
                found = optimize.minimize(
                    negative, start, jac=True, bounds=bounds, method="L-BFGS-B",
                    options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500},
                )  # fmt: skip
                best = max(best, -float(found.fun))
                start = found.x
        return best


@pytest.mark.parametrize("name", CASES)
def test_maximum_is_the_best_of_many_dense_searches(name: str) -> None:
    x, y = CASES[name]
    full = Full(x, y)
    found = full.value(*astuple(fit.maximum(sufficient_statistics(x, y))))
    assert found >= full.greatest() - 1e-5


def test_maximum_is_better_than_100_steps_of_adam_on_every_curve() -> None:
    gains = {}
    for name, (x, y) in CASES.items():
        m = sufficient_statistics(x, y)
        by_adam = fit.adam(m, fit.AdamState.start(0.0)).parameters
        full = Full(x, y)
        gains[name] = full.value(*astuple(fit.maximum(m))) - full.value(*astuple(by_adam))
    assert len(gains) > 150
    worse = {name: gain for name, gain in gains.items() if gain < 0}
    assert worse == {}
    # Adam is still on its way, by more than a unit of log-likelihood, on most of them.
    assert np.median(list(gains.values())) > 1


def test_maximum_of_losses_that_are_nearly_equal() -> None:
    # As in a subset without the one huge loss that set the scale of the others.
    x = np.arange(300) / 300
    noise = np.random.default_rng(0).standard_normal(300)
    at = fit.maximum(sufficient_statistics(x, -0.039 + 1e-10 * noise))
    alone = fit.maximum(sufficient_statistics(x, noise))
    assert at.noise_variance == pytest.approx(1e-20 * alone.noise_variance, rel=1e-3)


def test_maximum_at_the_ends_of_its_range_is_finite() -> None:
    x = np.linspace(0, 1, 50)
    for y in (np.cos(3 * x), np.random.default_rng(0).choice([-1.0, 1.0], 50)):
        at = fit.maximum(sufficient_statistics(x, y))
        assert all(map(math.isfinite, astuple(at)))
        assert at.signal_variance > 0
        assert at.noise_variance > 0


@pytest.mark.parametrize("exponent", [-500, -40, 40, 500])
def test_maximum_scales_with_the_losses(exponent: int) -> None:
    x, y = observations(100)
    scale = math.ldexp(1.0, exponent // 2)  # a power of two: not one bit of the result differs
    at, scaled = fit.maximum(sufficient_statistics(x, y)), fit.maximum(sufficient_statistics(x, scale * y))
    assert astuple(scaled) == (scale * at.mean, scale**2 * at.signal_variance, scale**2 * at.noise_variance)
