"""What a scheduler or a replay knows, for notebooks: a table of its tests, and its rich display."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import Any

import numpy as np

from autowu.config import Config
from autowu.controller.history import learning_rates
from autowu.controller.state import Phase, State
from autowu.detector.detect import Verdict


def records(config: Config, tests: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The tests as plain values, a row for each."""
    return [
        {
            "step": test.step,
            "start": test.start,
            "p_min": statistics.median(test.p_min) if test.p_min else None,
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
    pandas = needed(
        "pandas", "to_frame() needs pandas: pip install pandas; records() has the same, and needs nothing"
    )
    return pandas.DataFrame.from_records(records(config, tests))


def needed(module: str, otherwise: str) -> Any:
    """``module``, or an ImportError that says what is needed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name not in (module, module.partition(".")[0]):
            raise  # installed, but broken: its own error says more
        raise ImportError(otherwise, name=error.name) from error


def html(title: str, config: Config, state: State[Phase], step: int) -> str:
    """The rich display: what has been decided, and the LR as a small picture; needs no other library."""
    last, switch = state.verdicts[-1] if state.verdicts else None, state.switch
    end, phase = state.horizon.end, state.stage
    rows = {
        "updates": f"{step:,}" if end is None else f"{step:,} of {end:,}",
        "phase": "warm-up" if phase == "warmup" else phase,
        "tests": f"{len(state.verdicts):,}",
        "last test": _test(config, last),
        "switch": "not yet" if switch is None else f"step {switch.step:,}{' (cap)' if switch.capped else ''}",
    }
    if switch is not None:
        rows["peak step"] = "–" if switch.t_star is None else f"{switch.t_star:,.1f}"
        rows["peak LR"] = f"{switch.peak_lr:.3g}"
    if state.cuts:
        rows["LR cut"] = ", ".join(f"step {cut.step:,}: × {cut.factor:.2g}" for cut in state.cuts)
    cells = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<strong>{escape(title)}</strong>\n<table>{cells}</table>\n{_picture(config, state, step)}"


def _test(config: Config, test: Verdict | None) -> str:
    if test is None:
        return "–"
    if not test.p_min:
        return f"step {test.step:,}: no evidence ({test.no_evidence})"
    if len(test.p_min) == 1:
        past = "past" if test.detected else "not past yet"
        return f"step {test.step:,}: the minimum is {past} (P_min {test.p_min[0]:.2f})"
    votes = f"{test.votes(config.confidence)} of {len(test.p_min)} subsets"
    return f"step {test.step:,}: {votes} say that the minimum is past"


def _picture(config: Config, state: State[Phase], step: int) -> str:
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
    x = 300 * steps[shown] / (state.horizon.end or step)
    y = 60 - 55 * (logs - logs.min()) / (float(np.ptp(logs)) or 1)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    line = f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    label = f"learning rate, {lrs[shown].min():.2g} to {lrs[shown].max():.2g}, log axis"
    return (
        f'<svg viewBox="0 0 300 62" width="300" height="62" role="img"><title>{label}</title>{line}</svg>'
        f"<div><small>{label}</small></div>"
    )
