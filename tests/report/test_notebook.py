"""What a scheduler and a replay show in a notebook."""

import numpy as np
import pytest

pytest.importorskip("plotly")

import plotly.graph_objects as go

import autowu
from told import WATCH


def curve(n: int = 300) -> np.ndarray:
    x = np.arange(n) / n
    return 0.5 + 1.8 / (1 + np.exp((x - 0.3) * 20)) + 6 * np.clip(x - 0.6, 0, None) ** 2


def scheduler(losses: np.ndarray) -> "autowu.AutoWU":
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    found = autowu.AutoWU(optimizer, total_steps=500)
    for loss in losses:
        found.step(float(loss))
    return found


@pytest.mark.filterwarnings(WATCH)
@pytest.mark.parametrize("steps", [0, 1, 30, 120, 300])
def test_a_scheduler_can_be_looked_at_at_any_time(steps: int) -> None:
    found = scheduler(curve()[:steps])
    before = repr(found.state_dict())
    assert isinstance(found.plot(), go.Figure)
    assert f"{steps:,} of 500" in found._repr_html_()
    assert len(found.records()) == len(found.verdicts)
    assert repr(found.state_dict()) == before


def test_the_figure_has_lr_loss_and_votes() -> None:
    outcome = autowu.replay(curve(), 500)
    figure = outcome.plot(curve())
    assert {trace.yaxis or "y" for trace in figure.data} == {"y", "y2", "y3"}
    names = [trace.name for trace in figure.data]
    assert {"loss", "smoothed loss", "P<sub>min</sub>"} <= set(names)
    assert len(figure.data[names.index("loss")].x) == outcome.switch_step
    assert any("peak LR" in note.text for note in figure.layout.annotations)
