"""One figure of a run for a notebook: LR, smoothed loss and votes over a shared axis of steps."""

from __future__ import annotations

from itertools import pairwise

from autowu.report import decision, figures
from autowu.report.figures import STEP_AXIS, Figure
from autowu.runlog.run import Run


def overview(run: Run) -> Figure:
    """The report's figures of a run, one below the other."""
    curves = figures.learning_rate_and_loss([run])
    rows = 3 if run.tests else 2
    data = [trace for trace in curves["data"] if trace.get("yaxis", "y") == "y" or not run.tests]
    if run.tests:
        seen, votes = decision.gp_view(run), decision.votes(run)
        data += [trace | {"yaxis": "y2"} for trace in seen["data"]]
        data += [trace | {"yaxis": "y3"} for trace in votes["data"]]
    ends = [1 - i / rows for i in range(rows + 1)]
    domains = [[low + (0.04 if low else 0), high] for high, low in pairwise(ends)]
    layout: Figure = {
        "xaxis": {"title": {"text": STEP_AXIS}, "anchor": f"y{rows}"}
        | {"range": curves["layout"]["xaxis"]["range"]},
        "yaxis": curves["layout"]["yaxis"] | {"domain": domains[0]},
        "yaxis2": {"title": {"text": "training loss"}, "exponentformat": "e", "domain": domains[1]},
        "shapes": curves["layout"]["shapes"],
        "annotations": [
            note for note in curves["layout"]["annotations"] if note["yref"] != "y2" and note["text"]
        ],
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "height": 230 * rows,
        "margin": {"t": 60, "r": 20},
        "hovermode": "closest",
    }
    if run.tests:
        layout["yaxis3"] = decision.votes(run)["layout"]["yaxis"] | {"domain": domains[2]}
    return {"data": data, "layout": layout}
