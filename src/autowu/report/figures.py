"""The report's figures, as plain dictionaries in the JSON schema of plotly.js.

Nothing here needs Plotly: the page carries its JavaScript, which draws them. Runs are told apart by colour
and dash; the colours, after Okabe and Ito, stand out from white and from black, also for the colour-blind.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from autowu.controller.cuts import taken_back
from autowu.controller.state import Cut, End, Reason, Switch
from autowu.report.curves import Array, lr_ends, numbers, smoothed, span, thinned
from autowu.report.replayed import star as star_of
from autowu.report.replayed import star_words
from autowu.runlog.run import Evaluation, Run

Figure: TypeAlias = dict[str, Any]

COLOURS: Final = ("#0b7bbd", "#d55e00", "#009e73", "#b8609a", "#808080")
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "star")

STEP_AXIS: Final = "step (updates done)"

# Points of a page, shared by its runs: plotly.js takes 5 of the 6 MB that a page may have.
RAW_POINTS: Final = 12_000
SMOOTH_POINTS: Final = 5_000
EVALUATION_POINTS: Final = 3_000

WHOLE: Final = "~e"  # a tick of a log axis is a whole number, not a small 2 or 5 beside a power of ten
ROW: Final = 20  # pixels, of words below words
BETWEEN: Final = {"y": 0.53, "yref": "paper", "yanchor": "top"}  # words between the two axes
FEW: Final = 3  # runs; of more, shades and words would cover one another
DECADES: Final = 12  # of a log axis, at most, to have a tick each


def label(text: str, most: int = 40) -> str:
    """``text`` as plotly.js shows it: no tags (it reads a little HTML), and at most ``most`` characters."""
    short = text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2 - 1) :]}"
    return html.escape(short, quote=False)


def learning_rate_and_loss(runs: Sequence[Run]) -> Figure:
    """LR and loss over one step axis; of a few runs of AutoWU warm-up is shaded, and decisions annotated."""
    few = sum(run.adaptive for run in runs) <= FEW
    smooth = [smoothed_loss(run, SMOOTH_POINTS // len(runs)) for run in runs]
    loss_axis = _loss_axis([run.losses for run in runs], [y for _, y in smooth])
    traces, shapes, notes = list[Figure](), list[Figure](), list[Figure]()
    for i, (run, loss) in enumerate(zip(runs, smooth, strict=True)):
        line = {"color": COLOURS[i % len(COLOURS)], "dash": DASHES[i % len(DASHES)]}
        traces += _curves(i, run, loss, line | {"width": 2}, len(runs))
        if run.adaptive and few:
            mine = {"name": str(i)}
            shapes += [shape | mine for shape in _warmup(run, line | {"width": 1.5})]
            log = loss_axis["type"] == "log"
            notes += [note | mine for note in _notes(run, runs, loss, line["color"], log=log)]
    layout = {
        "xaxis": {"title": {"text": STEP_AXIS}, "anchor": "y2", "range": [0, _last(runs)]},
        "yaxis": _lr_axis(runs, sum((note["yref"], note["y"]) == ("paper", 1) for note in notes))
        | {"title": {"text": "learning rate"}, "domain": [0.53, 1]},
        "yaxis2": loss_axis | {"title": {"text": "training loss"}, "domain": [0, 0.48]},
        "hovermode": hovermode(runs),
        "shapes": shapes,
        "annotations": notes,
    }
    return {"data": traces, "layout": layout}


def _last(runs: Sequence[Run]) -> int:
    """The last step of all of them."""
    return max((int(run.steps[-1]) for run in runs if len(run.steps)), default=1)


def pale(colour: str) -> str:
    """``colour`` for single losses: a trace of its own opacity would be a layer, which browsers may tint."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.3)"


def hovermode(runs: Sequence[Run]) -> str:
    """All values at a place; of many runs those of the nearest only."""
    return "x unified" if len(runs) <= FEW else "closest"


