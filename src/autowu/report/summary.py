"""What the runs came to: the columns of the table, and each run's decision in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from autowu.controller.cuts import taken_back
from autowu.controller.state import Reason, Switch
from autowu.offline import range_test_text
from autowu.report.figures import found
from autowu.report.replayed import Replayed
from autowu.runlog.run import Run, printable

NOTHING: Final = "–"


def outcome(run: Run) -> Mapping[str, Any]:
    """The metrics of run.json; where a run has not finished, what its log knows of them."""
    known: dict[str, Any] = {}
    if run.evaluations:
        last = run.evaluations[-1]
        known |= {"test_accuracy": last.test_accuracy, "train_loss": last.train_loss}
    if run.switch is not None:
        known |= {"switch_step": run.switch.step, "t_star": run.switch.t_star, "capped": run.switch.capped}
        known |= {"peak_lr": run.switch.peak_lr, "rewound_to": run.switch.rewound_to}
    return known | {name: value for name, value in run.metrics.items() if value is not None}


def _metric(name: str, form: str, factor: float = 1) -> Callable[[Run], str]:
    def show(run: Run) -> str:
        try:
            value = factor * float(outcome(run)[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            return NOTHING
        return form.format(value) if math.isfinite(value) else NOTHING

    return show


def _config(name: str) -> Callable[[Run], str]:
    return lambda run: printable(run.config.get(name, NOTHING))


def _minimum(run: Run) -> str:
    """Whether a minimum of the loss was found; the limit of growth is a failure to find one."""
    if isinstance(run, Replayed) and run.range_test is not None:
        return "found" if run.range_test.peak_lr is not None else "not found"
    if run.switch is None:
        capped = outcome(run).get("capped")
        return ("not found" if capped else "found") if isinstance(capped, bool) else NOTHING
    if run.switch.reason is Reason.NONFINITE:
        return "diverged"
    return "found" if run.switch.reason is Reason.MINIMUM else "not found"


def _final_loss(run: Run) -> str:
    known = _metric("train_loss", "{:.3g}")(run)
    if known == NOTHING and len(run.losses):
        last = run.losses[-max(1, len(run.losses) // 50) :]
        last = last[np.isfinite(last)]
        known = f"{last.mean():.3g}" if len(last) else NOTHING
    return known if run.finished or known == NOTHING else f"{known} so far"


COLUMNS: Final[dict[str, Callable[[Run], str]]] = {
    "run": lambda run: run.name,
    "schedule": _config("schedule"),
    "optimizer": _config("optimizer"),
    "peak LR": _metric("peak_lr", "{:.3g}"),
    "switch step": _metric("switch_step", "{:,.0f}"),
    "peak step": _metric("t_star", "{:,.0f}"),
    "minimum": _minimum,
    "test accuracy": _metric("test_accuracy", "{:.2f}%", 100),
    "final loss": _final_loss,
    "seconds": _metric("seconds", "{:.1f}"),
}
"""The page's table: the heading, and what stands under it for a run."""


