"""Static figures: what they hold, that they are the same each time, and that no name can break them."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from autowu import cli
from autowu.errors import UserError
from autowu.report import output, picture
from autowu.runlog import run as runlog
from autowu.runlog.run import Run
from report import simulated


@pytest.fixture
def runs(autowu_run: Path, baseline_run: Path) -> list[Run]:
    return [runlog.read(autowu_run), runlog.read(baseline_run)]


def structure(figure: Any) -> list[tuple[str, str, list[str]]]:
    """Of each axes its labels, and the labels of the lines in its legend."""
    return [
        (axes.get_xlabel(), axes.get_ylabel(), axes.get_legend_handles_labels()[1]) for axes in figure.axes
    ]


def test_the_main_layout(runs: list[Run]) -> None:
    figure = picture.draw("main", runs)
    assert structure(figure) == [
        ("", "learning rate", ["autowu", "baseline"]),
        ("", "training loss", []),
        ("step (updates done)", "P$_{min}$", []),
    ]
    assert figure.axes[0].get_yscale() == "log"
    texts = [text.get_text().strip() for axes in figure.axes for text in axes.texts]
    assert {"peak LR 0.02", "switch at step 400", "0.95"} <= set(texts)


def test_figure_1_marks_t_and_t_star(runs: list[Run]) -> None:
    figure = picture.draw("figure1", runs)
    assert structure(figure) == [
        ("step", "learning rate", ["warm-up", "decay"]),
        ("step", "training loss", ["variance of the losses", "smoothed loss"]),
    ]
    for axes in figure.axes:
        marked = {line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"}
        assert {330, 400} <= marked
        assert {"$t^*$", "$t$"} <= {text.get_text() for text in axes.texts}


def test_figure_1_writes_t_and_t_star_beside_each_other_where_they_are_near(runs: list[Run]) -> None:
    assert runs[0].switch is not None
    near = dataclasses.replace(runs[0], switch=dataclasses.replace(runs[0].switch, t_star=395.0))
    figure = picture.draw("figure1", [near])
    figure.canvas.draw()
    for axes in figure.axes:
        t_star, t = (
            next(text.get_window_extent() for text in axes.texts if text.get_text() == name)
            for name in ("$t^*$", "$t$")
        )
        assert t_star.x1 <= t.x0


def test_no_legend_of_figure_1_hides_a_curve(runs: list[Run]) -> None:
    figure = picture.draw("figure1", runs)
    figure.canvas.draw()
    for axes in figure.axes:
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


def test_figure_1_needs_a_minimum(runs: list[Run]) -> None:
    with pytest.raises(UserError, match="figure1 needs a run in which AutoWU has found a minimum"):
        picture.draw("figure1", runs[1:])


def test_figure_2_has_a_column_for_each_task_and_bands_over_seeds(tmp_path: Path) -> None:
    found = [
        runlog.read(make(tmp_path / f"{make.__name__}-{size}-{seed}", batch_size=size, seed=seed))
        for make in (simulated.autowu, simulated.baseline)
        for size in (64, 128)
        for seed in (0, 1)
    ]
    found[0] = dataclasses.replace(found[0], lrs=found[0].lrs * 1.5)
    figure = picture.draw("figure2", found)
    assert [axes.get_title() for axes in figure.axes] == ["batch size 64", "batch size 128", "", ""]
    assert legend(figure) == ["autowu", "baseline"]
    for axes in figure.axes:
        assert len(axes.collections) == 2
    top = figure.axes[0].lines[0]
    mean = np.interp(200, found[0].steps, (found[0].lrs + found[2].lrs) / 2)
    assert np.interp(200, top.get_xdata(), top.get_ydata()) <= 1.3 * mean


def legend(figure: Any) -> list[str]:
    """The names of the lines of Figure 2."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("make", "name", "one", "other"),
    [
        (simulated.autowu, "growth", "linear", None),
        (simulated.baseline, "warmup_epochs", 5, 20),
        (simulated.baseline, "weight_decay", 0.1, 0.0),
        (simulated.baseline, "augment", "none", "cifar"),
    ],
)
def test_figure_2_makes_a_line_of_its_own_of_a_run_with_another_setting(
    tmp_path: Path, make: Any, name: str, one: Any, other: Any
) -> None:
    found = [
        runlog.read(make(tmp_path / f"{i}-{seed}", seed=seed, **{name: value}))
        for i, value in enumerate((one, other))
        for seed in (0, 1)
    ]
    figure = picture.draw("figure2", found)
    values = ["–" if value is None else str(value) for value in (one, other)]
    assert legend(figure) == [f"{make.__name__}, {name.replace('_', ' ')} {value}" for value in values]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]