def _curves(i: int, run: Run, loss: tuple[Array, Array], line: Figure, among: int) -> list[Figure]:
    """LR, smoothed loss, raw loss, and a star on the LR that training goes back to."""
    name = label(run.name)
    common = {"type": "scatter", "mode": "lines", "name": name, "legendgroup": str(i)}
    on_loss = common | {"yaxis": "y2", "showlegend": False}
    kept = thinned(run.lrs, SMOOTH_POINTS // among)
    lr = common | {"x": run.steps[kept].tolist(), "y": numbers(run.lrs[kept]), "line": line}
    trend = on_loss | {"x": numbers(loss[0]), "y": numbers(loss[1]), "line": line}
    kept = thinned(run.losses, RAW_POINTS // among)
    raw = on_loss | {"x": run.steps[kept].tolist(), "y": numbers(run.losses[kept])}
    raw |= {"line": {"color": pale(line["color"]), "width": 1}, "hoverinfo": "skip"}
    kinds = {"lr": lr, "smooth": trend, "raw": raw}
    curves = [trace | {"meta": {"run": i, "kind": kind}} for kind, trace in kinds.items()]
    if (at := star_of(run)) is None:
        return curves
    star = common | {"x": numbers([at[0]]), "y": numbers([at[1]])}
    star |= {"mode": "markers", "marker": {"color": line["color"], "symbol": "star", "size": 14}}
    return [
        *curves,
        star | {"name": f"{name}: peak", "showlegend": False, "meta": {"run": i, "kind": "star"}},
    ]


def headroom(rows: int, height: float) -> float:
    """The room for ``rows`` of words above a curve, in its heights, in a picture of ``height`` pixels."""
    share = (ROW * rows + 6) / height
    return share / (1 - share)


def _lr_axis(runs: Sequence[Run], rows: int) -> Figure:
    axis: Figure = {"type": "log", "exponentformat": "e", "tickformat": WHOLE}
    ends = [known for run in runs if (known := lr_ends(run))]
    if not ends:
        return axis
    low = math.log10(min(end[0] for end in ends)) - 0.2
    high = math.log10(max(end[1] for end in ends))
    return axis | {"range": [low, high + max(0.5, headroom(rows, 255) * (high - low))]}


def smoothed_loss(run: Run, most: int) -> tuple[Array, Array]:
    """The smoothed loss, with a gap at the switch and each cut: where weights are put back, it jumps."""
    ends = np.searchsorted(run.steps, run.rewinds, side="right")
    parts = list[tuple[Array, Array]]()
    for steps, losses in zip(np.split(run.steps, ends), np.split(run.losses, ends), strict=True):
        part = smoothed(steps, losses, most // (len(ends) + 1))
        if len(part[0]):
            gap = np.full(1 if parts else 0, np.nan)
            parts += [(gap, gap), part]
    x, y = [np.concatenate(each) for each in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 2
    return x, y


def _loss_axis(raw: Sequence[Array], smooth: Sequence[Array]) -> Figure:
    """Nearly all losses; on a log axis where the smoothed ones are positive and span a factor of 3."""
    ends, trend = span(*raw), span(*smooth, cut=0)
    if ends is None or trend is None:
        return {"type": "linear"}
    log = 0 < 3 * trend[0] < trend[1]
    low, high = min(ends[0], trend[0]), max(ends[1], trend[1])
    if log:
        low, high = math.log10(max(low, trend[0] / 10)), math.log10(high)
    margin = 0.05 * (high - low) or 0.5
    axis: Figure = {"type": "log" if log else "linear", "range": [low - margin, high + margin]}
    axis |= {"exponentformat": "e"} | ({"tickformat": "~g"} if log else {})
    if log and high - low > DECADES:  # a tick at each would leave no room between them
        axis["dtick"] = math.ceil((high - low) / DECADES)
    return axis


def _warmup(run: Run, line: Figure) -> list[Figure]:
    """A shade over warm-up, half of it over a stable phase; a line at the switch, thin ones later on."""
    upright = {"y0": 0, "y1": 1, "yref": "paper", "layer": "below"}
    shade = {"type": "rect", "fillcolor": line["color"], "opacity": 0.1, "line": {"width": 0}}
    shapes = [upright | shade | {"x0": 0, "x1": run.warmup_end}]
    if run.switch:
        at = run.switch.step
        shapes.append(upright | {"type": "line", "x0": at, "x1": at, "line": line})
    if run.stable is not None:
        shapes.append(upright | shade | {"opacity": 0.05, "x0": run.stable[0], "x1": run.stable[1]})
    thin = {"type": "line", "line": line | {"width": 0.75}}
    return shapes + [upright | thin | {"x0": at.step, "x1": at.step} for at in (*run.cuts, *run.ends)]


def _notes(run: Run, among: Sequence[Run], loss: tuple[Array, Array], colour: str, log: bool) -> list[Figure]:
    """The switch, the peak and the rewind, in words and an arrow; of several runs the switch in words."""
    switch, tested = run.switch, [other for other in among if other.adaptive]
    alone, row = len(tested) == 1, tested.index(run)
    if switch is None:
        return []
    last = _last(among)
    left = switch.step < 0.6 * last
    text = _beside(switch.step, last)
    later = (
        [*map(partial(_cut, run.cuts), range(len(run.cuts))), *map(_end, run.ends[-FEW:])] if alone else []
    )
    notes = [note | _beside(note["x"], last) | {"yshift": -ROW * at} for at, note in enumerate(later)]
    below = -ROW * max(0, len(notes) - 1)  # the first stands between the axes
    if row < FEW:
        words = f"switch at step {switch.step:,}{'' if found(switch) else ' (no minimum found)'}"
        top = {"x": switch.step, "y": 1, "yref": "paper", "yanchor": "top", "yshift": -ROW * row}
        notes.append(text | top | {"text": words if alone else f"{label(run.name, 28)}: {words}"})
    if alone and (star := star_of(run)) is not None:
        peak = {"x": star[0], "y": math.log10(star[1]), "yref": "y", "xshift": 8 if left else -12}
        notes.append(text | peak | {"yshift": -42 if left else 10, "text": star_words(run, star)})
    x, y = loss[0][np.isfinite(loss[0])], loss[1][np.isfinite(loss[0])]
    if switch.rewound_to is not None and len(x):
        ends = (float(np.interp(step, x, y)) for step in (switch.step, switch.rewound_to))
        at, back = map(math.log10, ends) if log else ends
        head = {"x": switch.rewound_to, "y": back, "yref": "y2", "text": "", "arrowcolor": colour}
        tail = {"ax": switch.step, "ay": at, "axref": "x", "ayref": "y2"}
        notes.append(head | tail | {"showarrow": True, "arrowhead": 2, "arrowwidth": 2})
        if alone:
            # At the top, where a loss that has fallen leaves room.
            top = {"x": switch.step, "y": 1, "yref": "y2 domain", "yanchor": "top"}
            top |= {"yshift": below}
            notes.append(text | top | {"text": f"weights of step {switch.rewound_to:,} put back"})
    return notes


def found(switch: Switch) -> bool:
    """Whether a minimum of the loss was found, or something else ended warm-up."""
    return switch.reason is Reason.MINIMUM


def _beside(step: float, last: int) -> Figure:
    """Words at ``step``, on the side of it where there is room."""
    left = step < 0.6 * last
    return {"showarrow": False, "xanchor": "left" if left else "right", "xshift": 5 if left else -5}


def _cut(cuts: Sequence[Cut], at: int) -> Figure:
    """A change of the LR in words, between the axes."""
    cut = cuts[at]
    words = "cut taken back" if taken_back(cuts, at) else "LR cut to a third"
    weights = "" if cut.back_to is None else f", weights of step {cut.back_to:,} put back"
    return BETWEEN | {"x": cut.step, "text": f"step {cut.step:,}: {words}{weights}"}


def _end(end: End) -> Figure:
    """An end that was set on the way, in words, likewise."""
    words = f"{'cooldown' if end.cooldown else 'end moved'} to step {end.total_steps:,}"
    return BETWEEN | {"x": end.step, "text": f"step {end.step:,}: {words}"}


def kept_evaluations(run: Run, name: str, among: int) -> list[Evaluation]:
    """Evaluations enough for a picture of the quantity ``name``."""
    values = np.array([getattr(each, name) for each in run.evaluations], dtype=np.float64)
    return [run.evaluations[i] for i in thinned(values, EVALUATION_POINTS // among)]


def progress_axis(runs: Sequence[Run]) -> tuple[str, str]:
    """The axis of what is measured in evaluations: a field of Evaluation, and its title.

    Epochs, which compare runs of several batch sizes; steps where one of the runs, over a text, has none.
    """
    if all(math.isfinite(each.epoch) for run in runs for each in run.evaluations):
        return "epoch", "epoch"
    return "step", STEP_AXIS


def over_evaluations(kind: str, run: Run, i: int, at: Sequence[float], values: Sequence[float]) -> Figure:
    """The line of the ``i``-th run, with a mark at each evaluation."""
    style = {"color": COLOURS[i % len(COLOURS)]}
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(run.name),
        "legendgroup": str(i),
        "meta": {"run": i, "kind": kind},
        "x": numbers(at),
        "y": numbers(values),
        "line": style | {"dash": DASHES[i % len(DASHES)]},
        "marker": style | {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 7},
    }


def accuracy(runs: Sequence[Run]) -> Figure:
    """Test accuracy at each evaluation; where there are many, the first may lie below the picture."""
    traces, shown = list[Figure](), list[list[float]]()
    at, title = progress_axis(runs)
    for i, run in enumerate(runs):
        kept = kept_evaluations(run, "test_accuracy", len(runs))
        shown.append(percent := [100 * each.test_accuracy for each in kept])
        traces.append(over_evaluations("accuracy", run, i, [getattr(each, at) for each in kept], percent))
    typical, best = span(*shown, cut=10), span(*shown, cut=0)
    layout: Figure = {
        "xaxis": {"title": {"text": title}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "test accuracy"}, "ticksuffix": "%"},
        "hovermode": hovermode(runs),
    }
    if typical and best:
        margin = 0.1 * (best[1] - typical[0]) or 1.0
        layout["yaxis"]["range"] = [typical[0] - margin, best[1] + margin]
    return {"data": traces, "layout": layout}
