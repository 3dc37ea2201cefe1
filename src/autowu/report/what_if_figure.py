"""The figure of other settings: the peak LR and the switch that each would have led to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from autowu.offline.what_if import NAMES, Case, against
from autowu.report.curves import numbers
from autowu.report.figures import COLOURS, SYMBOLS, WHOLE, Figure
from autowu.report.section import Section

WORDS: Final = """
Each point is the same losses with one setting changed: further right, a higher peak learning rate. The line
is what the chosen settings decided, and filled points are the chosen values; points in a column mean that the
decision does not hang on that setting.
"""


def figure(cases: Sequence[Case]) -> Figure:
    """Peak LR of each case, a row for each; cases without a switch have an empty row."""
    rows = [f"{NAMES[case.setting]} = {case.value:g}" for case in cases]
    traces = list[Figure]()
    for i, setting in enumerate(dict.fromkeys(case.setting for case in cases)):
        mine = [(case, row) for case, row in zip(cases, rows, strict=True) if case.setting == setting]
        symbol = SYMBOLS[i % len(SYMBOLS)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": NAMES[setting],
                "x": numbers([case.peak_lr or math.nan for case, _ in mine]),
                "y": [row for _, row in mine],
                "text": [_words(case) for case, _ in mine],
                "hovertemplate": "%{y}<br>peak LR %{x}<br>%{text}<extra></extra>",
                "marker": {
                    "color": COLOURS[i % len(COLOURS)],
                    "symbol": [symbol if case.chosen else f"{symbol}-open" for case, _ in mine],
                    "size": 11,
                    "line": {"width": 2},
                },
                "showlegend": False,
            }
        )
    chosen = next(case for case in cases if case.chosen).peak_lr
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot", "width": 2}}
    peaks = [case.peak_lr for case in cases if case.peak_lr]
    return {
        "data": traces,
        "layout": {
            "xaxis": {
                "title": {"text": "peak learning rate"},
                "type": "log",
                "tickformat": WHOLE,
                "nticks": 5,  # more would name each of 2 to 9, one over the other
                "range": _range(peaks),
            },
            "yaxis": {"type": "category", "categoryarray": rows[::-1], "tickfont": {"size": 11}},
            "hovermode": "closest",
            "shapes": [line | {"x0": chosen, "x1": chosen, "line": {"color": COLOURS[4]}}] if chosen else [],
        },
    }


def _range(peaks: Sequence[float]) -> list[float] | None:
    """At least a factor of four, or small differences would look like large ones."""
    if not peaks:
        return None
    low, high = math.log10(min(peaks)), math.log10(max(peaks))
    margin = max(0.1 * (high - low), 0.5 * (math.log10(4) - (high - low)), 0.05)
    return [low - margin, high + margin]


def _words(case: Case) -> str:
    step = case.replay.switch_step
    return "no switch" if step is None else f"switch at step {step:,}{' (cap)' if case.replay.capped else ''}"


def section(cases: Sequence[Case]) -> Section:
    """The figure with its words, and the numbers as a table."""
    return Section("What if?", WORDS, figure(cases), "tall", _table(list(cases)))


def _table(cases: list[Case]) -> str:
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("setting", "value", "switch step", "peak step", "peak LR", "against chosen")
    )
    rows = "".join(_row(case, cases) for case in cases)
    return f'<div class="numbers"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>'


def _row(case: Case, cases: list[Case]) -> str:
    outcome, ratio = case.replay, against(case, cases)
    cells = (
        NAMES[case.setting],
        f"{case.value:g}",
        "no switch"
        if outcome.switch_step is None
        else f"{outcome.switch_step:,}{' (cap)' if outcome.capped else ''}",
        "–" if outcome.t_star is None else f"{outcome.t_star:,.1f}",
        "–" if outcome.peak_lr is None else f"{outcome.peak_lr:.3g}",
        "–" if ratio is None else f"× {ratio:.2f}",
    )
    kind = ' class="chosen"' if case.chosen else ""
    return f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
