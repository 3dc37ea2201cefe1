"""The paper's Algorithm 1 with GPyTorch's dense Gaussian process in float64: slow, plain, independent of
autowu.

Where the paper is silent it takes from the authors' published code the parametrisation and starting values
of the GP, and that fitted values and Adam's moments are carried from one test to the next.

That code is known to do two things more, of which the paper has nothing. ``decide(…, published=True)`` does
them, too:

* before each fit, θ goes back to the mean of all finite losses; σ_f², σ_n² and Adam's moments stay;
* 1e-4 is added to the variance of f(x) - f(1), for all x < 1, whatever the scale of the losses.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# GPyTorch compiles a helper while it is imported. Where warnings are errors, import `gpytorch` from here.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
    import gpytorch

LENGTH_SCALE = 0.2
FIRST_NOISE = 1e-3
FIT_SAMPLES = 100
FIT_STEPS = 100
FIT_LR = 0.01
TESTS = 5
TEST_SAMPLES = 500
GRID_POINTS = 500
CONFIDENCE = 0.95
PATIENCE = 3
PUBLISHED_VARIANCE = 1e-4


@dataclass(frozen=True)
class Test:
    """One test, after `step` updates."""

    __test__ = False  # not a class for pytest to collect

    step: int
    p_min: tuple[float, ...]  # Eq. 4, one for each subset
    argmin: tuple[float, ...]  # in [0, 1], one for each subset
    mean: float  # θ
    signal_variance: float  # σ_f²
    noise_variance: float  # σ_n²

    @property
    def detected(self) -> bool:
        return sum(p > CONFIDENCE for p in self.p_min) > TESTS / 2


@dataclass(frozen=True)
class Decision:
    """When the warm-up ends and where the decay starts; all None if the record ends before."""

    switch_step: int | None  # updates done when the decay begins
    capped: bool | None  # by the cap of ⌊ρ_w T⌋ updates, not by a detection
    t_star: float | None  # Eq. 5, in steps; None if capped
    peak_lr: float | None
    tests: tuple[Test, ...]


def decide(
    losses: Sequence[float],
    total_steps: int,
    steps_per_epoch: int,
    min_lr: float = 1e-5,
    max_lr: float = 1.0,
    warmup_fraction: float = 0.5,
    seed: int = 0,
    published: bool = False,
) -> Decision:
    """What Algorithm 1 does on the losses of updates 0, 1, …; those that are not finite are left out."""
    warmup_steps = math.floor(warmup_fraction * total_steps)
    gamma = (max_lr / min_lr) ** (1 / warmup_steps)
    rng = np.random.default_rng(seed)
    detector = None
    tests: list[Test] = []
    streak = 0
    for t in range(1, min(len(losses), warmup_steps) + 1):  # t losses have been observed
        if t % steps_per_epoch == 0:
            x, y = curve(losses[:t])
            if len(y):
                detector = detector or Detector(y, published=published)
                tests.append(detector.test(t, x, y, rng))
                streak = streak + 1 if tests[-1].detected else 0
        if streak >= PATIENCE:
            t_star = t * float(np.mean(tests[-1].argmin))
            return Decision(t, False, t_star, gamma**t_star * min_lr, tuple(tests))
    if len(losses) >= warmup_steps:
        return Decision(warmup_steps, True, None, max_lr, tuple(tests))
    return Decision(None, None, None, None, tuple(tests))


def curve(losses: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The finite losses and where they lie in [0, 1): x = s/t (Eq. 2)."""
    y = torch.tensor(losses, dtype=torch.float64)
    x = torch.arange(len(losses), dtype=torch.float64) / len(losses)
    return x[y.isfinite()], y[y.isfinite()]


class ExactGP(gpytorch.models.ExactGP):
    """f ~ GP(θ, σ_f² exp(-(x-x')²/2ℓ²)), observed with noise σ_n² (Eq. 2)."""

    def __init__(self, mean: Tensor):
        likelihood = gpytorch.likelihoods.GaussianLikelihood()  # σ_n² = softplus(raw) + 1e-4
        super().__init__(None, None, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        # σ_f² = softplus(raw), which starts at raw = 0
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
        self.double()
        self.mean_module.constant.data = mean
        # As tensors: GPyTorch would round Python floats to float32.
        self.likelihood.noise = torch.tensor(FIRST_NOISE, dtype=torch.float64)
        self.covar_module.base_kernel.lengthscale = torch.tensor(LENGTH_SCALE, dtype=torch.float64)
        self.covar_module.base_kernel.raw_lengthscale.requires_grad_(False)

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Detector:
    """The GP and its Adam, which live through all tests of a run."""

    def __init__(self, first_losses: Tensor, *, published: bool = False):
        self.published = published
        self.gp = ExactGP(first_losses.mean())
        fitted = [parameter for parameter in self.gp.parameters() if parameter.requires_grad]
        self.adam = torch.optim.Adam(fitted, lr=FIT_LR)

    def test(self, step: int, x: Tensor, y: Tensor, rng: np.random.Generator) -> Test:
        if self.published:
            self.gp.mean_module.constant.data = y.mean()
        with dense_algebra():
            self.fit(*subset(x, y, FIT_SAMPLES, rng))
            inferences = [self.infer(*subset(x, y, TEST_SAMPLES, rng)) for _ in range(TESTS)]
        p_min, argmin = zip(*inferences, strict=True)
        return Test(
            step,
            p_min,
            argmin,
            self.gp.mean_module.constant.item(),
            self.gp.covar_module.outputscale.item(),
            self.gp.likelihood.noise.item(),
        )

    def fit(self, x: Tensor, y: Tensor) -> None:
        """Ascend the marginal log-likelihood per datum."""
        self.gp.set_train_data(x, y, strict=False)
        self.gp.train()
        marginal_log_likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(self.gp.likelihood, self.gp)
        for _ in range(FIT_STEPS):
            self.adam.zero_grad()
            loss = -marginal_log_likelihood(self.gp(x), y)
            loss.backward()
            self.adam.step()

    @torch.no_grad()
    def infer(self, x: Tensor, y: Tensor) -> tuple[float, float]:
        """P_min (Eq. 4) and the argmin of the posterior mean, given the losses y at x."""
        self.gp.set_train_data(x, y, strict=False)
        self.gp.eval()
        grid = torch.linspace(0, 1, GRID_POINTS, dtype=torch.float64)
        posterior = self.gp(grid)
        mean, covariance = posterior.mean, posterior.covariance_matrix
        variance = covariance.diagonal()
        # Of f(x) - f(1), for x < 1: at x = 1 it is 0 for sure. Rounding may leave a variance just below 0.
        difference_variance = (variance + variance[-1] - 2 * covariance[:, -1]).clamp_min(1e-300)
        difference_variance += PUBLISHED_VARIANCE if self.published else 0.0
        z = (mean[-1] - mean[:-1]) / difference_variance[:-1].sqrt()
        return torch.special.ndtr(z).max().item(), grid[mean.argmin()].item()


def subset(x: Tensor, y: Tensor, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.from_numpy(rng.permutation(len(x))[:size])
    return x[chosen], y[chosen]


def dense_algebra() -> gpytorch.settings.fast_computations:
    """A context in which GPyTorch factorises the n x n matrix (Cholesky) rather than iterating."""
    return gpytorch.settings.fast_computations(covar_root_decomposition=False, log_prob=False, solves=False)
