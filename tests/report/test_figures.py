"""The figures hold what the log says, in a form that plotly.js accepts."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly")

import plotly.graph_objects as go

from autowu.report import curves, decision, figures, sections, speed
from autowu.runlog import run as runlog
from autowu.runlog.run import Run
from report import simulated


@pytest.fixture
def autowu(autowu_run: Path) -> Run:
    return runlog.read(autowu_run)


@pytest.fixture
def baseline(baseline_run: Path) -> Run:
    return runlog.read(baseline_run)


def texts(figure: dict[str, Any]) -> list[str]:
    return [note["text"] for note in figure["layout"]["annotations"] if note["text"]]


def test_plotly_accepts_every_figure(autowu: Run, baseline: Run) -> None:
    found = sections.sections([autowu, baseline])
    assert [section.heading for section in found] == [
        "Learning rate and loss",
        "Loss against learning rate",
        "What the Gaussian process sees",
        "How the tests vote",
        "Test accuracy",
        "Throughput",
    ]
    for section in found:
        go.Figure(section.figure)  # raises at a property that is unknown, or a value that is not allowed
        json.dumps(section.figure, allow_nan=False)
        assert section.words.count(". ") + section.words.count(".\n") <= 3


def test_lr_and_loss_share_the_step_axis(autowu: Run, baseline: Run) -> None:
    figure = figures.learning_rate_and_loss([autowu, baseline])
    layout = figure["layout"]
    assert layout["yaxis"]["type"] == "log"
    assert {trace.get("xaxis", "x") for trace in figure["data"]} == {"x"}
    assert {trace.get("yaxis", "y") for trace in figure["data"]} == {"y", "y2"}
    assert [trace["name"] for trace in figure["data"] if trace.get("showlegend", True)] == [
        "autowu",
        "baseline",
    ]
    lr = figure["data"][0]
    assert (lr["x"][0], lr["y"][0]) == (1, 1e-5)


def test_the_lr_axis_reaches_down_to_growth_that_has_begun_anew(autowu: Run) -> None:
    """And the loss's, of an explosion by many decades, has room between its ticks."""
    assert autowu.switch is not None
    usual = figures.learning_rate_and_loss([autowu])["layout"]
    assert "dtick" not in usual["yaxis2"]
    low = replace(
        autowu,
        lrs=np.where(autowu.steps > 20, 1e-4 * autowu.lrs, autowu.lrs),
        losses=np.where(autowu.steps < 20, 1e30, autowu.losses),
        switch=replace(autowu.switch, peak_lr=1e-4 * autowu.switch.peak_lr),
    )
    layout = figures.learning_rate_and_loss([low])["layout"]
    begins, ends = layout["yaxis"]["range"]
    assert begins < math.log10(low.lrs[low.steps > 20][0])
    assert low.switch is not None
    assert begins < math.log10(low.switch.peak_lr) - 1
    assert ends > math.log10(autowu.lrs[:20].max())
    assert layout["yaxis2"]["dtick"] == 3


def test_runs_differ_by_colour_and_by_dash(autowu: Run) -> None:
    lines = [
        (trace["line"]["color"], trace["line"]["dash"])
        for trace in figures.learning_rate_and_loss([autowu] * 30)["data"]
        if trace.get("showlegend", True)
    ]
    assert len(set(lines)) == 30
    assert len({line[0] for line in lines[:5]}) == len({line[1] for line in lines[:5]}) == 5


def test_the_decision_is_annotated(autowu: Run, baseline: Run) -> None:
    figure = figures.learning_rate_and_loss([autowu, baseline])
    assert texts(figure) == ["switch at step 400", "peak LR 0.02", "weights of step 320 put back"]
    put_back = next(note for note in figure["layout"]["annotations"] if "put back" in note["text"])
    assert (put_back["yref"], put_back["y"]) == ("y2 domain", 1)  # not on the curve
    shades = [shape for shape in figure["layout"]["shapes"] if shape["type"] == "rect"]
    assert [(shade["x0"], shade["x1"]) for shade in shades] == [(0, 400)]
    arrow = next(note for note in figure["layout"]["annotations"] if note["showarrow"])
    assert (arrow["ax"], arrow["x"]) == (400, 320)
    star = next(trace for trace in figure["data"] if trace["mode"] == "markers")
    assert (star["x"], star["y"]) == ([330.0], [0.019953])


def test_of_several_runs_each_switch_is_annotated(autowu: Run, baseline: Run) -> None:
    figure = figures.learning_rate_and_loss([autowu, autowu, baseline])
    assert texts(figure) == ["autowu: switch at step 400"] * 2


