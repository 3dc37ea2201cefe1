"""A state that its configuration cannot come to is refused, whichever host has saved it."""

from __future__ import annotations

from typing import Any

import pytest

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.plain import VERSION, from_plain, to_plain
from autowu.controller.state import Decay, Grow, Growth, Phase, Search, Sweep, Switch
from autowu.detector.trend import Level

PAPER = Config.paper(200, 10)
DEFAULT = Config(total_steps=200)
ONE_SPEED = Config(total_steps=200, growth="exponential")

SLOW = Growth(0, 1e-4, 100)


@pytest.mark.parametrize("config", [PAPER, DEFAULT, ONE_SPEED])
def test_where_a_run_begins_is_a_stage(config: Config) -> None:
    state = machine.start(config)
    assert to_plain(from_plain(to_plain(state), config))["phase"] == to_plain(state)["phase"]


@pytest.mark.parametrize(
    ("config", "phase", "message"),
    [
        (PAPER, Search(SLOW), "'phase' is Search, which this configuration leaves out"),
        (PAPER, Sweep(SLOW), "'phase' is Sweep, which"),
        (ONE_SPEED, Sweep(SLOW), "'phase' is Sweep, which"),
        (DEFAULT, Decay(Switch(3, False, 0.0, 0.1, None), SLOW), "'switch' is at 3, after step 0"),
        (DEFAULT, Grow(Growth(3, 1e-4, 100), 3, Level(2.0, 5)), "'growth' starts at 3, after step 0"),
    ],
)
def test_a_stage_that_cannot_be(config: Config, phase: Phase, message: str) -> None:
    state = machine.start(config).replace(phase=phase)
    with pytest.raises(ValueError, match=message):
        from_plain(to_plain(state), config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phase": {"kind": "Rest"}}, "'phase' must have a 'kind' of Sweep, Search, .*, not 'Rest'"),
        ({"phase": {"kind": "Trial"}}, "'phase' must have a 'kind' of Sweep, Search, .*, not 'Trial'"),
        ({"lifted": 3}, "the state has not the keys that it must have: 'lifted'"),
        ({"version": 3}, f"the state's version must be {VERSION}, not 3"),
    ],
)
def test_what_no_configuration_has(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_plain(to_plain(machine.start(DEFAULT)) | changes, DEFAULT)
