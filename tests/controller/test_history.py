"""The LR of every update so far, pieced together from the state, is the one that the update had."""

from typing import Any

import numpy as np
import pytest

from autowu import Config
from autowu.controller import history, machine
from autowu.controller.state import Decay, Probe, State, Trial

from .endings import ENDINGS
from .test_probe import two_minima
from .test_trial import T, curve


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


@pytest.mark.parametrize("decay", ["linear", "plateau"])
@pytest.mark.parametrize("growth", ["two-speed", "exponential"])
def test_through_a_false_alarm(growth: str, decay: str) -> None:
    config = Config(total_steps=T, growth=growth, decay=decay)
    states, had = lived(config, curve(-0.02))
    end = states[-1]
    assert end.reopenings
    assert not end.reopenings[0].probed
    shown = known(config, end)
    finite = np.isfinite(shown)
    assert finite[: end.reopenings[-1].step].all()
    assert finite.all() or decay == "plateau"  # which forgets where the LR dropped
    np.testing.assert_allclose(shown[finite], np.array(had)[finite], rtol=1e-12)


def test_through_a_probe_that_found_a_lower_loss_and_one_that_did_not() -> None:
    config, loss = Config(total_steps=2000), two_minima(0.1, seed=3)
    states, had = [machine.start(config)], list[float]()
    while not isinstance(states[-1].phase, Decay):
        had.append(machine.learning_rate(config, states[-1], states[-1].step))
        states.append(machine.observe(config, states[-1], np.array([loss(len(had) - 1, had[-1])])))
    (reopening,) = states[-1].reopenings
    assert reopening.probed
    assert {type(state.phase) for state in states} >= {Probe, Trial}
    # Before, within and after each of them.
    probes = [state.step for state in states if isinstance(state.phase, Probe)]
    for step in {probes[0] - 1, *probes, reopening.step + 60, *range(probes[-1], len(had), 10), len(had)}:
        np.testing.assert_allclose(known(config, states[step]), had[:step], rtol=1e-12)
