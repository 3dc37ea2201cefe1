"""The loss of warm-up over its learning rate."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plotly")

import plotly.graph_objects as go

import autowu
from autowu.offline.arguments import Asked
from autowu.offline.decide import Decided
from autowu.offline.logs import Record
from autowu.report import against_lr, sections
from autowu.report.replayed import run_of
from autowu.runlog import run as runlog
from autowu.runlog.run import Run
from report import simulated


@pytest.fixture
def autowu_run_read(autowu_run: Path) -> Run:
    return runlog.read(autowu_run)


def replayed(lrs: np.ndarray | None = None) -> Run:
    """A run of the default preset, whose fast growth goes over some LRs before the slow one does."""
    x = np.arange(600) / 600
    noise = 0.03 * np.random.default_rng(0).standard_normal(600)
    losses = 0.5 + 1.8 / (1 + np.exp((x - 0.2) * 20)) + 6 * np.clip(x - 0.4, 0, None) ** 2 + noise
    return run_of(Decided("log.csv", Asked(), Record(losses, lrs), autowu.replay(losses)))


def test_the_losses_of_warm_up_are_over_their_rates(autowu_run_read: Run) -> None:
    figure = against_lr.figure([autowu_run_read])
    go.Figure(figure)
    json.dumps(figure, allow_nan=False)
    dots, line = figure["data"]
    assert len(dots["x"]) == autowu_run_read.warmup_end == 400
    np.testing.assert_allclose(dots["x"], autowu_run_read.lrs[:400], rtol=1e-4)
    assert np.all(np.diff(line["x"]) > 0)
    lowest = line["x"][int(np.argmin(line["y"]))]
    assert lowest == pytest.approx(0.02, rel=0.2)  # as simulated
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [pytest.approx(0.02, rel=0.01)]
    assert figure["layout"]["annotations"][0]["text"] == "peak LR 0.02"


def test_fast_growth_is_a_line_of_its_own() -> None:
    run = replayed()
    figure = against_lr.figure([run])
    lines = [trace for trace in figure["data"] if trace["mode"] == "lines"]
    assert [trace["line"]["width"] for trace in lines] == [1.5, 3]
    fast, slow = lines
    assert fast["x"][-1] > slow["x"][0]  # slow growth begins further back
    for trace in lines:
        assert np.all(np.diff(trace["x"]) > 0)


def test_runs_whose_rates_are_not_autowu_s_have_no_such_figure(baseline_run: Path) -> None:
    baseline, foreign = runlog.read(baseline_run), replayed(np.full(600, 1e-3))
    assert not against_lr.shown(baseline)
    assert not against_lr.shown(foreign)
    headings = [section.heading for section in sections.sections([baseline, foreign])]
    assert "Loss against learning rate" not in headings
    assert "Loss against learning rate" in [s.heading for s in sections.sections([baseline, replayed()])]


def test_of_many_runs_no_peak_is_marked(tmp_path: Path) -> None:
    runs = [runlog.read(simulated.autowu(tmp_path / str(i))) for i in range(4)]
    assert len(against_lr.figure(runs[:3])["layout"]["shapes"]) == 3
    figure = against_lr.figure(runs)
    assert figure["layout"]["shapes"] == figure["layout"]["annotations"] == []
    assert {trace["meta"]["run"] for trace in figure["data"]} == {0, 1, 2, 3}
    few, many = ({found.heading: found.words for found in sections.sections(of)} for of in (runs[:3], runs))
    assert "dotted line" in few["Loss against learning rate"]
    assert "dotted line" not in many["Loss against learning rate"]
