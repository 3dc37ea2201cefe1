"""A record that somebody else's training left, as a run that the report can show: with a replay's tests."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autowu.offline.decide import Decided
from autowu.offline.range_test import RangeTest, lr_at
from autowu.runlog.run import Run, printable


@dataclass(frozen=True, eq=False)
class Replayed(Run):
    """A record with the decisions of its replay."""

    range_test: RangeTest | None = None
    """What the record says as a range test, where it is one."""
    foreign: bool = False
    """Whether the learning rates shown are not AutoWU's: what it would have set is not on their curve."""


def run_of(decided: Decided, name: str | None = None) -> Replayed:
    """The run that a log shows, with the decisions that the replay took on it.

    ``name`` stands for the run (default: the file's own). Where LRs are recorded they are shown.
    """
    path, record, outcome, of = decided.path, decided.record, decided.replay, decided.range_test
    n, k = len(record.losses), record.stride
    switch = outcome.state.switch
    if of is not None and of.peak_lr is None:
        switch = None  # what ends a range test is the record's end
    return Replayed(
        name=printable(name or Path(path).name or path),
        config={"schedule": _kind(decided)},
        schedule={"preset": decided.asked.preset} | asdict(outcome.config),
        metrics={},
        steps=np.arange(1, n + 1, dtype=np.int64) * k,
        losses=record.losses,
        lrs=outcome.learning_rates[: n * k : k] if record.lrs is None else record.lrs,
        tests=outcome.tests,
        switch=None if switch is None else replace(switch, rewound_to=None),
        cuts=tuple(replace(cut, back_to=None) for cut in outcome.cuts),
        evaluations=(),
        notes=_notes(decided),
        replayed=True,
        command=decided.command,
        range_test=of,
        foreign=decided.foreign,
    )


def _kind(decided: Decided) -> str:
    if decided.range_test is not None:
        return "range test"
    return "replay" if decided.record.lrs is None else "recorded"


def _notes(decided: Decided) -> tuple[str, ...]:
    record, said = decided.record, [*decided.caveats()]
    if (assumed := decided.assumed()) is not None:
        said.append(assumed)
    if decided.range_test is not None:
        doubt = " (--no-sweep if it is none)" if decided.asked.sweep is None else ""
        said.append(f"AutoWU did not run here: a range test{doubt}, all of which is read as its warm-up")
    elif decided.elsewhere or record.lrs is None:
        rates = "the losses are" if record.lrs is None else "learning rates are"
        other = ", the learning rates those of AutoWU's warm-up" if record.lrs is None else ""
        whose = f"AutoWU did not run here: {rates} as recorded{other}; the tests and the switch are"
        said.append(f"{whose} what it would have decided on these losses")
    else:
        said.append("The tests and the switch are those of a replay; the rest is as recorded")
    return (*said, *record.notes)


def star(run: Run) -> tuple[float, float] | None:
    """The step whose LR is the peak, and that LR, on the curve of the run's LRs; None without such a step.

    Where the LRs are not AutoWU's the point is of what was recorded.
    """
    if run.switch is None or run.switch.t_star is None:
        return None
    at: Any = run.switch.t_star
    if not (isinstance(run, Replayed) and run.foreign):
        return at, run.switch.peak_lr
    known = np.flatnonzero(np.isfinite(run.lrs) & (run.lrs > 0))
    if not len(known):
        return None
    return at, lr_at(run.lrs[known], np.interp(at, run.steps[known], np.arange(len(known))))


def star_words(run: Run, at: tuple[float, float]) -> str:
    """What is written beside the point ``at`` of :func:`star`: short, since curves are near."""
    kind = "recorded" if isinstance(run, Replayed) and run.foreign else "peak"
    return f"{kind} LR {at[1]:.3g}"
