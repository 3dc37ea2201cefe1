"""The log marginal likelihood by the spectrum of the kernel, and its gradient as the fit has it."""

import math
from dataclasses import astuple

import numpy as np

from autowu.detector import fit, gp


def log_marginal_likelihood(s: fit.Spectrum, at: gp.Hyperparameters) -> float:
    """log p(y | θ, σ_f², σ_n²) = -½ [rᵀK⁻¹r + log|K| + n log 2π], r = y - θ (R & W Eq. 2.30)."""
    v = at.signal_variance * s.eigenvalues + at.noise_variance
    mean = at.mean - s.center
    r = s.y - mean * s.one
    rest = s.rest_yy - 2 * mean * s.rest_y1 + mean**2 * s.rest_11
    squares = float(r @ (r / v)) + rest / at.noise_variance
    logdet = float(np.log(v).sum()) + (s.n - len(v)) * math.log(at.noise_variance)
    return -0.5 * (squares + logdet + s.n * math.log(2 * math.pi))


def gradient(s: fit.Spectrum, at: gp.Hyperparameters) -> tuple[float, float, float]:
    """Its derivatives by θ, σ_f² and σ_n²."""
    return fit.slopes(s, fit.terms(s), *astuple(at))
