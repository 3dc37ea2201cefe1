"""What the tests of a verdict share."""

from typing import Any

import numpy as np
import pytest

from autowu import Config, Verdict
from autowu.detector import detect as detector
from autowu.detector import gp

from .dense import dense

CONFIG = Config(total_steps=1000)
PAPER = Config.paper(1000, 25)
PLAIN = Config(total_steps=1000, subset_size=None, fit_size=None, spike=None, ceiling=None, basin=None)
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


def reference(losses: np.ndarray, at: gp.Hyperparameters, points: int = gp.GRID) -> Any:
    y = (losses - losses.mean()) / losses.std()
    x = np.arange(len(y)) / len(y)
    return dense(x, y, at.mean, at.signal_variance, at.noise_variance, PLAIN.length_scale, points)
