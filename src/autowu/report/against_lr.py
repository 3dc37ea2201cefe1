"""The figure that explains the method: the loss of warm-up over the learning rate that it was had with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from autowu.arrays import Array
from autowu.report.curves import numbers, smoothed, span, thinned
from autowu.report.figures import COLOURS, DASHES, FEW, WHOLE, Figure, headroom, label
from autowu.report.replayed import Replayed
from autowu.runlog.run import Run

RAW_POINTS: Final = 6_000
SMOOTH_POINTS: Final = 1_500
SMOOTHING: Final = 0.02  # of a stretch: more than over the steps, since what counts is where the loss turns
FEWEST: Final = 8  # updates of a stretch that is shown


def shown(run: Run) -> bool:
    """Whether the run's learning rates grew as AutoWU has it, so that the loss over them says something."""
    if isinstance(run, Replayed) and (run.foreign or run.range_test is not None):
        return False
    return run.adaptive and any(True for _ in stretches(run))


def stretches(run: Run) -> Iterator[slice]:
    """Parts of warm-up in which the LR only grows: fast growth, and slow growth from further back."""
    end = int(np.searchsorted(run.steps, run.warmup_end, side="right"))
    falls = np.flatnonzero(np.diff(run.lrs[:end]) < 0) + 1
    for start, stop in zip([0, *falls.tolist()], [*falls.tolist(), end], strict=True):
        if stop - start >= FEWEST:
            yield slice(start, stop)


def figure(runs: Sequence[Run]) -> Figure:
    """Losses over the LR, smoothed within each stretch of growth; the peak LR as a line.

    The last stretch is the one that is tested; those before it are thin.
    """
    traces, shapes, notes, seen = list[Figure](), list[Figure](), list[Figure](), list[Array]()
    mine = [(i, run) for i, run in enumerate(runs) if shown(run)]
    for i, run in mine:
        parts, colour = list(stretches(run)), COLOURS[i % len(COLOURS)]
        common = {"type": "scatter", "name": label(run.name), "legendgroup": str(i)}
        for part in parts:
            last = part is parts[-1]
            lrs, losses = run.lrs[part], run.losses[part]
            kept = thinned(losses, RAW_POINTS // len(mine) // len(parts))
            dots = {"color": colour, "size": 4, "opacity": 0.35 if last else 0.2}
            traces.append(
                common
                | {"mode": "markers", "marker": dots, "hoverinfo": "skip", "showlegend": False}
                | {"x": numbers(lrs[kept]), "y": numbers(losses[kept]), "meta": {"run": i, "kind": "dots"}}
            )
            at, smooth = smoothed(np.arange(len(lrs)), losses, SMOOTH_POINTS // len(mine), SMOOTHING)
            if not len(at):
                continue
            over = np.exp(np.interp(at, np.arange(len(lrs)), np.log(np.maximum(lrs, 1e-300))))
            line = {"color": colour, "width": 3 if last else 1.5, "dash": DASHES[i % len(DASHES)]}
            traces.append(
                common
                | {"mode": "lines", "line": line, "showlegend": last, "meta": {"run": i, "kind": "smooth"}}
                | {"x": numbers(over), "y": numbers(smooth)}
            )
            seen.append(smooth)
        if run.switch is not None and len(mine) <= FEW:
            peak = {"x0": run.switch.peak_lr, "x1": run.switch.peak_lr, "yref": "paper", "y0": 0, "y1": 1}
            shapes.append(
                peak | {"type": "line", "name": str(i), "line": {"color": colour, "width": 2, "dash": "dot"}}
            )
            words = f"peak LR {run.switch.peak_lr:.3g}"
            top = {"x": float(np.log10(run.switch.peak_lr)), "y": 1, "yref": "paper", "yanchor": "top"}
            notes.append(
                top
                | {"text": words if len(mine) == 1 else f"{label(run.name, 20)}: {words}", "name": str(i)}
                | {"showarrow": False, "xanchor": "right", "xshift": -6, "yshift": -20 * len(notes)}
            )
    ends = span(*seen, cut=0)
    margin = 0 if ends is None else 0.15 * (ends[1] - ends[0]) or 0.5
    above = max(margin, headroom(len(notes), 330) * margin / 0.15)
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": "learning rate"}, "type": "log", "tickformat": WHOLE},
            "yaxis": {"title": {"text": "training loss"}, "exponentformat": "e"}
            | ({} if ends is None else {"range": [ends[0] - margin, ends[1] + above]}),
            "hovermode": "closest",
            "showlegend": len(mine) > 1,
            "shapes": shapes,
            "annotations": notes,
        },
    }