def test_figure_2_tells_apart_by_fields_of_the_config_too(tmp_path: Path) -> None:
    fields = ({"warmup_fraction": 0.25}, {})
    found = [runlog.read(simulated.autowu(tmp_path / str(i), set=of)) for i, of in enumerate(fields)]
    names = ["autowu, warmup fraction 0.25", "autowu, warmup fraction –"]
    assert legend(picture.draw("figure2", found)) == names


def test_figure_2_draws_a_finished_run_to_its_end_beside_an_unfinished_one(tmp_path: Path) -> None:
    whole = runlog.read(simulated.baseline(tmp_path / "whole", seed=0))
    begun = runlog.read(simulated.baseline(tmp_path / "begun", seed=1, status="running"))
    begun = dataclasses.replace(
        begun, steps=begun.steps[:300], lrs=begun.lrs[:300], losses=begun.losses[:300]
    )
    figure = picture.draw("figure2", [whole, begun])
    for axes in figure.axes:
        ends = {
            line.get_linestyle(): line.get_xdata()[-1] for line in axes.lines if len(line.get_xdata()) > 1
        }
        assert ends["-"] > 950
        assert 250 < ends[":"] <= 300
        assert not axes.collections  # one run has no deviation
    assert figure.legends[0].get_title().get_text() == "dotted, × at the end: not finished"


def test_too_many_tasks_are_refused(runs: list[Run]) -> None:
    many = [dataclasses.replace(runs[0], config={"data": str(i)}) for i in range(9)]
    with pytest.raises(UserError, match="room for 8 tasks"):
        picture.draw("figure2", many)


@pytest.mark.parametrize("layout", sorted(picture.LAYOUTS))
@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_runs_give_the_same_file(runs: list[Run], tmp_path: Path, layout: str, form: Any) -> None:
    files = [tmp_path / f"{i}.{form}" for i in range(2)]
    for file in files:
        output.write_picture(file, form, lambda: picture.draw(layout, runs))
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "$\\frac{",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("<svg onload=alert(1)>", "名前", "_hidden", "a\\$b$", "100% & more")
        ),
    ],
)
def test_no_name_breaks_a_picture(autowu_run: Path, tmp_path: Path, name: str) -> None:
    run = runlog.read(autowu_run, name=name)
    for layout in picture.LAYOUTS:
        output.write_picture(
            tmp_path / "x.svg", "svg", lambda layout=layout: picture.draw(layout, [run, run])
        )
        assert "<svg onload" not in (tmp_path / "x.svg").read_text()


def test_a_run_without_updates_has_no_picture(tmp_path: Path) -> None:
    folder = simulated.baseline(tmp_path / "run")
    (folder / "log.jsonl").write_text("")
    with pytest.raises(UserError, match="nothing to draw"):
        picture.draw("main", [runlog.read(folder)])


def test_no_legend_lies_on_a_curve(runs: list[Run]) -> None:
    figure = picture.draw("main", runs)
    figure.canvas.draw()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= figure.axes[0].get_window_extent().y1


def test_of_more_than_three_runs_nothing_is_shaded_or_annotated(runs: list[Run]) -> None:
    assert [text.get_text() for text in picture.draw("main", runs[:1] * 3).axes[0].texts]
    assert not picture.draw("main", runs[:1] * 4).axes[0].texts


def test_of_more_than_three_runs_there_are_neither_votes_nor_single_losses(runs: list[Run]) -> None:
    few, many = (picture.draw("main", runs[:1] * count) for count in (3, 12))
    assert [len(axes.lines) for axes in many.axes] == [24, 12]  # a star on each LR
    assert len(few.axes) == 3
    titles = [figure.axes[0].get_legend().get_title().get_text() for figure in (few, many)]
    assert ["is shown for up to 3 runs" in title for title in titles] == [False, True]


@pytest.mark.parametrize("longest", [8, 24, 40])
def test_the_names_of_many_runs_do_not_make_the_picture_small(runs: list[Run], longest: int) -> None:
    named = [replace(runs[0], name=f"{i:x<{longest}}") for i in range(12)]
    figure = picture.draw("main", named)
    figure.canvas.draw()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().width <= figure.bbox.width
    assert figure.axes[0].get_window_extent().width > 0.7 * figure.bbox.width


def test_runs_that_a_picture_does_not_show_are_named(
    autowu_run: Path, baseline_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["report", str(baseline_run), str(autowu_run), "-o", str(tmp_path / "x.png")]
    assert cli.main([*arguments, "--layout", "figure1"]) == 0
    assert capsys.readouterr().out.startswith("Not in the picture: baseline\n")
    assert cli.main(arguments) == 0
    assert "Not in the picture" not in capsys.readouterr().out
