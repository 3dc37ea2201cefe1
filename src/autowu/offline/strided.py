"""A replay of a record in which only every k-th update was logged: replayed as it is, told in updates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from autowu.config import Config
from autowu.controller.state import Leg, State, Switch
from autowu.offline.logs import Record
from autowu.offline.replay import Replay, replay


def replay_record(record: Record, total_steps: int | None = None, **settings: Any) -> Replay:
    """:func:`autowu.replay` of ``record``; all steps of the outcome are updates.

    With a stride of k the entries are replayed as if each were an update of a run of a k-th of the length.
    All that AutoWU decides depends on fractions of the run, and on how many losses it sees, not on how many
    updates lie between them. The k - 1 updates between two entries are not missing losses: AutoWU takes
    stretches without a finite loss for the death of the run.
    """
    k = record.stride
    if k == 1:
        return replay(record.losses, total_steps, **settings)
    epoch = settings.get("steps_per_epoch")
    shorter: dict[str, Any] = settings | (
        {} if epoch is None else {"steps_per_epoch": max(1, round(epoch / k))}
    )
    outcome = replay(
        record.losses,
        None if total_steps is None else max(math.ceil(total_steps / k), len(record.losses)),
        **shorter,
    )
    config: Config = replace(
        outcome.config,
        total_steps=record.updates if total_steps is None else max(total_steps, record.updates),
        steps_per_epoch=epoch,
    )
    return Replay(config, _stretched(outcome.state, k), np.repeat(outcome.learning_rates, k))


def _stretched(state: State, k: int) -> State:
    """``state`` with all steps k times as large."""

    def leg(of: Leg) -> Leg:
        return Leg(of.start * k, of.lr, of.span * k)

    def switch(of: Switch) -> Switch:
        return replace(
            of,
            step=of.step * k,
            t_star=None if of.t_star is None else of.t_star * k,
            rewound_to=None if of.rewound_to is None else of.rewound_to * k,
            probed=None if of.probed is None else of.probed * k,
        )

    probe = state.probe
    reopenings = tuple(
        replace(each, step=each.step * k, switch=switch(each.switch), leg=leg(each.leg))
        for each in state.reopenings
    )
    return replace(
        state,
        step=state.step * k,
        read=state.read * k,
        read_at=None if state.read_at is None else state.read_at * k,
        leg=leg(state.leg),
        lifted=None if state.lifted is None else state.lifted * k,
        switch=None if state.switch is None else switch(state.switch),
        probe=probe and replace(probe, switch=switch(probe.switch), leg=leg(probe.leg)),
        reopenings=reopenings,
        verdicts=tuple(replace(test, step=test.step * k, start=test.start * k) for test in state.verdicts),
    )