def test_a_capped_run_without_a_minimum_says_so(tmp_path: Path) -> None:
    folder = simulated.autowu(tmp_path / "run")
    log = folder / "log.jsonl"
    log.write_text(
        log.read_text().replace('"capped": false, "t_star": 330.0', '"capped": true, "t_star": null')
    )
    figure = figures.learning_rate_and_loss([runlog.read(folder)])
    assert texts(figure) == ["switch at step 400 (no minimum found)", "weights of step 320 put back"]


def test_the_slider_goes_through_the_tests_and_opens_at_the_deciding_one(autowu: Run) -> None:
    figure = decision.gp_view(autowu)
    slider = figure["layout"]["sliders"][0]
    assert [step["label"] for step in slider["steps"]] == [str(test.step) for test in autowu.tests]
    assert slider["active"] == len(autowu.tests) - 1
    data, layout, traces = slider["steps"][-1]["args"]
    for key in ("x", "y"):
        assert [figure["data"][i][key] for i in traces] == data[key]
    assert layout["annotations"] == figure["layout"]["annotations"]
    assert texts(figure) == ["5 of 5 subsets: minimum passed; streak 3 of 3"]


def test_a_detection_that_p_min_does_not_explain_is_an_earlier_version_s(autowu: Run) -> None:
    test = replace(autowu.tests[-1], p_min=(0.96, 0.96, 0.5, 0.5, 0.5))
    said = "2 of 5 subsets: minimum passed; detected by a rule of an earlier version; streak 3 of 3"
    assert decision.verdict(autowu, test) == said
    undetected = replace(test, detected=False, streak=0)
    assert decision.verdict(autowu, undetected) == "2 of 5 subsets: minimum passed"


def test_the_band_is_two_standard_deviations_wide(autowu: Run) -> None:
    _, lower, upper, mean, minima = decision.gp_view(autowu)["data"]
    test = autowu.tests[-1]
    assert test.mean is not None
    assert test.sd is not None
    assert mean["x"][0] == test.start
    assert mean["x"][-1] == test.step
    np.testing.assert_allclose(mean["y"], test.mean[::2], rtol=1e-4)
    np.testing.assert_allclose(np.subtract(upper["y"], lower["y"]), 4 * test.sd[::2], rtol=1e-3)
    np.testing.assert_allclose(minima["x"], [test.step * argmin for argmin in test.argmins], rtol=1e-4)
    dotted = [shape for shape in decision.gp_view(autowu)["layout"]["shapes"] if shape["type"] == "line"]
    assert dotted[0]["x0"] == pytest.approx(test.t_star)


def test_a_test_without_evidence_gives_its_reason(autowu: Run) -> None:
    data, layout, _ = decision.gp_view(autowu)["layout"]["sliders"][0]["steps"][0]["args"]
    assert data["y"] == [[None]] * 4
    assert layout["annotations"][0]["text"] == "no evidence: the loss has not lifted off"


def test_every_test_s_curve_is_in_the_picture_that_opens(autowu: Run) -> None:
    layout = decision.gp_view(autowu)["layout"]
    low, high = layout["yaxis"]["range"]
    assert low < 0.6
    assert high > 2.3
    for step in layout["sliders"][0]["steps"]:
        seen = [y for y in step["args"][0]["y"][2] if y is not None]
        assert all(low <= y <= high for y in seen)


def test_the_button_around_the_minimum_knows_that_of_each_test(autowu: Run) -> None:
    layout = decision.gp_view(autowu)["layout"]
    whole, near = layout["updatemenus"][0]["buttons"]
    assert (whole["label"], near["label"]) == ("all losses", "the minimum")  # page.js goes by these
    assert whole["args"][0]["yaxis.range"] == layout["meta"]["whole"] == layout["yaxis"]["range"]
    assert near["args"][0]["yaxis.range"] == layout["meta"]["near"][-1]
    assert len(layout["meta"]["near"]) == len(autowu.tests)


def test_without_votes_there_is_no_line_at_t_star(autowu: Run) -> None:
    steps = decision.gp_view(autowu)["layout"]["sliders"][0]["steps"]
    lines = [[s for s in step["args"][1]["shapes"] if s["type"] == "line"] for step in steps]
    voted = [any(p > 0.95 for p in test.p_min) for test in autowu.tests]
    assert [bool(line) for line in lines] == voted
    assert True in voted
    assert False in voted


def test_of_more_than_three_runs_nothing_is_shaded_or_annotated(autowu: Run, baseline: Run) -> None:
    few = figures.learning_rate_and_loss([autowu] * 3 + [baseline])["layout"]
    assert few["shapes"]
    assert texts({"layout": few}) == ["autowu: switch at step 400"] * 3
    many = figures.learning_rate_and_loss([autowu] * 4)["layout"]
    assert many["shapes"] == many["annotations"] == []
    assert many["hovermode"] == "closest"


