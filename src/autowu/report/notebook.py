"""What a scheduler or a replay knows, for notebooks: a figure, a table of its tests, and its rich display.

Nothing is kept for it that the scheduler would not keep anyway: the LRs are a closed form of the state, the
losses shown are those of the window that the next test looks at.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, replace
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import Leg, State, Switch
from autowu.detector.detect import Verdict

if TYPE_CHECKING:
    from autowu.runlog.run import Run

MOST_STEPS: Final = 20_000  # of the LR curve; a longer run is shown at so many steps of it


def learning_rates(config: Config, state: State, steps: Array) -> Array:
    """The LRs that the updates ``steps`` [n], counted from 0, had: NaN where 'plateau' has forgotten them."""
    starts, history = _history(config, state)

    def lr(step: int) -> float:
        then = history[bisect_right(starts, step) - 1]
        if then is state and config.decay == "plateau" and state.drops > 0 and step < state.step:
            return math.nan
        return machine.learning_rate(config, then, step)

    return np.array([lr(int(step)) for step in steps], dtype=np.float64)


def _history(config: Config, state: State) -> tuple[list[int], list[State]]:
    """What set the LR, and the first step that it did for."""
    starts, history = list[int](), list[State]()

    def grows(start: int, leg: Leg) -> None:
        starts.append(start)
        history.append(replace(state, leg=leg, switch=None, probe=None))

    def ends(switch: Switch | None, probed: int | None) -> None:
        """With a probe, if there was one, and the decay that the ``switch`` began."""
        if probed is not None:
            grows(probed, Leg(probed, machine.growth(config, history[-1], probed), config.sweep_steps))
        if switch is not None:
            starts.append(switch.step)
            history.append(state if switch is state.switch else replace(state, switch=switch, drops=0))

    legs = [of.leg for of in state.reopenings]
    legs.append(state.leg if state.probe is None else state.probe.leg)
    if config.growth == "two-speed" and legs[0].start > 0:
        grows(0, Leg(0, config.min_lr, config.sweep_steps))
    grows(legs[0].start if history else 0, legs[0])
    for of, leg in zip(state.reopenings, legs[1:], strict=True):
        if of.probed:
            ends(None, of.switch.step)
        else:
            ends(of.switch, of.switch.probed)
        grows(of.step, leg)
    if state.probe is not None:
        ends(None, state.probe.switch.step)
    elif state.switch is not None:
        ends(state.switch, state.switch.probed)
    return starts, history


def as_run(config: Config, state: State, step: int, losses: Array | None = None) -> Run:
    """The state after ``step`` updates as a run that the report's figures can show.

    Args:
        config: of the schedule.
        state: of the controller.
        step: updates done.
        losses: of all updates [step], where they are known; by default those that the state still holds.
    """
    from autowu.runlog.run import Run

    done = np.unique(np.linspace(0, max(step - 1, 0), min(max(step, 1), MOST_STEPS)).round()).astype(np.int64)
    known = np.full(max(step, 1), math.nan)
    if losses is not None:
        known[: len(losses)] = losses[: len(known)]
    else:
        held = state.losses[: max(0, step - state.first)]
        known[state.first : state.first + len(held)] = held
    return Run(
        name="autowu",
        config={},
        schedule=asdict(config),
        metrics={},
        steps=done + 1,
        losses=known[done],
        lrs=learning_rates(config, state, done.astype(np.float64)),
        tests=state.verdicts,
        switch=state.switch,
        reopenings=state.reopenings,
        evaluations=(),
        notes=(),
    )


def plot(config: Config, state: State, step: int, losses: Array | None = None) -> Any:
    """A Plotly figure of :func:`as_run`: LR, smoothed loss and votes over the steps.

    Raises:
        ImportError: Plotly, of the extra ``report``, is not installed.
    """
    from autowu.report.overview import overview

    graph_objects = _import("plotly.graph_objects", "plot() needs plotly: pip install 'autowu[report]'")
    return graph_objects.Figure(overview(as_run(config, state, step, losses)))


def records(config: Config, tests: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The tests as plain values, a row for each."""
    return [
        {
            "step": test.step,
            "start": test.start,
            "p_min": statistics.median(test.p_min) if test.p_min else None,
            "p_stall": statistics.median(test.p_stall) if test.p_stall else None,
            "votes": test.votes(config.confidence),
            "subsets": len(test.p_min),
            "detected": test.detected,
            "streak": test.streak,
            "argmin": test.argmin,
            "t_star": test.t_star,
            "noise": test.noise,
            "no_evidence": test.no_evidence,
        }
        for test in tests
    ]


def to_frame(config: Config, tests: Sequence[Verdict]) -> Any:
    """:func:`records` as a pandas DataFrame.

    Raises:
        ImportError: pandas is not installed; :func:`records` needs nothing.
    """
    pandas = _import(
        "pandas", "to_frame() needs pandas: pip install pandas; records() has the same, and needs nothing"
    )
    return pandas.DataFrame.from_records(records(config, tests))


def _import(module: str, otherwise: str) -> Any:
    """``module``, or an ImportError that says what is needed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name not in (module, module.partition(".")[0]):
            raise  # installed, but broken: its own error says more
        raise ImportError(otherwise, name=error.name) from error


def html(title: str, config: Config, state: State, step: int) -> str:
    """The rich display: what has been decided, and the LR as a small picture; needs no other library."""
    last, switch = state.verdicts[-1] if state.verdicts else None, state.switch
    rows = {
        "updates": f"{step:,} of {config.total_steps:,}",
        "phase": "warm-up" if switch is None else "decay",
        "tests": f"{len(state.verdicts):,}",
        "last test": _test(config, last),
        "switch": "not yet" if switch is None else f"step {switch.step:,}{' (cap)' if switch.capped else ''}",
    }
    if switch is not None:
        rows["t*"] = "–" if switch.t_star is None else f"{switch.t_star:,.1f}"
        rows["peak LR"] = f"{switch.peak_lr:.3g}"
    for name, probed in (("minima that were not the last", True), ("false alarms", False)):
        steps = [f"{of.step:,}" for of in state.reopenings if of.probed == probed]
        if steps:
            rows[name] = f"{len(steps)}; warm-up went on at step {', '.join(steps)}"
    cells = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<strong>{escape(title)}</strong>\n<table>{cells}</table>\n{_picture(config, state, step)}"


def _test(config: Config, test: Verdict | None) -> str:
    if test is None:
        return "–"
    if not test.p_min:
        return f"step {test.step:,}: no evidence ({test.no_evidence})"
    votes = f"{test.votes(config.confidence)} of {len(test.p_min)} subsets"
    return f"step {test.step:,}: {votes} say that the minimum is past, or the fall at its end"


def _picture(config: Config, state: State, step: int) -> str:
    """The LR on a log axis as SVG, in the colour of the text around it."""
    if step < 2:
        return ""
    steps = np.unique(np.linspace(0, step - 1, 200, dtype=np.float64).round())
    lrs = learning_rates(config, state, steps)
    shown = lrs > 0
    if shown.sum() < 2:
        return ""
    logs = np.log10(lrs[shown])
    logs = np.maximum(logs, logs.max() - 6)
    x = 300 * steps[shown] / max(config.total_steps, 1)
    y = 60 - 55 * (logs - logs.min()) / (float(np.ptp(logs)) or 1)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    line = f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    label = f"learning rate, {lrs[shown].min():.2g} to {lrs[shown].max():.2g}, log axis"
    return (
        f'<svg viewBox="0 0 300 62" width="300" height="62" role="img"><title>{label}</title>{line}</svg>'
        f"<div><small>{label}</small></div>"
    )
