"""Losses that are missing, constant, with spikes, of any scale; in the core, which all hosts share."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.cuts import taken_back
from autowu.detector import noise
from autowu.integrations.driver import Driver, Weights
from reliability.curves import Run, bound, follow, v_curve
from reliability.promises import Trials, promise
from told import WATCH

BAD = [math.nan, math.inf, -math.inf]


def preset(name: str, total_steps: int, **changes: object) -> Config:
    return Config.preset(name, total_steps=total_steps, steps_per_epoch=max(1, total_steps // 12), **changes)


def cut_taken_back(driver: Driver) -> bool:
    """Whether the last update gave the LR of before a cut back, since it was the data that had changed."""
    return bool(driver.cuts) and driver.cuts[-1].step == driver.step_count and taken_back(driver.cuts)


@promise(
    "NaN and infinite losses, 0 to 100% of them",
    "they are left out and counted, and a warning says so once; the LR stays in its range, and after the "
    "switch it rises only where a cut is taken back",
    full=10_000,
    plain=300,
    unit="runs drawn by Hypothesis",
)
def test_losses_that_are_not_finite(trials: Trials) -> None:
    # The share that is missing is drawn first: independent draws would hardly ever give a run without losses.
    runs = st.tuples(
        st.integers(1, 60),
        st.integers(0, 2**32 - 1),
        st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0]),
        st.sampled_from(["default", "paper"]),
        st.sampled_from(["linear", "cosine", "plateau"]),
        st.booleans(),
    )

    @settings(
        max_examples=trials.count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(runs)
    def check(run: tuple[int, int, float, str, str, bool]) -> None:
        if trials.done == trials.count:
            return  # Hypothesis asks for an example more now and then
        total, seed, share, name, decay, rewind = run
        random = np.random.default_rng(seed)
        losses = v_curve(total, seed)
        bad = random.random(total) < share
        if seed % 3 == 0:
            bad |= np.arange(total) >= random.integers(total + 1)  # and from some step on the run is dead
        losses[bad] = random.choice(BAD, bad.sum())
        config = preset(name, total, decay=decay, rewind=rewind)
        driver = Driver(config)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", "AutoWU: warm-up ended at its cap")
            warnings.filterwarnings("ignore", WATCH.removeprefix("ignore:"))
            for step, loss in enumerate(losses):
                lr = driver.learning_rate
                assert 0 <= lr <= bound(config)
                settled = driver.switch is not None
                driver.observe(float(loss))
                driver.step(lambda: Weights({"w": np.zeros(1)}, {}))
                if settled and not cut_taken_back(driver):
                    assert driver.learning_rate <= lr * (1 + 1e-12), step
        assert driver.nonfinite == bad[: driver._session.state.read].sum()
        assert sum("up to step" in str(each.message) for each in told) == (driver.nonfinite > 0)
        trials.done += 1

    check()


@promise(
    "a run that dies: no finite loss since the last tests",
    "is tried once more from the snapshot, then counts as past the minimum: the switch comes at most twice "
    "`patience` tests after the one that still had a finite loss among its last ten, without those of fewer "
    "than five losses, and goes to at most half of the last LR whose loss was finite, or back to the minimum",
    full=1_000,
    plain=50,
)
def test_a_run_that_dies(trials: Trials) -> None:
    for trial in trials:
        random = np.random.default_rng(trial)
        total = int(random.integers(60, 400))
        losses = v_curve(total, trial)
        config = Config(total_steps=total)
        alive = follow(config, losses).state
        assert alive.switch is not None
        dies = int(random.integers(3, max(4, alive.switch.step - 1)))
        losses[dies:] = random.choice(BAD)
        state, lrs, lift_off = follow(config, losses)
        assert state.switch is not None
        last_finite = lrs[dies - 1]
        if state.switch.capped or lift_off is None or lift_off >= dies:
            # It died before a fall was seen: a slow second attempt finds nothing either.
            assert state.switch.peak_lr <= config.high_lr / 2
            continue
        tests = [v.step for v in state.verdicts if v.step >= dies + 2 * noise.ENDS]
        assert len(tests) <= 2 * config.patience + 1 + noise.ENDS
        assert state.switch.peak_lr <= last_finite * (0.5 + 1e-12) or state.switch.t_star <= dies


def assert_same_decisions(found: Run, expected: Run) -> None:
    """The same tests, detections and switch, and t* the same but for rounding."""
    assert found.decisions() == expected.decisions()
    switch, other = found.state.switch, expected.state.switch
    assert switch is not None
    assert other is not None
    if other.t_star is not None:
        assert switch.t_star == pytest.approx(other.t_star, abs=1e-6 * 160)


SCALES = [10.0**k for k in range(-12, 13)]


@promise(
    "losses times 1e-12 to 1e12, in 25 steps",
    "the same tests, detections and switch; t* the same to 1e-6 of the run",
    full=12_500,
    plain=100,
    unit="curves × scales",
)
def test_scale_does_not_matter(trials: Trials) -> None:
    for trial in trials:
        curve, scale = divmod(trial, len(SCALES))
        if scale == 0:
            losses, config = v_curve(160, curve), Config(total_steps=160, seed=curve)
            expected = follow(config, losses)
        found = follow(config, losses * SCALES[scale])
        assert_same_decisions(found, expected)


@promise(
    "losses times a power of two, 2^-900 to 2^900",
    "every LR the same to the last bit",
    full=5_000,
    plain=50,
    unit="curves × scales",
)
def test_powers_of_two_change_not_one_bit(trials: Trials) -> None:
    exponents = [-900, -300, -40, -2, -1, 1, 3, 40, 300, 900]
    for trial in trials:
        curve, scale = divmod(trial, len(exponents))
        if scale == 0:
            losses, config = v_curve(160, curve), Config(total_steps=160, seed=curve)
            expected = follow(config, losses)
        found = follow(config, np.ldexp(losses, exponents[scale]))
        assert found.lrs == expected.lrs
        assert found.decisions() == expected.decisions()


@promise(
    "losses shifted by up to 1,000 times their range, also below zero, so that none has fallen tenfold",
    "the same tests, detections and switch; t* the same to 1e-6 of the run; but in at most 1%, where a move"
    " before lift-off is a small share of the level, and less than five noise levels",
    full=5_000,
    plain=50,
    unit="curves × shifts",
)
def test_shifts_do_not_matter(trials: Trials) -> None:
    shifts, others = [-1e3, -30.0, -10.0, -3.0, 0.1, 0.3, 1.0, 3.0, 30.0, 1e3], 0
    for trial in trials:
        curve, shift = divmod(trial, len(shifts))
        if shift == 0:
            losses, config = v_curve(160, curve), Config(total_steps=160, seed=curve)
            expected = follow(config, losses)
        found = follow(config, losses + shifts[shift] * np.ptp(losses))
        assert not any(verdict.logged for verdict in found.state.verdicts)
        if found.decisions() == expected.decisions():
            assert_same_decisions(found, expected)
        else:
            others += 1
    trials.notes["others"] = f"{others:,}"
    assert others <= 0.01 * trials.count


@promise(
    "constant losses, one step an epoch, total_steps of 1, 2 and 3",
    "no crash and no detection; a constant loss is no evidence, and ends in the middle of the range of LRs",
    full=1_000,
    plain=100,
)
def test_the_least_there_can_be(trials: Trials) -> None:
    values = [0.0, 1.0, -1.0, 2.3, 1e-300, 5e-324, 1e300, -1e300, math.nan, math.inf]
    cases = list(itertools.product([1, 2, 3, 4, 11, 60], ["default", "paper"], [1, 2, 7], values))
    np.random.default_rng(0).shuffle(cases)  # so that the first few are of all kinds
    for trial in trials:
        total, name, per_epoch, value = cases[trial % len(cases)]
        total, value = int(total), float(value)
        changes = {"decay": ["linear", "cosine", "plateau"][trial // len(cases)]}
        config = Config.preset(str(name), total_steps=total, steps_per_epoch=int(per_epoch), **changes)
        state, lrs, _ = follow(config, np.full(total, value))
        assert len(lrs) == total + 1
        assert all(0 <= lr <= bound(config) for lr in lrs)
        if math.isfinite(value):
            assert not any(verdict.detected for verdict in state.verdicts)
            assert all(verdict.no_evidence for verdict in state.verdicts)
            if name == "default" and total >= 2:
                assert state.switch is not None
                assert state.switch.peak_lr == pytest.approx(math.sqrt(config.min_lr * config.high_lr))


@promise(
    "a single spike to 1e38 (or 1e10, or ten times the largest loss), anywhere in warm-up",
    "no crash; of the runs that without it do not switch before the true minimum, at most 1% do with it",
    full=1_000,
    plain=25,
    unit="curves with a spike",
)
def test_one_spike(trials: Trials) -> None:
    total, early, early_without = 240, 0, 0
    for trial in trials:
        random = np.random.default_rng(trial)
        losses, config = v_curve(total, trial), Config(total_steps=total, seed=trial)
        minimum = int(v_curve(total, trial, noise=0.0).argmin())
        without = follow(config, losses).state
        assert without.switch is not None
        at = int(random.integers(without.switch.step))
        losses[at] = random.choice([1e38, 1e10, 10.0 * float(np.abs(losses).max())])
        found = follow(config, losses).state
        assert found.switch is not None
        early_without += without.switch.step < minimum
        early += found.switch.step < minimum <= without.switch.step
    trials.notes["too early with it"] = f"{early:,}"
    trials.notes["too early without it"] = f"{early_without:,}"
    assert early <= 0.01 * trials.count + 1


@promise(
    "training that goes on for ten times total_steps",
    "the final LR is held to the bit, and the LR rises only where a cut is taken back",
    full=500,
    plain=50,
)
def test_overrun(trials: Trials) -> None:
    for trial in trials:
        random = np.random.default_rng(trial)
        total = int(random.integers(1, 150))
        decay = str(random.choice(["linear", "cosine", "constant-cosine", "1-sqrt", "plateau"]))
        name = str(random.choice(["default", "paper"]))
        config = preset(name, total, decay=decay)
        losses = v_curve(10 * total, trial)
        state = follow(config, losses[:total]).state
        final = machine.learning_rate(config, state, total)
        driver = Driver(config)
        before = math.inf
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", "AutoWU: warm-up ended at its cap")
            warnings.filterwarnings("ignore", WATCH.removeprefix("ignore:"))
            for step, loss in enumerate(losses, start=1):
                driver.observe(loss)
                driver.step(lambda: Weights({"w": np.zeros(1)}, {}))
                if step >= total:
                    assert driver.learning_rate == final
                elif driver.switch is not None:
                    assert driver.learning_rate <= before or cut_taken_back(driver)
                    before = driver.learning_rate
        assert len(caught) == 1
