"""A figure of what a scheduler or a replay knows, for notebooks.

Nothing is kept for it that the scheduler would not keep anyway: the LRs are a closed form of the state, the
losses shown are those of the window that the next test looks at.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller.display import needed
from autowu.controller.history import learning_rates
from autowu.controller.state import Phase, State
from autowu.extras import install
from autowu.report.overview import overview
from autowu.runlog.run import Run

MOST_STEPS: Final = 20_000  # of the LR curve; a longer run is shown at so many steps of it


def as_run(config: Config, state: State[Phase], step: int, losses: Array | None = None) -> Run:
    """The state after ``step`` updates as a run that the report's figures can show.

    Args:
        config: of the schedule.
        state: of the controller.
        step: updates done.
        losses: of all updates [step], where they are known; by default those that the state still holds.
    """
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
        cuts=state.cuts,
        ends=state.horizon.ends,
        evaluations=(),
        notes=(),
    )


def plot(config: Config, state: State[Phase], step: int, losses: Array | None = None) -> Any:
    """A Plotly figure of :func:`as_run`: LR, smoothed loss and votes over the steps.

    Raises:
        ImportError: Plotly, of the extra ``report``, is not installed.
    """
    graph_objects = needed("plotly.graph_objects", f"plot() needs plotly: {install('report')}")
    return graph_objects.Figure(overview(as_run(config, state, step, losses)))
