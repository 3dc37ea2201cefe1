"""Snapshots by name: what fits goes back, what does not is refused as a whole, and the run goes on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.weights import MisfitError, Weights, gone, misfits, some, typed
from controller.helpers import v_shape


def weights(value: float = 0.0) -> Weights:
    return Weights({"w": np.full(3, value)}, {"count": np.array(value)}, frozenset({"base"}))


def refuse(*snapshot: Weights) -> Any:
    raise MisfitError("w has shape (4,), and (3,) in the snapshot")


class Run:
    def __init__(self, steps: int = 200) -> None:
        self.losses = v_shape(steps, steps // 4, noise=0.02, seed=0)
        self.losses[3 * steps // 10 :] = 1.0  # at the minimum again, once the weights have gone back
        self.driver = Driver(Config(total_steps=steps))
        self.restored: list[float] = []
        self.texts: list[str] = []

    def train(self, read: Any = None, check: Any = None, stop: int | None = None) -> None:
        driver = self.driver
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for loss in self.losses[driver.step_count : stop]:
                driver.observe(loss)
                given = driver.step(
                    read or (lambda: weights(driver.step_count)), check or (lambda snapshot: None)
                )
                self.restored += [] if given is None else [float(given.parameters["w"][0])]
        self.texts += [str(each.message) for each in caught]


def test_what_cannot_be_copied_is_told_of_once_and_the_run_goes_on() -> None:
    run = Run()
    run.train(read=refuse)
    (text,) = run.texts
    assert text.startswith("AutoWU: no snapshot for rewinding can be taken: w has shape (4,)")
    assert run.driver.step_count == 200
    assert run.restored == []
    assert run.driver.switch is not None
    assert run.driver.switch.rewound_to is None


def test_a_weight_that_is_not_finite_is_told_of_once() -> None:
    run = Run()
    run.train(read=lambda: Weights({"w": np.array([np.nan])}, {}))
    assert run.texts[:1] == [
        "AutoWU: w is not finite, though the last loss is. As long as it is so no copy for rewinding is"
        " taken; the one before stays. This is said once."
    ]
    assert [text for text in run.texts if "not finite" in text] == run.texts[:1]
    assert run.restored == []


def test_a_snapshot_that_fits_no_more_is_given_up_and_the_next_one_is_good() -> None:
    run, whole = Run(), Run()
    whole.train()
    run.train(stop=20)
    assert run.driver.snapshot is not None
    first = run.driver.snapshot.parameters["w"][0]
    run.train(check=lambda snapshot: refuse() if snapshot.parameters["w"][0] <= first else None)
    (text,) = run.texts
    assert text.startswith("AutoWU: the snapshot for rewinding can no longer be put back: w has shape (4,)")
    assert run.driver.switch is not None
    assert run.restored == [run.driver.switch.rewound_to]
    assert run.restored == whole.restored


def test_at_the_switch_nothing_is_put_back_and_the_record_says_so() -> None:
    run = Run()
    run.train(check=refuse)
    assert run.restored == []
    assert run.driver.switch is not None
    assert run.driver.switch.rewound_to is None
    assert run.driver.snapshot is None
    assert len(run.texts) == 1


def test_what_was_frozen_can_be_added_and_nothing_else() -> None:
    run = Run()
    run.train(stop=20)
    state = run.driver.state_dict()
    driver = Driver(run.driver.config)
    driver.load_state_dict(state)
    assert driver.snapshot is not None
    assert driver.snapshot.frozen == {"base"}
    before = driver.snapshot.parameters["w"]
    driver.add_to_snapshot(Weights({"base": np.ones(2), "w": before + 1, "new": before}, {}))
    assert driver.snapshot.parameters.keys() == {"w", "base"}
    assert driver.snapshot.parameters["w"] is before
    assert driver.snapshot.frozen == set()


def test_shapes_and_types_must_be_the_same() -> None:
    kept = {"a": np.zeros(3, np.float32), "b": np.zeros(2, np.int64), "gone": np.zeros(1)}
    single, whole = np.dtype(np.float32), np.dtype(np.int64)
    assert list(misfits(kept, {"a": ((3,), single), "b": ((2,), whole), "new": ((9,), whole)})) == []
    assert list(misfits(kept, {"a": ((3, 1), single), "b": ((2,), single)})) == [
        "a has shape (3, 1), and (3,) in the snapshot",
        "b is of float32, and of int64 in the snapshot",
    ]
    assert list(gone(kept, {"a", "x"})) == []
    assert list(gone(kept, {"x"})) == ["nothing is left of what is in the snapshot: a; b; gone"]
    assert some("abcdef") == "a; b; c; d; and 2 more"


def test_a_type_whose_name_was_lost_in_a_file_is_found_again() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    half = np.dtype(ml_dtypes.bfloat16)
    kept = np.arange(3).astype(half)
    nameless = kept.view("V2")
    assert list(misfits({"a": nameless}, {"a": ((3,), half)})) == []
    assert list(misfits({"a": nameless}, {"a": ((3,), np.dtype(np.float32))})) != []
    assert typed(nameless, half).tolist() == kept.tolist()
    assert typed(nameless, half).dtype == half


@pytest.mark.parametrize("dtype", ["int4", "float8_e4m3fn", "bfloat16"])
def test_any_type_of_number_can_be_healthy(dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    leaf = np.ones(3).astype(getattr(ml_dtypes, dtype))
    assert Weights({"w": leaf}, {}).broken() is None
    assert Weights({"w": leaf, "other": np.array([1.0, np.nan])}, {}).broken() == "other"
