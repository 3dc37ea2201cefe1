"""Replaying recorded curves: the contract's keys, and the decisions of an independent implementation."""

import json
import math
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pytest

import autowu
from autowu import Config, replay
from autowu.controller import machine
from autowu.offline.logs import Record
from autowu.offline.strided import replay_record
from controller.helpers import v_shape
from reference import curves

GOLDEN = curves.FOLDER / "golden.json"
KEYS = {"switched", "capped", "switch_step", "t_star", "peak_lr", "tests"}
CUT_KEYS = {"step", "factor", "level", "least"}
TEST_KEYS = {"step", "p_min", "detected", "argmin", "streak", "no_evidence"}
SEEDS = range(5)


# --- the contract -------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_json_has_the_keys_and_types_of_the_contract(preset: str) -> None:
    found = replay(v_shape(400, 120, 0.02), total_steps=800, steps_per_epoch=20, preset=preset).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [set(cut) for cut in found.pop("cuts", [])] == [CUT_KEYS] * (0 if preset == "paper" else 2)
    assert set(found) == KEYS
    assert (found["switched"], found["capped"]) == (True, False)
    assert [type(found[key]) for key in ("switch_step", "t_star", "peak_lr")] == [int, float, float]
    assert found["t_star"] == pytest.approx(120, abs=8)
    for test in found["tests"]:
        assert set(test) == TEST_KEYS
        assert (type(test["step"]), type(test["detected"]), type(test["streak"])) == (int, bool, int)
        assert type(test["p_min"]) is list
        assert {type(p) for p in test["p_min"]} <= {float}
        assert type(test["argmin"]) is (float if test["p_min"] else type(None))
        assert (test["no_evidence"] is None) == bool(test["p_min"])
    assert found["tests"][-1]["streak"] == 3
    assert found["switch_step"] == found["tests"][-1]["step"]


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_a_record_that_ends_before_the_switch_is_all_null(preset: str) -> None:
    found = replay(3 - 0.01 * np.arange(100), total_steps=800, steps_per_epoch=20, preset=preset).to_json()
    assert found.pop("tests")
    assert found == {"switched": False, "capped": None, "switch_step": None, "t_star": None, "peak_lr": None}


def test_the_cap_is_a_switch_without_t_star() -> None:
    found = replay(3 - 0.01 * np.arange(420), total_steps=800, steps_per_epoch=20, preset="paper").to_json()
    assert found.pop("peak_lr") == pytest.approx(1, rel=1e-12)
    assert len(found.pop("tests")) == 20
    assert found == {"switched": True, "capped": True, "switch_step": 400, "t_star": None}


def test_replay_gives_the_lr_of_each_recorded_update() -> None:
    found = replay(v_shape(700, 120, 0.02), total_steps=800, watch=None)
    assert found.learning_rates.shape == (700,)
    assert found.learning_rates[0] == 1e-5
    assert found.switch_step is not None
    decay = found.learning_rates[found.switch_step :]
    steps = np.arange(found.switch_step, 700)
    np.testing.assert_allclose(decay, found.peak_lr * (800 - steps) / (800 - found.switch_step), rtol=1e-12)


def test_without_total_steps_the_record_is_the_whole_run() -> None:
    losses = v_shape(500, 100, 0.02)
    assert replay(losses).config.total_steps == 500
    assert replay(losses).to_json() == replay(losses.tolist(), total_steps=500).to_json()


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_losses_of_another_precision_are_accepted(kind: Any) -> None:
    losses = v_shape(400, 120, 0.02).astype(kind)
    assert replay(losses, total_steps=800).t_star == pytest.approx(120, abs=10)


def test_integers_and_missing_losses_are_accepted() -> None:
    losses = [*range(300, 100, -1), *range(100, 300)]
    assert replay(losses, total_steps=800).t_star == pytest.approx(200, abs=10)
    gaps = [math.nan if i % 7 == 3 else float(loss) for i, loss in enumerate(losses)]
    assert replay(gaps, total_steps=800).t_star == pytest.approx(200, abs=10)