def test_votes_show_every_subset_the_median_and_the_streak(autowu: Run) -> None:
    dots, median, line, streak = decision.votes(autowu)["data"]
    informed = [test for test in autowu.tests if test.p_min]
    assert len(dots["y"]) == 5 * len(informed)
    assert median["x"] == [test.step for test in informed]
    assert median["y"][-1] == pytest.approx(np.median(informed[-1].p_min), rel=1e-4)
    assert line["y"] == [0.95, 0.95]
    assert streak["text"] == ["", "", "3"]
    assert "switch at 3" in streak["name"]


def test_each_row_of_tests_that_agree_has_its_number_once(autowu: Run) -> None:
    tests = [test for test in autowu.tests if test.p_min][-6:]
    tests = [replace(test, streak=streak) for test, streak in zip(tests, (1, 0, 1, 2, 1, 2), strict=True)]
    *_, row = decision.votes(replace(autowu, tests=tuple(tests)))["data"]
    assert row["text"] == ["1", "", "2", "", "2"]


def test_throughput_starts_at_zero_and_leaves_out_runs_that_do_not_tell(autowu: Run, baseline: Run) -> None:
    mute = tuple(replace(each, samples_per_second=math.nan) for each in baseline.evaluations)
    silent = replace(baseline, evaluations=mute)
    figure = speed.throughput([autowu, silent])
    assert [trace["name"] for trace in figure["data"]] == ["autowu"]
    assert set(figure["data"][0]["y"]) == {9000.0}
    assert figure["layout"]["yaxis"]["rangemode"] == "tozero"
    assert not speed.measured(silent)


def test_a_text_which_has_no_epochs_is_shown_over_steps(tmp_path: Path, autowu: Run) -> None:
    text = runlog.read(simulated.autowu(tmp_path / "text", samples="tokens"))
    for figure in (figures.accuracy, speed.throughput):
        alone, beside = figure([text]), figure([text, autowu])
        assert alone["layout"]["xaxis"]["title"]["text"] == figures.STEP_AXIS
        assert alone["data"][0]["x"] == list(range(25, 1001, 25))
        assert beside["data"][0]["x"] == beside["data"][1]["x"]  # one axis for both
        assert figure([autowu])["data"][0]["x"] == list(range(1, 41))
    assert speed.throughput([text])["layout"]["yaxis"]["title"]["text"] == "training tokens a second"
    both = speed.throughput([text, autowu])["layout"]["yaxis"]["title"]["text"]
    assert both == "training images or tokens a second"


def test_names_cannot_be_read_as_html_by_plotly(tmp_path: Path) -> None:
    run = runlog.read(simulated.autowu(tmp_path / "<b>bold<a href='x'>"))
    for figure in (figures.learning_rate_and_loss([run, run]), figures.accuracy([run])):
        assert "&lt;b&gt;" in json.dumps(figure)
        assert "<b>" not in json.dumps(figure)


def test_a_long_name_keeps_its_ends() -> None:
    short = figures.label("begin-" + "x" * 100 + "-end")
    assert short.startswith("begin-")
    assert short.endswith("-end")
    assert len(short) == 40


def test_thinning_keeps_spikes_and_ends() -> None:
    y = np.sin(np.linspace(0, 50, 100_000))
    y[[31_415, 77_777]] = 40, -40
    kept = curves.thinned(y, 500)
    assert len(kept) <= 502
    assert {0, 31_415, 77_777, 99_999} <= set(kept.tolist())
    assert curves.thinned(np.full(1000, np.nan), 10).tolist() == [0, 999]


def test_smoothing_follows_the_trend_and_forgets_a_spike() -> None:
    x = np.arange(100_000)
    y = 2 - x / 1e5 + np.random.default_rng(0).normal(0, 0.3, len(x))
    y[[5_000, 50_000]] = 1e90, np.nan
    at, smooth = curves.smoothed(x, y, 1000)
    assert len(at) <= 1000
    assert np.isfinite(smooth).all()
    after = (at > 20_000) & (at < 98_000)
    np.testing.assert_allclose(smooth[after], 2 - at[after] / 1e5, atol=0.03)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 10])
def test_a_short_curve_is_smoothed_as_well(length: int) -> None:
    at, smooth = curves.smoothed(np.arange(length), np.ones(length), 100)
    assert len(at) == len(smooth) == length
    np.testing.assert_allclose(smooth, 1)


def test_numbers_are_short_and_finite() -> None:
    assert curves.numbers([1 / 3, math.nan, math.inf, 1e-9]) == [0.33333, None, None, 1e-9]
