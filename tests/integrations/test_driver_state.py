"""The saved state of the driver of hosts without PyTorch."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autowu.config import Config
from autowu.integrations.driver import Driver
from integrations.driven import IN_WARMUP, STEPS, Model, config, losses, weights


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