@pytest.mark.parametrize("losses", [[], np.zeros((2, 3)), np.float64(3.0)])
def test_losses_must_be_a_sequence(losses: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^losses must be a sequence of one or more numbers, not of shape \("
    ):
        replay(losses, total_steps=10)


def test_more_losses_than_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^losses must be at most total_steps = 10, not 11$"):
        replay(np.ones(11), total_steps=10)


def test_a_loss_beyond_floating_point_is_refused_and_none_is_missing() -> None:
    with pytest.raises(ValueError, match=r"^losses must be numbers that floating point holds"):
        replay([1.0, 10**400])
    missing: Any = [1.0, None, 2.0]
    assert replay(missing).to_json() == replay([1.0, math.nan, 2.0]).to_json()


@pytest.mark.parametrize("losses", [["a", "b"], [object()], [1 + 2j]])
def test_losses_that_are_no_numbers_are_refused(losses: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"losses|float|number"):
        replay(losses, total_steps=10)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match=r"no setting 'patence'; did you mean 'patience'"):
        replay(np.ones(5), total_steps=10, patence=3)


def test_the_outcome_is_shown_in_a_line() -> None:
    found = replay(v_shape(700, 120, 0.02), total_steps=800)
    assert repr(found) == (
        f"Replay(switch_step={found.switch_step}, peak_lr={found.peak_lr:.3g}, "
        f"losses=700, tests={len(found.tests)})"
    )
    assert repr(replay([3.0, 2.0], 100)) == "Replay(switch_step=None, peak_lr=None, losses=2, tests=0)"


def test_replay_is_public_and_repeatable() -> None:
    assert autowu.replay is replay
    losses = v_shape(1500, 600, 0.3)
    first, again = (replay(losses, total_steps=3000).to_json() for _ in range(2))
    assert first == again


# --- agreement with the reference ---------------------------------------------------------------------


@pytest.mark.parametrize("name", curves.INDEX)
def test_decisions_on_real_curves_are_those_of_the_reference(name: str) -> None:
    """Both draw their own subsets, so it is the medians over five seeds that must agree."""
    golden = list(json.loads(GOLDEN.read_text())["decisions"][name].values())
    losses, schedule = curves.losses(name), curves.schedule(name)
    found = [replay(losses, preset="paper", seed=seed, **schedule) for seed in SEEDS]
    assert {r.capped for r in found} == {entry["capped"] for entry in golden}
    assert median(r.switch_step for r in found) == median(entry["switch_step"] for entry in golden)
    ratio = median(r.peak_lr for r in found) / median(entry["peak_lr"] for entry in golden)
    assert ratio == pytest.approx(1, abs=0.1)


def test_as_published_four_of_17_curves_have_another_switch_or_peak() -> None:
    """Medians over five seeds. Which curves they are is docs/reproduction.md's to say."""
    other = {}
    for name in curves.INDEX:
        losses, schedule = curves.losses(name), curves.schedule(name)
        adam, published = (
            [replay(losses, preset="paper", fit=fit, seed=seed, **schedule) for seed in SEEDS]
            for fit in ("adam", "published")
        )
        switch, peak = (
            median(getattr(r, what) for r in published) / median(getattr(r, what) for r in adam)
            for what in ("switch_step", "peak_lr")
        )
        if (switch, peak) != (1, 1):
            other[name] = switch, peak
    assert len(curves.INDEX) == 17
    assert other == {
        "fashion-mlp-ln-adamw": pytest.approx((1, 0.979), abs=1e-3),
        "fashion-mlp-bn-lamb": pytest.approx((270 / 255, 1.036), abs=1e-3),
        "fashion-mlp-bn-sgd": pytest.approx((480 / 440, 1.769), abs=1e-3),
        "fashion-mlp-plain-sgd-nan": pytest.approx((1, 0.149), abs=1e-3),
    }


def agree_on_the_same_subsets(name: str, monkeypatch: pytest.MonkeyPatch, *, published: bool = False) -> None:
    """Give the reference the library's subsets: then every number of every test must agree."""
    torch = pytest.importorskip("torch")
    paper = pytest.importorskip("reference.paper_gpytorch", exc_type=ImportError)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    own = paper.Detector.test

    def test(self: Any, step: int, x: Any, y: Any, rng: Any) -> Any:
        return own(self, step, x, y, np.random.default_rng([0, step]))

    def subset(x: Any, y: Any, size: int, rng: np.random.Generator) -> tuple[Any, Any]:
        if size >= len(x):
            return x, y
        chosen = torch.from_numpy(rng.choice(len(x), size, replace=False, shuffle=False))
        return x[chosen], y[chosen]

    monkeypatch.setattr(paper.Detector, "test", test)
    monkeypatch.setattr(paper, "subset", subset)
    losses, schedule = curves.losses(name), curves.schedule(name)
    try:
        expected = paper.decide(losses, **schedule, published=published)
    finally:
        torch.set_num_threads(threads)
    fit = "published" if published else "adam"
    found = replay(losses, preset="paper", seed=0, fit=fit, **schedule)
    assert [test.step for test in found.tests if test.no_evidence is None] == [t.step for t in expected.tests]
    for mine, theirs in zip((t for t in found.tests if t.no_evidence is None), expected.tests, strict=True):
        assert mine.p_min == pytest.approx(theirs.p_min, abs=1e-5)
        assert mine.argmins == pytest.approx(theirs.argmin, abs=1.01 / 499)
        assert mine.noise == pytest.approx(math.sqrt(theirs.noise_variance), rel=1e-5)
    decision = expected.switch_step, expected.capped
    assert (found.switch_step, found.capped) == decision
    assert found.peak_lr == pytest.approx(expected.peak_lr, rel=1e-3)


