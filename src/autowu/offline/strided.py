"""A replay of a record in which only every k-th update was logged: replayed as it is, told in updates."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, cast

import numpy as np

from autowu.config import Config
from autowu.offline.logs import Record
from autowu.offline.replay import Replay, replay


def replay_record(record: Record, total_steps: float | None = None, **settings: Any) -> Replay:
    """:func:`autowu.replay` of ``record``; all steps of the outcome are updates.

    With a stride of k the entries are replayed as if each were an update of a run of a k-th of the length.
    What AutoWU decides depends on how many losses it sees, not on how many updates lie between them. So in a
    long run more updates pass in warm-up than if each had been logged. The k - 1 updates between two entries
    are not missing losses: AutoWU takes stretches without a finite loss for the death of the run.
    """
    k = record.stride
    if k == 1:
        return replay(record.losses, total_steps, **settings)
    in_updates = {name: settings[name] for name in IN_UPDATES if settings.get(name) is not None}
    shorter: dict[str, Any] = settings | {name: max(1, round(n / k)) for name, n in in_updates.items()}
    outcome = replay(
        record.losses,
        total_steps
        if total_steps is None or math.isinf(total_steps)
        else max(math.ceil(total_steps / k), len(record.losses)),
        **shorter,
    )
    length = record.updates if total_steps is None else max(total_steps, record.updates)
    config: Config = replace(
        outcome.config, total_steps=None if math.isinf(length) else int(length), **in_updates
    )
    return Replay(config, _stretched(outcome.state, k), np.repeat(outcome.learning_rates, k))


IN_UPDATES: Final = ("steps_per_epoch", "warmup_limit")
"""Settings that count updates."""

STEPS: Final = frozenset(
    [
        "step",
        "read",
        "snapshot_step",
        "start",
        "falls_from",
        "end",
        "warmup_to",
        "span",
        "t_star",
        "rewound_to",
        "back_to",
        "lift_off",
        "tests_from",
    ]
)
"""The fields of a state, and of what it holds, that count updates."""


def _stretched(value: Any, k: int) -> Any:
    """``value``, a state or what it holds, with all steps k times as large."""
    if isinstance(value, tuple):
        return tuple(_stretched(item, k) for item in cast("tuple[Any, ...]", value))
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changes = {field.name: _stretched(getattr(value, field.name), k) for field in fields(value)}
    for name in STEPS & changes.keys():
        changes[name] = None if changes[name] is None else changes[name] * k
    return replace(value, **changes)
