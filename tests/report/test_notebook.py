"""What a scheduler and a replay show in a notebook."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly")

import plotly.graph_objects as go

import autowu
from autowu.config import Config
from autowu.controller import display, history, machine


def curve(n: int = 300) -> np.ndarray:
    x = np.arange(n) / n
    return 0.5 + 1.8 / (1 + np.exp((x - 0.3) * 20)) + 6 * np.clip(x - 0.6, 0, None) ** 2


@pytest.mark.parametrize(
    "settings", [{}, {"preset": "paper", "steps_per_epoch": 10}, {"growth": "exponential"}]
)
@pytest.mark.parametrize("losses", [curve(), np.full(300, 1.0), np.append(curve(40), np.full(260, np.nan))])
def test_the_lrs_are_those_that_the_updates_had(settings: dict[str, Any], losses: np.ndarray) -> None:
    config = autowu.replay(losses, 500, **settings).config
    state, had = machine.start(config), list[float]()
    for step, loss in enumerate(losses):
        had.append(machine.learning_rate(config, state, step))
        state = machine.observe(config, state, np.array([loss]))
    known = history.learning_rates(config, state, np.arange(len(losses), dtype=float))
    np.testing.assert_allclose(known, had, rtol=1e-12)


def scheduler(losses: np.ndarray) -> "autowu.AutoWU":
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    found = autowu.AutoWU(optimizer, total_steps=500)
    for loss in losses:
        found.step(float(loss))
    return found


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
    assert {"loss", "smoothed loss", "median of the subsets"} <= set(names)
    assert len(figure.data[names.index("loss")].x) == outcome.switch_step
    assert any("t* =" in note.text for note in figure.layout.annotations)


def test_the_records_tell_what_the_json_tells() -> None:
    outcome = autowu.replay(curve(), 500)
    for row, test in zip(outcome.records(), outcome.to_json()["tests"], strict=True):
        assert {key: row[key] for key in ("step", "detected", "argmin", "streak", "no_evidence")} == {
            key: test[key] for key in ("step", "detected", "argmin", "streak", "no_evidence")
        }
        assert row["votes"] == sum(p > 0.95 for p in test["p_min"])


def test_the_frame_is_pandas_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = autowu.replay(curve(), 500)
    pandas = ModuleType("pandas")
    pandas.DataFrame = SimpleNamespace(from_records=lambda rows: ("frame", rows))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert outcome.to_frame() == ("frame", outcome.records())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError):
        outcome.to_frame()


def test_the_rich_display_needs_no_other_library_and_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plotly", "matplotlib", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    html = autowu.replay(curve(), 500)._repr_html_()
    assert "<svg" in html
    assert "peak LR" in html
    assert "<b>" not in display.html("<b>", Config(total_steps=5), machine.start(Config(total_steps=5)), 0)