def columns(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The table's columns that have something of one of the runs: the heading, and what stands under it."""
    found = {name: [show(run) for run in runs] for name, show in COLUMNS.items()}
    return {name: cells for name, cells in found.items() if set(cells) != {NOTHING}}


SHORT: Final = ("run", "schedule", "optimizer", "peak LR", "switch step", "test accuracy", "seconds")
"""The columns of the table in the terminal."""
WORDS: Final = ("run", "schedule", "optimizer")
"""Those that are aligned to the left, here and on the page; the others are numbers."""


_WITHOUT_A_MINIMUM: Final = {
    Reason.RISE: ", since the loss had risen and never fallen",
    Reason.NO_FALL: ", without a fall of the loss",
    Reason.NONFINITE: ", since no loss was finite any more",
    Reason.ASKED: ", since the run was to end",
}


def sentence(run: Run) -> str:
    """What set the run's learning rate, for a reader who knows nothing of the method."""
    if isinstance(run, Replayed) and run.range_test is not None:
        return range_test_text.verdict(run.range_test)
    cuts = "".join(f" {_cut(run, at)}" for at in range(len(run.cuts)))
    return _last(run) + cuts + _ends(run) + _nonfinite(run)


def _nonfinite(run: Run) -> str:
    """How many losses were NaN or infinite; a record's own notes tell that of it."""
    count = 0 if run.replayed else int(np.count_nonzero(~np.isfinite(run.losses)))
    if not count:
        return ""
    left = ", and left out of the tests" if run.adaptive else ""
    return f" {count:,} {'loss was' if count == 1 else 'losses were'} not finite{left}."


def _ends(run: Run) -> str:
    """Where the peak was held, and the last end that was set."""
    held = "" if run.stable is None else f" The peak was held up to step {run.stable[1]:,}."
    if not run.ends:
        return held
    last, before = run.ends[-1], len(run.ends) - 1
    often = f", after {before} change{'s' if before > 1 else ''} of the end" if before else ""
    end = f" At step {last.step:,}{often},"
    if last.cooldown:
        return f"{held}{end} a cooldown to step {last.total_steps:,} began."
    return f"{held}{end} the run was given {last.total_steps:,} updates in all."


def _cut(run: Run, at: int) -> str:
    cut, would = run.cuts[at], "would have been " if run.replayed else "was "
    if taken_back(run.cuts, at):
        high = "as high all the same" if math.isfinite(cut.level) else "no better"
        return (
            f"At step {cut.step:,} the loss was {high}, so the learning rate was not to blame, and other "
            f"data may be: the cut {would}taken back."
        )
    risen = "the loss had risen for good" if math.isfinite(cut.level) else "most losses were not finite"
    weights = "" if cut.back_to is None else f", with the weights of step {cut.back_to:,} put back"
    return f"At step {cut.step:,} {risen}, and the learning rate {would}cut to a third{weights}."


def _last(run: Run) -> str:
    switch, last = run.switch, f"{int(run.steps[-1]) if len(run.steps) else 0:,}"
    if not run.adaptive:
        if not np.isfinite(run.lrs).any():
            return "No learning rate is logged."
        top = int(np.nanargmax(run.lrs))
        peak = f"the learning rate peaked at {run.lrs[top]:.3g} at step {run.steps[top]:,}"
        return f"A schedule fixed beforehand: {peak} of {last}."
    if switch is None:
        growing = "would still be" if run.replayed else "is still"
        return (
            f"At step {last} the learning rate {growing} growing: no minimum of the loss has been confirmed."
        )
    return _of_switch(run, switch)


def _of_switch(run: Run, switch: Switch) -> str:
    step, peak = f"{switch.step:,}", f"{switch.peak_lr:.3g}"
    weights = "" if switch.rewound_to is None else f", with the weights of step {switch.rewound_to:,},"
    went = "would have gone" if run.replayed else "went"
    on = f"{peak}{weights or ','} and {'held it' if run.stable else 'let it decay'} from there."
    failed = "No minimum of the loss was found: " if switch.capped and not found(switch) else ""
    if switch.t_star is None:
        ended = "reached its limit" if switch.capped else "ended"
        ended = f"would have {ended}" if run.replayed else ended
        fell = "would have fallen" if run.replayed else "fell"
        why = _WITHOUT_A_MINIMUM.get(switch.reason, "")
        growth = "the growth" if failed else "The growth"
        return (
            f"{failed}{growth} of the learning rate {ended} at step {step}{why}; it {fell} from "
            f"{peak}{weights} on."
        )
    if switch.reason is Reason.NONFINITE:
        last = f"{_last_finite(run, switch.step):,}"
        return (
            f"At step {step} no loss had been finite since step {last}: training {went} back to the "
            f"learning rate {on}"
        )
    least = _least(run, switch)
    if switch.reason is Reason.ASKED:
        return (
            f"By step {step}, when the run was to end, no minimum of the loss had been found: training "
            f"{went} back to the learning rate of step {switch.t_star:,.0f}, {on}"
        )
    if switch.reason is Reason.CAP and least is None:
        return (
            f"{failed}at step {step} growth reached its limit before a test could tell where the loss is "
            f"lowest, and training {went} back to the learning rate of step {switch.t_star:,.0f}, {on}"
        )
    flat = least is not None and switch.t_star < least - 1
    lowest = f"{least if flat else switch.t_star:,.0f}{', at the end of a flat part' if flat else ''}"
    where = f"step {switch.t_star:,.0f}, its middle" if flat else "that minimum"
    if failed:
        where = f"step {switch.t_star:,.0f}{', the middle of the flat part' if flat else ''}"
        return (
            f"{failed}it was lowest near step {least:,.0f}, and had not plainly risen when growth reached "
            f"its limit at step {step}. Training {went} back to the learning rate of {where}, {on}"
        )
    cause = "the last test before the limit had seen that" if switch.capped else "enough tests had agreed"
    return (
        f"The loss was lowest near step {lowest}. At step {step}, when {cause}, training {went} "
        f"back to the learning rate of {where}, {on}"
    )


def _least(run: Run, switch: Switch) -> float | None:
    """Where the last test before the switch saw the loss least: t* of Eq. 5."""
    tests = [test for test in run.tests if test.step <= switch.step]
    return tests[-1].t_star if tests else None


def _last_finite(run: Run, step: int) -> int:
    """The step of the last finite loss up to ``step``; 0 if there was none."""
    finite = run.steps[(run.steps <= step) & np.isfinite(run.losses)]
    return int(finite[-1]) if len(finite) else 0
