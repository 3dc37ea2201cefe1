"""A step of the driver that is interrupted at whatever line counts or does not, and all of it fits."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from autowu.integrations import session
from autowu.integrations.driver import Driver
from integrations.driven import Model, config, losses, weights
from integrations.interrupted import lines_of
from integrations.late import FIRST, LATE, late_fall

PARTS = ("driver.py", "session.py")


def driver_after(updates: int, **settings: Any) -> Driver:
    model = Model(Driver(config(**settings)))
    model.train(losses()[:updates])
    return model.driver


def lines_of_step(made: Driver, loss: float, at: Any = None) -> tuple[list[Any], list[Any]]:
    """The lines of a step, and what it gave back; if ``at`` is one of them, Ctrl-C comes there."""
    given = list[Any]()
    made.observe(loss)
    return lines_of(
        lambda: given.append(made.step(lambda: weights(float(made.step_count)))), PARTS, at
    ), given


def switch_step(**settings: Any) -> int:
    switch = driver_after(100, **settings).switch
    assert switch is not None
    return switch.step


def copied(made: Driver, **settings: Any) -> Driver:
    other = Driver(config(**settings))
    other.load_state_dict(copy.deepcopy(made.state_dict()))
    return other


# The first copy, the switch, an update like any; without the watch no copy is kept after the switch.
@pytest.mark.parametrize("step", [1, None, 20])
@pytest.mark.parametrize("settings", [{}, {"watch": None}])
def test_at_whatever_line(step: int | None, settings: dict[str, Any]) -> None:
    step = step or switch_step(**settings)
    curve, whole = losses(), driver_after(step + 2, **settings)
    made = driver_after(step - 1, **settings)
    lines, _ = lines_of_step(copied(made, **settings), curve[step - 1])
    assert len(lines) > 10
    for at in lines:
        one = copied(made, **settings)
        given = lines_of_step(one, curve[step - 1], at)[1]
        assert one.step_count in (step - 1, step), at
        assert one.learning_rate == one.session.lr_function(one.step_count), at
        for again in (copied(one, **settings), one):
            got = [*given]
            while again.step_count < step + 2:
                again.observe(curve[again.step_count])
                got.append(again.step(lambda: weights(-1.0)))
            assert again.switch == whole.switch, at
            assert again.learning_rate == whole.learning_rate, at
            back = [float(each.parameters["w"][0]) for each in got if each is not None]
            switch = whole.switch
            assert back == ([] if switch is None or switch.step < step else [switch.rewound_to]), at
            assert (again.snapshot is None) == (whole.snapshot is None), at


def test_an_error_in_place_of_a_warning_loses_no_weights() -> None:
    step = switch_step()
    made = driver_after(step - 1)
    made.session.log = Telling()  # type: ignore[assignment]
    made.observe(losses()[step - 1])
    with pytest.raises(UserWarning, match="the disk is full"):  # as pytest has it here
        made.step(weights)
    made.session.log = None
    made.observe(losses()[step])
    back = made.step(weights)
    assert made.switch is not None
    assert back is not None
    assert back.parameters["w"][0] == made.switch.rewound_to


class Telling:
    """A log that has something to tell at each decision."""

    def entered(self, of: Any) -> None:
        pass

    def write(self, of: Any, losses: Any) -> Any:
        yield "the disk is full"


def test_losses_that_are_not_finite_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Driver(config())
    for loss in losses()[:20]:
        made.observe(loss)
        made.step(weights)
    observe = session.machine.observe

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(session.machine, "observe", observe)
        raise KeyboardInterrupt

    monkeypatch.setattr(session.machine, "observe", interrupted)
    made.observe(np.nan)
    with pytest.raises(KeyboardInterrupt):
        made.step(weights)
    made.observe(losses()[21])
    with pytest.warns(UserWarning, match="not finite"):
        made.step(weights)
    assert made.nonfinite == 1


def test_an_end_that_a_handler_moves_within_an_interrupted_decision_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, observe = driver_after(20), session.machine.observe

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(session.machine, "observe", observe)
        made.extend(300)
        raise KeyboardInterrupt

    monkeypatch.setattr(session.machine, "observe", interrupted)
    made.observe(losses()[20])
    with pytest.raises(KeyboardInterrupt):
        made.step(weights)
    assert (made.step_count, made.total_steps) == (21, 300)
    assert copied(made).step_count == 21


# --- hosts --------------------------------------------------------------------------------------------


def test_in_optax_weights_that_nobody_got_are_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optax")
    from autowu.integrations.optax import AutoWU
    from integrations.test_optax import Run, assert_equal

    run, curve = Run(begun=True), late_fall()
    run.train(curve[: LATE - 1])
    put = AutoWU._put_back

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(AutoWU, "_put_back", put)
        raise KeyboardInterrupt

    monkeypatch.setattr(AutoWU, "_put_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.train(curve[LATE - 1 : LATE])
    assert run.schedule.driver.step_count == LATE
    assert run.schedule.driver.rewinds == 1
    run.train(curve[LATE : LATE + 1])
    assert_equal(run.params, run.history[FIRST][0])


def test_in_keras_weights_that_were_not_put_back_are_given_again(backend: str) -> None:
    pytest.importorskip("h5py")
    from integrations.keras import trial, worker

    result = worker(backend).submit(trial, "keras_late", "interrupted").result()
    assert (result["steps"], result["rewinds"]) == (LATE, 1)
    assert all(result["back"])
