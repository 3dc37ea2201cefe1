"""The figure of throughput: how fast each run trained, from one evaluation to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autowu.report.figures import Figure, hovermode, kept_evaluations, over_evaluations, progress_axis
from autowu.runlog.run import Run


def measured(run: Run) -> bool:
    """Whether the run's log tells its speed."""
    return any(math.isfinite(each.samples_per_second) for each in run.evaluations)


def throughput(runs: Sequence[Run]) -> Figure:
    """Training images, or tokens, a second, from zero on, so that heights can be compared."""
    traces = list[Figure]()
    at, title = progress_axis(runs)
    samples = " or ".join(sorted({run.samples for run in runs if measured(run)}))
    for i, run in enumerate(runs):
        if not measured(run):
            continue
        kept = kept_evaluations(run, "samples_per_second", len(runs))
        speeds = [each.samples_per_second for each in kept]
        traces.append(over_evaluations("speed", run, i, [getattr(each, at) for each in kept], speeds))
    layout: Figure = {
        "xaxis": {"title": {"text": title}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": f"training {samples} a second"}, "rangemode": "tozero"},
        "hovermode": hovermode(runs),
        "showlegend": True,
    }
    return {"data": traces, "layout": layout}
