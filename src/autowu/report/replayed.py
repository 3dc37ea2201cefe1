"""A record that somebody else's training left, as a run that the report can show: with a replay's tests."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from autowu.offline.logs import Record
from autowu.offline.range_test import lr_at
from autowu.offline.replay import Replay
from autowu.runlog.run import Run, printable


def run_of(
    path: str, record: Record, outcome: Replay, preset: str = "default", name: str | None = None
) -> Run:
    """The run that ``record``, read from the file ``path``, shows, with the decisions of its replay.

    Where LRs are recorded they are shown, and t* is marked on them. ``name`` stands for the run (default: the
    file's own).
    """
    n, k = len(record.losses), record.stride
    steps = np.arange(1, n + 1, dtype=np.int64) * k
    lrs = outcome.learning_rates[: n * k : k] if record.lrs is None else record.lrs
    switch = outcome.state.switch
    if record.lrs is not None and switch is not None and switch.t_star is not None:
        known = np.flatnonzero(np.isfinite(record.lrs) & (record.lrs > 0))
        if len(known):
            at: Any = np.interp(switch.t_star / k, known, np.arange(len(known)))
            switch = replace(switch, peak_lr=lr_at(record.lrs[known], at))
    return Run(
        name=printable(name or Path(path).name or path),
        config={"schedule": "recorded" if record.lrs is not None else "replay"},
        schedule={"preset": preset} | asdict(outcome.config),
        metrics={},
        steps=steps,
        losses=record.losses,
        lrs=lrs,
        tests=outcome.tests,
        switch=None if switch is None else replace(switch, rewound_to=None),
        cuts=tuple(replace(cut, back_to=None) for cut in outcome.cuts),
        evaluations=(),
        notes=_notes(record),
        replayed=True,
        command=f"autowu replay {shlex.quote(printable(path))}",
    )


def _notes(record: Record) -> tuple[str, ...]:
    rates = "learning rates are" if record.lrs is not None else "the losses are"
    other = "" if record.lrs is not None else ", the learning rates those of AutoWU's warm-up"
    notes = [
        f"AutoWU did not run here: {rates} as recorded{other}; the tests and the switch are what it would"
        " have decided on these losses"
    ]
    if record.stride > 1:
        notes.append(f"one loss in {record.stride:,} updates is recorded")
    return (*notes, *record.notes)
