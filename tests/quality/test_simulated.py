"""The runs that the detector is judged by: models of training, simulated runs, and recorded ones."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from autowu.config import Config

sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.importorskip("benchmarks", reason="an archive of the sources leaves them out")

from benchmarks.quality.detection import rates, recorded, simulated
from benchmarks.quality.detection.dynamics import Quadratic, Valley
from benchmarks.quality.detection.variants import VARIANTS, Variant

DEFAULT, PAPER = VARIANTS[:2]


# --- the models of training ---------------------------------------------------------------------------


def test_sgd_on_a_quadratic_settles_where_noise_and_curvature_balance() -> None:
    model = Quadratic(np.array([4.0, 0.5]), np.array([1.0, 1.0]), noise=0.01, ceiling=np.inf)
    state = model.start(1)
    for _ in range(200):
        state = model.update(state, np.array([0.3]))
    x = 0.3 * model.curvature
    assert state[0] == pytest.approx(0.01 * x / (2 - x), rel=1e-12)
    assert model.loss(state) == pytest.approx(state.sum(), rel=1e-15)


@pytest.mark.parametrize(("lr", "falls"), [(0.9, True), (1.1, False)])
def test_a_quadratic_has_its_edge_where_it_is_asked_for(lr: float, falls: bool) -> None:
    model = Quadratic.of(np.random.default_rng(0), edge=1.0)
    state = model.start(1)
    for _ in range(100):
        state = model.update(state, np.array([lr]))
    assert (state[0, 0] < model.begin[0]) == falls


def test_a_ceiling_bounds_the_loss_and_hardly_touches_a_small_one() -> None:
    model = Quadratic(np.ones(2), np.full(2, 1e-9), noise=0, ceiling=3.0)
    assert model.loss(np.full((1, 2), np.inf)) == 3.0
    assert model.loss(model.start(1)) == pytest.approx(2e-9, rel=1e-8)


def test_progress_in_a_valley_is_the_sum_of_the_learning_rates_far_below_the_edge() -> None:
    model = Valley(edge=1.0, scale=0.1, power=1.0, hill=0.1, rate=0.1, growth=0.5, ceiling=2.0)
    state = model.start(1)
    for _ in range(100):
        state = model.update(state, np.array([1e-3]))
    assert state[0, 0] == pytest.approx(0.1, rel=1e-5)
    assert model.loss(state)[0] == pytest.approx(0.5, rel=1e-5)
    assert state[0, 1] == pytest.approx(0.1 * 1e-6 * (1 - 0.9**100), rel=1e-9)  # H x², with memory 1/r


def test_beyond_the_edge_a_valley_loses_what_was_learned() -> None:
    model = Valley(edge=1.0, scale=0.1, power=1.0, hill=0.1, rate=0.1, growth=0.5, ceiling=2.0)
    learned = np.array([[10.0, 0.0]])
    state = learned
    for _ in range(100):
        state = model.update(state, np.array([10.0]))
    assert state[0, 1] == 2.0
    assert model.loss(state) > 100 * model.loss(learned)


# --- simulated runs -----------------------------------------------------------------------------------


def trained(variant: Variant, family: str, seed: int) -> tuple[float, ...]:
    of = simulated.task(family, seed)
    settings = {"total_steps": of.total_steps, "steps_per_epoch": of.steps_per_epoch}
    switch = simulated.train(Config.preset(variant.preset, **settings, **variant.settings), of).switch
    assert switch is not None
    return of.best, switch.peak_lr, switch.step


@pytest.mark.parametrize("family", ["quadratic", "valley"])
def test_a_seed_says_all_about_a_run(family: str) -> None:
    assert trained(DEFAULT, family, 3) == trained(DEFAULT, family, 3)
    assert trained(DEFAULT, family, 3) != trained(DEFAULT, family, 8)  # with the same kind of noise


def test_what_one_variant_has_trained_does_not_change_the_next() -> None:
    of = simulated.task("valley", 0)
    config = Config(total_steps=of.total_steps)
    simulated.train(Config(total_steps=of.total_steps, patience=1, sweep_fraction=0.1), of)
    after, alone = simulated.train(config, of), simulated.train(config, simulated.task("valley", 0))
    assert (after.phase, after.restores) == (alone.phase, alone.restores)
    assert [verdict.p_min for verdict in after.verdicts] == [verdict.p_min for verdict in alone.verdicts]


@pytest.mark.parametrize("family", ["quadratic", "valley"])
def test_final_losses_are_those_of_one_run_at_a_time(family: str) -> None:
    of = simulated.task(family, 0)
    at = 37
    warmup, state = round(0.05 * of.total_steps), of.model.start(1)
    for step in range(of.total_steps):
        rising, falling = (step + 1) / warmup, (of.total_steps - step) / (of.total_steps - warmup)
        state = of.model.update(state, simulated.PEAKS[[at]] * min(rising, falling))
    assert of.finals[at] == pytest.approx(float(of.model.loss(state)[0]), rel=1e-9)
    assert of.lost(of.best) == 0
    assert of.lost(1e-5) > 0.5


def test_a_seen_loss_is_the_models_and_the_noise_of_its_kind() -> None:
    for seed, kind in enumerate(simulated.NOISES):
        of = simulated.task("valley", seed)
        assert of.noise == kind
        noises = of.noises()
        clean = np.full(of.total_steps, 0.5)
        rest = (of.seen(clean, 0, noises) - of.floor) / of.depth - clean
        rest -= of.drift * np.arange(of.total_steps) / of.total_steps
        expected = of.sd * (0.5 if kind == "follows the loss" else 1) * noises[0]
        spiked = noises[1] != 0
        assert rest[~spiked] == pytest.approx(expected[~spiked], abs=1e-12)
        assert spiked.any() == (kind in ("spikes", "a burst"))


class Counting:
    """A network that knows how often it was updated, and whose loss stays as it is."""

    def __init__(self) -> None:
        self.updates: list[int] = []

    def start(self, runs: int) -> np.ndarray:
        return np.zeros((runs, 1))

    def loss(self, state: np.ndarray) -> np.ndarray:
        return np.ones(len(state))

    def update(self, state: np.ndarray, lr: np.ndarray) -> np.ndarray:
        self.updates.append(int(state[0, 0]))
        return state + 1


def test_a_run_goes_back_to_its_copy_where_it_is_told_to() -> None:
    """A flat loss: the fast growth comes to its end, and all begins anew at the slow rate."""
    model, steps = Counting(), 1000
    of = simulated.Task(0, steps, 20, model, 1.0, 0.0, 0.0, "normal", 0.01)
    config = Config(total_steps=steps)
    simulated.train(config, of)
    fast = math.ceil(1.6 * config.sweep_steps)  # three decades beyond 1
    again = range(1, config.growth_steps)  # the first update is the same once more, and known
    assert model.updates == [*range(fast), *again]


def test_the_default_gives_no_false_alarm_in_a_few_simulated_runs() -> None:
    for family in ("quadratic", "valley"):
        for seed in range(8):
            best, peak, _ = trained(DEFAULT, family, seed)
            assert rates.judge(math.log10(peak / best)) != "false alarm", (family, seed)


# --- recorded runs ------------------------------------------------------------------------------------


def curve(losses: np.ndarray) -> recorded.Curve:
    schedule = {"total_steps": 2 * len(losses), "steps_per_epoch": 20, "min_lr": 1e-5, "max_lr": 1.0}
    return recorded.Curve("made", losses, schedule | {"warmup_fraction": 0.5})


def test_the_minimum_of_a_v_is_found_through_noise_and_spikes() -> None:
    random = np.random.default_rng(0)
    losses = 1 + abs(np.arange(400) - 250) / 250 + 0.02 * random.standard_normal(400)
    losses[[50, 249, 251]] += 100
    losses[390:] = np.nan
    of = curve(losses)
    assert abs(int(of.smooth.argmin()) - 250) <= 6
    assert np.isinf(of.smooth[390:]).all()
    assert of.best == pytest.approx(1e-5 * 1e5 ** (of.smooth.argmin() / 400), rel=1e-12)
    assert of.lost(of.best) == 0
    assert of.lost(of.lr(125)) == pytest.approx(0.5, abs=0.05)
    assert of.lost(1.0) == 1


def test_a_leap_does_not_pull_the_minimum_to_its_foot() -> None:
    losses = np.r_[np.linspace(2, 1, 200), np.linspace(1, 1.1, 100), np.full(100, 50.0)]
    assert abs(int(curve(losses).smooth.argmin()) - 200) <= 6


def test_there_are_more_than_thirty_real_curves_each_with_its_record() -> None:
    curves = recorded.read()
    assert len(curves) >= 30
    assert len({of.name for of in curves}) == len(curves)
    for of in curves:
        steps = math.floor(of.schedule["warmup_fraction"] * of.schedule["total_steps"])
        assert len(of.losses) == steps
        assert np.isfinite(of.losses[0])
        assert of.smooth.min() < of.smooth[0]


@pytest.mark.parametrize("fault", recorded.FAULTS)
def test_a_fault_is_the_seeds(fault: str) -> None:
    of = recorded.read()[0]
    first, again, other = (of.with_fault(fault, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (fault == "none") == np.array_equal(first, of.losses)
