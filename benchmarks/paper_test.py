"""One test of the paper preset against GPyTorch doing the same work.

The work: fit θ, σ_f and σ_n to 100 losses by 100 steps of Adam, then five times condition on 500 losses and
infer P_min of Eq. 4 on the 500 points of S, and the argmin (Section 2.1.2 of the paper). GPyTorch runs as its
users run it, with its default settings except ``fast_pred_var`` off or on, whichever is faster; in float64,
which is what we compute in, and in float32, its default.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import torch
from torch import Tensor

from autowu.config import Config
from autowu.detector.detect import detect
from benchmarks.curves import past_its_minimum
from benchmarks.timing import Row, interleaved

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of torch.jit.script, on import
    import gpytorch

LOSSES = 2000
GRID = 500
SETTINGS = (nullcontext, gpytorch.settings.fast_pred_var)


class ExactGP(gpytorch.models.ExactGP):
    """Eq. 2: constant mean, squared-exponential kernel of fixed length-scale, Gaussian noise."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood())
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
        self.to(x.dtype)
        self.mean_module.constant.data = y.mean()
        self.likelihood.noise = torch.tensor(1e-3)
        self.covar_module.base_kernel.lengthscale = torch.tensor(0.2)
        self.covar_module.base_kernel.raw_lengthscale.requires_grad_(False)

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        """The prior at ``x``."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def peer(x: Tensor, y: Tensor) -> tuple[list[float], list[float]]:
    """P_min and the argmin of each subset."""
    chosen = torch.randperm(len(x))[:100]
    x_fit, y_fit = x[chosen], y[chosen]
    gp = ExactGP(x_fit, y_fit)
    gp.train()
    likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(gp.likelihood, gp)
    adam = torch.optim.Adam([p for p in gp.parameters() if p.requires_grad], lr=0.01)
    for _ in range(100):
        adam.zero_grad()
        loss = -likelihood(gp(x_fit), y_fit)
        loss.backward()
        adam.step()
    grid = torch.linspace(0, 1, GRID, dtype=x.dtype)
    p_min, argmin = [], []
    with torch.no_grad():
        for _ in range(5):
            chosen = torch.randperm(len(x))[:500]
            gp.set_train_data(x[chosen], y[chosen], strict=False)
            gp.eval()
            posterior = gp(grid)
            mean, covariance = posterior.mean, posterior.covariance_matrix
            variance = covariance.diagonal()
            difference = (variance + variance[-1] - 2 * covariance[-1]).clamp_min(1e-30)
            z = (mean[-1] - mean[:-1]) / difference[:-1].sqrt()
            p_min.append(torch.special.ndtr(z).max().item())
            argmin.append(grid[mean.argmin()].item())
    return p_min, argmin


def run(*, quick: bool) -> list[Row]:
    losses = past_its_minimum(LOSSES)
    config = Config.paper(total_steps=100_000, steps_per_epoch=LOSSES)
    verdict, _ = detect(config, losses, 0)
    rows = []
    for dtype in (torch.float64, torch.float32):
        x = torch.arange(LOSSES, dtype=dtype) / LOSSES
        y = torch.tensor(losses, dtype=dtype)
        p_min, argmin = peer(x, y)
        # The same work, so the same answer, up to what the random subsets differ by.
        assert np.allclose(verdict.p_min, p_min, atol=0.01), (verdict.p_min, p_min)
        assert np.isclose(np.mean(verdict.argmins), np.mean(argmin), atol=0.05)
        calls = [(partial(detect, config, losses, 0), 20)]
        calls += [(partial(_within, setting, x, y), 1) for setting in SETTINGS]
        ours, *peers = interleaved(calls, 3 if quick else 15)
        fastest = min(peers, key=lambda timing: timing.median)
        name = f"a test of the paper preset; peer: GPyTorch, {str(dtype).removeprefix('torch.')}"
        rows.append(Row(name, ours, fastest, faster=100))
    return rows


def _within(setting: Callable[[], AbstractContextManager[object]], x: Tensor, y: Tensor) -> None:
    with setting():
        peer(x, y)
