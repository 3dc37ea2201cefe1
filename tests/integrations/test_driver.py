"""The driver of hosts without PyTorch: the trace of the core, the snapshot for rewinding, the state."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.weights import Weights
from autowu.offline.replay import replay
from controller.helpers import v_shape

STEPS = 200
IN_WARMUP = 25


def losses(seed: int = 0) -> np.ndarray:
    """A fall, a rise until warm-up has ended, and a loss that is low again with the weights of before."""
    curve = v_shape(STEPS, 50, noise=0.02, seed=seed)
    curve[60:] = 1 + v_shape(STEPS, 50, noise=0.02, seed=seed)[60:] - v_shape(STEPS, 50)[60:]
    return curve


def config(**settings: Any) -> Config:
    return Config.preset(total_steps=STEPS, **settings)


def weights(value: float = 0.0) -> Weights:
    return Weights(
        {"w": np.full(3, value)}, {"count": np.array(7), "moment": np.full((2, 2), value, np.float32)}
    )


class Model:
    """Weights that say how many updates they have seen."""

    def __init__(self, driver: Driver, *, broken_from: float = np.inf) -> None:
        self.driver, self.broken_from = driver, broken_from
        self.updates = driver.step_count
        self.reads: list[int] = []
        self.restored: list[float] = []

    def read(self) -> Weights:
        self.reads.append(self.updates)
        return weights(np.nan if self.updates >= self.broken_from else self.updates)

    def train(self, losses: Iterable[float]) -> list[float]:
        lrs: list[float] = []
        for loss in losses:
            lrs.append(self.driver.learning_rate)
            self.updates += 1
            self.driver.observe(loss)
            restored = self.driver.step(self.read)
            if restored is not None:
                self.restored.append(float(restored.parameters["w"][0]))
        return lrs


@pytest.mark.parametrize("settings", [{}, {"decay": "plateau"}, {"rewind": False, "seed": 2}])
def test_the_lrs_are_the_cores(settings: dict[str, Any]) -> None:
    curve = losses()
    driver = Driver(config(**settings))
    expected = replay(curve, **settings)
    assert Model(driver).train(curve) == expected.learning_rates.tolist()
    assert driver.switch == expected.state.switch
    assert driver.switch is not None
    assert driver.phase == "decay"
    assert [verdict.step for verdict in driver.verdicts] == [verdict.step for verdict in expected.tests]


def test_micro_batches_count_by_their_mean() -> None:
    one, four = Driver(config()), Driver(config())
    for loss in losses():
        one.observe(loss)
        one.step(weights)
        for part in (-1, 0.5, 2, -1.5):
            four.observe(loss + part / 4)
        four.step(weights)
        assert four.step_count == one.step_count
        assert four.learning_rate == pytest.approx(one.learning_rate, rel=1e-9)


class OnDevice:
    """An array that counts how often it is read."""

    dtype, shape = np.dtype(np.float32), ()

    def __init__(self, value: float) -> None:
        self.value, self.reads = value, 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self.reads += 1
        return np.array(self.value, dtype)


def test_losses_are_read_at_decisions_only_and_without_the_watch_not_at_all_in_the_decay() -> None:
    curve = [OnDevice(loss) for loss in losses()]
    driver = Driver(config(watch=None))
    for done, loss in enumerate(curve):
        driver.observe(loss)
        driver.step(weights)
        switch = driver.switch
        known = driver._session.state.step
        assert all(
            loss.reads == (index < known) for index, loss in enumerate(curve[: done + 1]) if not switch
        )
    assert driver.switch is not None
    assert [loss.reads for loss in curve] == [1] * driver.switch.step + [0] * (STEPS - driver.switch.step)


@pytest.mark.parametrize(
    ("loss", "error"),
    [
        (None, TypeError),
        ("1", TypeError),
        (True, TypeError),
        (1j, TypeError),
        (np.array(True), TypeError),
        (np.array(1j), TypeError),
        (np.zeros(2), ValueError),
        (np.zeros(0), ValueError),
    ],
)
def test_a_loss_is_one_real_number(loss: Any, error: type[Exception]) -> None:
    driver = Driver(config())
    with pytest.raises(error, match="loss must"):
        driver.observe(loss)
    with pytest.raises(TypeError, match="none has been observed"):
        driver.step(weights)
    assert driver.step_count == 0


@pytest.mark.parametrize("loss", [1, np.float16(1), np.int64(1), np.ones((1, 1)), np.array(1.0)])
def test_any_real_number_will_do(loss: Any) -> None:
    driver = Driver(config())
    driver.observe(loss)
    driver.step(weights)
    assert driver.step_count == 1


# --- rewind -------------------------------------------------------------------------------------------


def test_the_weights_come_back_once_from_the_step_that_the_switch_names() -> None:
    model = Model(Driver(config()))
    model.train(losses())
    switch = model.driver.switch
    assert switch is not None
    assert switch.rewound_to is not None
    assert model.restored == [switch.rewound_to]
    assert switch.rewound_to in model.reads
    late = [step for step in model.reads if step > switch.step]
    assert late == [96, 136, 176]  # renewed when a fifth of the run has passed


def test_without_rewind_nothing_is_read_or_restored() -> None:
    model = Model(Driver(config(rewind=False)))
    model.train(losses())
    assert model.driver.switch is not None
    assert (model.reads, model.restored) == ([], [])


def test_broken_weights_are_not_kept() -> None:
    whole = Model(Driver(config()))
    whole.train(losses())
    assert whole.driver.switch is not None
    first, second = whole.reads[0], [step for step in whole.reads if step < whole.driver.switch.step][-1]
    model = Model(Driver(config()), broken_from=second)
    model.train(losses())
    assert second in model.reads
    (restored,) = model.restored
    assert first <= restored < second
    assert model.driver.switch is not None
    assert model.driver.switch.rewound_to == restored


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_a_run_that_dies_early_starts_again_from_the_first_copy_and_keeps_it() -> None:
    # Finite losses stop within the fast growth: back to the start at the slow rate, and then again.
    curve = np.full(STEPS, np.nan)
    curve[:3] = 2.0
    model = Model(Driver(config()))
    model.train(curve)
    assert len(model.reads) == 1
    assert model.driver.switch is not None
    assert len(model.restored) > 2  # in the decay, too, since it does not come to life
    assert set(model.restored) == {model.reads[0]}


# --- checkpoints --------------------------------------------------------------------------------------


def by_pickle(state: dict[str, Any], folder: Path) -> Any:
    return pickle.loads(pickle.dumps(state))


def by_npz(state: dict[str, Any], folder: Path) -> Any:
    np.savez(folder / "state.npz", **state)
    with np.load(folder / "state.npz") as saved:
        return dict(saved)


@pytest.mark.parametrize("through", [by_pickle, by_npz])
@pytest.mark.parametrize("settings", [{}, {"decay": "plateau"}])
def test_a_run_goes_on_bit_for_bit_from_any_step(
    settings: dict[str, Any], through: Callable[..., Any], tmp_path: Path
) -> None:
    curve = losses()
    unbroken = Model(Driver(config(**settings)))
    lrs = unbroken.train(curve)
    for stop in (0, 1, 10, IN_WARMUP, 31, 60, STEPS - 1):
        begun = Model(Driver(config(**settings)))
        begun.train(curve[:stop])
        driver = Driver(config(**settings))
        driver.load_state_dict(through(begun.driver.state_dict(), tmp_path))
        resumed = Model(driver)
        assert resumed.train(curve[stop:]) == lrs[stop:]
        assert begun.restored + resumed.restored == unbroken.restored
        assert driver.switch == unbroken.driver.switch


def test_an_open_update_is_part_of_the_state() -> None:
    driver = Driver(config())
    driver.observe(1.0)
    copy = Driver(config())
    copy.load_state_dict(driver.state_dict())
    for each in (driver, copy):
        each.observe(3.0)
        each.step(weights)
    saved = [json.loads(bytes(each.state_dict()["schedule"])) for each in (driver, copy)]
    assert saved[0] == saved[1]
    assert saved[0]["controller"]["losses"] == {"array": [2.0]}


def test_the_state_is_flat_and_of_arrays() -> None:
    driver = Driver(config())
    Model(driver).train(losses()[:IN_WARMUP])
    state = driver.state_dict()
    assert {type(leaf) for leaf in state.values()} == {np.ndarray}
    assert set(state) == {"schedule", "parameter.w", "rest.count", "rest.moment"}
    Model(driver).train(losses()[IN_WARMUP:])
    assert set(driver.state_dict()) == {"schedule"}


def test_a_loaded_copy_does_not_hang_on_the_checkpoint() -> None:
    driver = Driver(config())
    Model(driver).train(losses()[:IN_WARMUP])
    state = {name: leaf.copy() for name, leaf in driver.state_dict().items()}
    other = Driver(config())
    other.load_state_dict(state)
    expected = other.state_dict()["parameter.w"].copy()
    state["parameter.w"][:] = -1
    assert other.state_dict()["parameter.w"].tolist() == expected.tolist()


def changed(state: dict[str, Any], **changes: Any) -> dict[str, Any]:
    schedule = json.loads(bytes(state["schedule"]))
    for path, value in changes.items():
        *parents, key = path.split("__")
        holder = schedule
        for parent in parents:
            holder = holder[parent]
        holder[key] = value
    return state | {"schedule": np.frombuffer(json.dumps(schedule).encode(), np.uint8)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: {}, "not a state of AutoWU: it lacks 'schedule'; its keys are none"),
        (lambda state: None, "not a state of AutoWU, which is a mapping: None"),
        (lambda state: {"params": 1, "step": 2}, "it lacks 'schedule'; its keys are 'params', 'step'$"),
        (lambda state: {"schedule": np.frombuffer(b'{"lr": 1}', np.uint8)}, "lacks 'version' and 'config'"),
        (
            lambda state: Driver(Config.paper(STEPS, 10)).state_dict(),
            "preset differs, 'default' here, but 'paper'",
        ),
        (lambda state: state | {"schedule": state["schedule"][:100]}, "damaged: JSONDecodeError"),
        (lambda state: changed(state, version=0), "version 0, this is 4"),
        (lambda state: changed(state, asked="x"), "asked of the saved state must be an integer ≥ 0, not 'x'"),
        (lambda state: changed(state, config__seed=1), "seed is 0 here, but 1 in the saved"),
        (lambda state: changed(state, step=-1), "step of the saved state must be an integer ≥ 0, not -1"),
        (lambda state: changed(state, step=3), "of step 3, but its losses go to step 25"),
        (lambda state: changed(state, controller__phase__growth=None), "growth"),
        (lambda state: changed(state, pending="x"), "'pending' of the saved state must be an array, not 'x'"),
        (lambda state: {"schedule": state["schedule"]}, "the snapshot for rewinding"),
        (lambda state: changed(state, controller__snapshot_step=None), "the snapshot for rewinding"),
    ],
)
def test_a_damaged_state_is_refused_and_nothing_changes(damage: Callable[[Any], Any], message: str) -> None:
    saved = Driver(config())
    Model(saved).train(losses()[:IN_WARMUP])
    driver = Driver(config())
    Model(driver).train(losses(seed=1)[:9])
    before = pickle.dumps(driver.state_dict())
    with pytest.raises(ValueError, match=message):
        driver.load_state_dict(damage(saved.state_dict()))
    assert pickle.dumps(driver.state_dict()) == before


def test_a_cap_without_a_minimum_is_told_of_once_with_the_lr() -> None:
    model = Model(Driver(Config(total_steps=40)))
    with pytest.warns(UserWarning, match="warm-up ended at its cap, step 20 of 40, ") as caught:
        model.train([1.0] * 40)
    assert ["is not below its first values" in str(each.message) for each in caught] == [False, True]
    assert model.driver.switch is not None
    assert f"LR of {model.driver.switch.peak_lr:.3g}." in str(caught[0].message)
    assert caught[0].filename == __file__


def test_more_updates_than_planned_warn_once_and_keep_the_lr() -> None:
    model = Model(Driver(config()))
    model.train(losses())
    final = model.driver.learning_rate
    with pytest.warns(UserWarning, match=f"total_steps={STEPS} updates") as caught:
        lrs = model.train([1.0] * 3)
    assert len(caught) == 1
    assert lrs == [final] * 3
    assert model.driver.step_count == STEPS + 3
