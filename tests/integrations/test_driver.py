"""The driver of hosts without PyTorch: the trace of the core, the snapshot for rewinding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autowu.config import Config
from autowu.controller.state import Reason
from autowu.integrations import session
from autowu.integrations.driver import Driver
from autowu.offline.replay import replay
from integrations.driven import STEPS, Model, config, losses, weights


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


def test_a_cooldown_from_a_signals_handler_within_a_decision_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver, asked = Driver(Config()), list[int]()
    observe = session.machine.observe

    def interrupted(*arguments: Any) -> Any:
        if driver.step_count > 30 and not asked:
            asked.append(driver.step_count)
            assert driver.cooldown(40, weights) is None
        return observe(*arguments)

    monkeypatch.setattr(session.machine, "observe", interrupted)
    curve = losses()
    for loss in curve[:60]:
        driver.observe(loss)
        driver.step(weights)
    assert asked
    assert driver.total_steps == asked[0] + 40
    assert [end.step for end in driver.ends] == asked


def test_a_decision_that_is_interrupted_is_made_up_for() -> None:
    whole, made = Driver(config()), Driver(config())
    expected, curve = Model(whole).train(losses()), losses()
    left = [3]

    def read() -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return weights()

    lrs = [made.learning_rate]
    while made.step_count < len(curve):
        made.observe(curve[made.step_count])
        try:
            made.step(read)
        except KeyboardInterrupt:  # and the state can be gone on from
            state, made = made.state_dict(), Driver(config())
            made.load_state_dict(state)
        lrs.append(made.learning_rate)
    assert left[0] < 0
    assert made.switch == whole.switch
    assert sum(one != other for one, other in zip(lrs[:-1], expected, strict=True)) <= 1


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
        (np.ma.masked, TypeError),
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
    assert late == [98, 138, 178]  # renewed when a fifth of the run has passed


def test_without_rewind_nothing_is_read_or_restored() -> None:
    model = Model(Driver(config(rewind=False)))
    model.train(losses())
    assert model.driver.switch is not None
    assert (model.reads, model.restored) == ([], [])


@pytest.mark.parametrize("given", [None, {"w": np.ones(3)}, (np.ones(3),)])
def test_what_read_gives_must_be_weights_and_the_run_can_go_on(given: Any) -> None:
    model, whole = Model(Driver(config())), Model(Driver(config()))
    driver = model.driver
    driver.observe(losses()[0])
    with pytest.raises(TypeError, match=r"read must return Weights\(parameters, rest\), not (None|\{|\()"):
        driver.step(lambda: given)
    model.updates = driver.step_count
    assert model.train(losses()[1:]) == whole.train(losses())[1:]
    assert driver.switch == whole.driver.switch


def test_broken_weights_are_not_kept() -> None:
    whole = Model(Driver(config()))
    whole.train(losses())
    assert whole.driver.switch is not None
    first, second = whole.reads[0], [step for step in whole.reads if step < whole.driver.switch.step][-1]
    model = Model(Driver(config()), broken_from=second)
    with pytest.warns(UserWarning, match="is not finite, though the last loss is"):
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


def test_a_cap_without_a_minimum_is_told_of_once_with_the_lr() -> None:
    model = Model(Driver(Config(total_steps=40)))
    with pytest.warns(UserWarning, match="warm-up ended at its cap, step 20 of 40, ") as caught:
        model.train([1.0] * 40)
    assert ["is not below its first values" in str(each.message) for each in caught] == [False, True]
    assert "Where the weights had been trained before, it may fall as the LR does" in str(caught[1].message)
    assert model.driver.switch is not None
    assert f"LR of {model.driver.switch.peak_lr:.3g}." in str(caught[0].message)
    assert caught[0].filename == __file__


def test_a_cap_that_a_max_lr_of_ones_own_brought_about_names_it() -> None:
    falling = list(2 * 0.98 ** np.arange(400.0))
    for settings, told in (({"max_lr": 0.01}, True), ({}, False)):
        model = Model(Driver(Config(total_steps=400, **settings)))
        with pytest.warns(UserWarning, match="warm-up ended at its cap") as caught:
            model.train(falling)
        assert model.driver.switch is not None
        assert model.driver.switch.reason is Reason.CAP
        assert ["max_lr=0.01 bounds its growth" in str(each.message) for each in caught] == [told]


def test_more_updates_than_planned_warn_once_and_keep_the_lr() -> None:
    model = Model(Driver(config()))
    model.train(losses())
    final = model.driver.learning_rate
    with pytest.warns(UserWarning, match=f"total_steps={STEPS} updates") as caught:
        lrs = model.train([1.0] * 3)
    assert len(caught) == 1
    assert lrs == [final] * 3
    assert model.driver.step_count == STEPS + 3