@pytest.mark.parametrize("name", ["fashion-mlp-ln-adamw-short", "cifar10-cnn-adamp"])
def test_on_the_same_subsets_every_test_is_that_of_the_reference(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree_on_the_same_subsets(name, monkeypatch)


def test_as_published_every_test_is_that_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    agree_on_the_same_subsets("fashion-mlp-ln-adamw-short", monkeypatch, published=True)


@pytest.mark.full
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("name", curves.INDEX)
def test_on_the_same_subsets_every_test_of_every_curve_is_that_of_the_reference(
    name: str, published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree_on_the_same_subsets(name, monkeypatch, published=published)


@pytest.mark.parametrize("name", curves.INDEX)
def test_the_default_preset_never_crashes_on_a_real_curve_whatever_its_scale(name: str) -> None:
    losses = np.array(curves.losses(name))
    schedule = curves.schedule(name)
    plain, scaled = (replay(scale * losses, **schedule) for scale in (1.0, 2.0**-20))
    one, other = plain.to_json(), scaled.to_json()
    cuts = list(zip(one.pop("cuts", []), other.pop("cuts", []), strict=True))
    assert one == other
    for cut, by_scale in cuts:  # the levels are the losses'
        levels = {name: cut[name] and 2.0**-20 * cut[name] for name in ("level", "least")}
        assert cut | levels == by_scale


def test_a_run_without_a_known_end_is_replayed_as_such() -> None:
    losses = v_shape(900, 300, 0.02)
    outcome = replay(losses, math.inf, warmup_limit=600, watch=None)
    assert outcome.config == Config(warmup_limit=600, watch=None)
    assert outcome.state.stage == "stable"
    assert set(outcome.learning_rates[outcome.switch_step :]) == {outcome.peak_lr}
    thinned = replay_record(Record(losses[::3], None, stride=3), math.inf, warmup_limit=600)
    assert thinned.config == Config(warmup_limit=600)  # in updates, of which every third is in the record
    assert thinned.state.stage == "stable"


@pytest.mark.parametrize(
    ("n", "total", "phase"),
    [(600, None, "Decay"), (600, math.inf, "Stable"), (150, 600, "Grow"), (200, 4000, "Grow")],
)
def test_the_state_of_every_tenth_update_has_the_rates_that_were_recorded(
    n: int, total: float | None, phase: str
) -> None:
    losses = v_shape(600, 200, 0.02)
    losses[420:] += 2  # a cut
    plain = replay(losses[:n], total)
    outcome = replay_record(Record(losses[:n], None, stride=10), None if total is None else 10 * total)
    state = outcome.state
    assert type(state.phase).__name__ == phase
    counts = ("step", "read", "snapshot_step", "t_star", "rewound_to", "back_to", "lift_off", "tests_from")
    for mine, of in (
        (state, plain.state),
        (state.phase, plain.state.phase),
        (state.switch, plain.state.switch),
        *zip(outcome.cuts, plain.cuts, strict=True),
        *zip(outcome.tests, plain.tests, strict=True),
    ):
        for count in filter(partial(hasattr, of), counts):
            steps = getattr(of, count)
            assert getattr(mine, count) == (None if steps is None else pytest.approx(10 * steps)), count
    rate, last = machine.lr_function(outcome.config, state), range(n - 9, n)
    assert [rate(10 * i) for i in last] == pytest.approx(outcome.learning_rates[-90::10])
    assert list(outcome.learning_rates[::10]) == list(plain.learning_rates)
