"""Losses of every kind: gaps, spikes, scales that must not matter, and those that are no evidence."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autowu import Config
from autowu.detector import detect as detector
from autowu.detector import fit, gp
from controller.helpers import seeded, v_shape

from .tested import CONFIG, PAPER, PLAIN, decision, detect, same

# --- losses that are not numbers, and what must not matter --------------------------------------------


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
