"""The LR of every update so far, pieced together from the state, is the one that the update had."""

from typing import Any

import numpy as np
import pytest

from autowu import Config
from autowu.controller import history, machine
from autowu.controller.cuts import taken_back
from autowu.controller.state import State

from .endings import ENDINGS
from .helpers import noisy


def lived(config: Config, losses: np.ndarray) -> tuple[list[State], list[float]]:
    """The states of each update of a record, and the LR that it had."""
    states, had = [machine.start(config)], list[float]()
    for step, loss in enumerate(losses):
        had.append(machine.learning_rate(config, states[-1], step))
        states.append(machine.observe(config, states[-1], np.array([loss])))
    return states, had


def known(config: Config, state: State) -> np.ndarray:
    return history.learning_rates(config, state, np.arange(state.step, dtype=float))


@pytest.mark.parametrize("name", ENDINGS)
def test_to_every_end_of_warm_up(name: str) -> None:
    config = ENDINGS[name].replay().config
    states, had = lived(config, ENDINGS[name].losses)
    np.testing.assert_allclose(known(config, states[-1]), had, rtol=1e-12)


@pytest.mark.parametrize("settings", [{"growth": "linear"}, {"growth": "exponential"}, {"decay": "cosine"}])
def test_in_every_growth_and_decay(settings: dict[str, Any]) -> None:
    config = Config(total_steps=1000, **settings)
    states, had = lived(config, ENDINGS["a minimum"].losses)
    np.testing.assert_allclose(known(config, states[-1]), had, rtol=1e-12)


@pytest.mark.parametrize("decay", ["linear", "cosine", "plateau"])
@pytest.mark.parametrize("growth", ["two-speed", "exponential"])
def test_through_cuts_and_one_that_is_taken_back(growth: str, decay: str) -> None:
    config, draws = Config(total_steps=1000, growth=growth, decay=decay), noisy(1e-2)
    states, had = [machine.start(config)], list[float]()
    for step in range(1000):
        had.append(machine.learning_rate(config, states[-1], step))
        switch = states[-1].switch
        loss = draws(step, had[-1] if switch is None else 1e-2)
        if switch is not None and (60 <= step - switch.step < 80 or step - switch.step >= 200):
            loss += 1.0
        states.append(machine.observe(config, states[-1], np.array([loss])))
    cuts = states[-1].phase.cuts
    assert [taken_back(cuts, at) for at in range(len(cuts))] == [False, False, True]
    for step in {1, *(cut.step + late for cut in cuts for late in (-1, 0, 1, 7)), 999, 1000}:
        shown = known(config, states[step])
        finite = np.isfinite(shown)
        assert finite.all() or decay == "plateau"  # which forgets where the LR dropped
        np.testing.assert_allclose(shown[finite], np.array(had[:step])[finite], rtol=1e-12)
