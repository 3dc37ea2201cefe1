"""A state that its configuration cannot come to is refused, whichever host has saved it."""

from __future__ import annotations

from typing import Any

import pytest

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.phases.decay import Fall
from autowu.integrations.saved import check_stage

PAPER = Config.paper(200, 10)
DEFAULT = Config(total_steps=200)


@pytest.mark.parametrize("config", [PAPER, DEFAULT])
def test_where_a_run_begins_is_a_stage(config: Config) -> None:
    check_stage(machine.start(config), config)


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (PAPER, {"lifted": None}, "'lifted' must be a step where lift_off is None"),
        (PAPER, {"sweeping": True}, "'sweeping' with growth 'exponential'"),
        (DEFAULT, {"lifted": 3}, "'sweeping' with growth 'two-speed', lifted at 3"),
        (PAPER, {"doubt": Fall(1.0, 0.1)}, "'doubt' must be None where reopen is None"),
        (DEFAULT, {"read_at": 201}, "'read_at' must be at most 200, not 201"),
    ],
)
def test_a_stage_that_cannot_be(config: Config, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_stage(machine.start(config).but(**changes), config)
