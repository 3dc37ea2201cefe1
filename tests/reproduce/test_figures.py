"""Figures 2 to 7, drawn from made-up runs and results."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from autowu.errors import UserError
from autowu.reproduce import command, curves, grids
from autowu.reproduce.cells import BASELINE, CONST_COS, COS, DEFAULT, Cell, linear, tuned
from autowu.reproduce.paper import FIGURE5, FIGURE6, LARGE, TARGETS, cells
from autowu.reproduce.scales import CIFAR, MINI, PAPER, RESNET50
from reproduce import made_up

FIGURE2 = TARGETS["figure2"]
LAMB = CIFAR[1]


def traces(runs, scale, *of, status="finished"):
    """What is read of run folders of these cells."""
    jobs = [made_up.job(cell, scale) for cell in of]
    for job in jobs:
        made_up.trained(job, runs, status)
    return curves.read(jobs, scale, runs)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def title(figure):
    return figure.legends[0].get_title().get_text()


def test_figure_2_overlays_batch_sizes_against_epochs(tmp_path):
    wanted = [
        Cell(CIFAR[0], size, schedule, seed)
        for size in (256, 16384)
        for schedule in (BASELINE, COS)
        for seed in (0, 1)
    ]
    figure = curves.overlaid(FIGURE2, PAPER, traces(tmp_path, PAPER, *wanted))
    names = ["CIFAR-10 (ResNet-18)", "CIFAR-100 (Wide-ResNet28-10)", "ImageNet (ResNet-50)"]
    assert [axes.get_title() for axes in figure.axes] == [*names, "", "", ""]
    assert legend(figure) == ["baseline 256", "wu-cos 256", "baseline 16K", "wu-cos 16K"]
    assert title(figure) == "not run (–): 20 lines"
    first, *others = figure.axes[:3]
    assert (len(first.lines), len(first.collections)) == (4, 4)  # a mean and a band each
    assert [len(axes.lines) for axes in others] == [0, 0]
    ends = sorted(line.get_xdata()[-1] for line in first.lines)
    assert ends == pytest.approx([1000 / 195] * 2 + [1000 / 3] * 2)  # 1,000 updates in epochs
    assert figure.axes[3].get_xlabel() == "epoch"


def test_an_unfinished_run_is_dotted_and_in_no_mean(tmp_path):
    whole = traces(tmp_path / "whole", PAPER, Cell(CIFAR[0], 256, COS, 0))
    begun = traces(tmp_path / "begun", PAPER, Cell(CIFAR[0], 256, COS, 1), status="running")
    figure = curves.overlaid(FIGURE2, PAPER, whole | begun)
    styles = sorted(line.get_linestyle() for line in figure.axes[0].lines)
    assert styles == ["-", ":", "None"]  # the mean, the run, its ×
    assert not figure.axes[0].collections
    assert title(figure).startswith("dotted, × at the end: not finished; not run (–)")


def test_a_scale_has_only_the_columns_that_it_has_tasks_for():
    figure = curves.overlaid(TARGETS["figure3"], MINI, {})
    assert [axes.get_title() for axes in figure.axes] == ["CIFAR-10 (ResNet-18), LAMB", ""]
    with pytest.raises(UserError, match="the scale mini has nothing that stands for the tasks of Figure 4"):
        curves.overlaid(TARGETS["figure4"], MINI, {})


def test_figure_6_has_lr_loss_and_accuracy(tmp_path):
    schedules = (BASELINE, COS, linear(1.0))
    of = traces(tmp_path, PAPER, *(Cell(RESNET50, LARGE, schedule) for schedule in schedules))
    figure = curves.growths(FIGURE6, PAPER, of)
    assert [axes.get_ylabel() for axes in figure.axes] == ["learning rate", "training loss", "accuracy (%)"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3]
    names = [r"exponential, $\eta_{max}$ 1", r"linear, $\eta_{max}$ 1", r"linear, $\eta_{max}$ 0.1"]
    assert legend(figure) == ["baseline", *names[:2]]
    assert title(figure) == f"not run (–): {names[2]}"
    assert max(figure.axes[2].lines[0].get_ydata()) == pytest.approx(97 * (1 - np.exp(-4)), abs=0.1)


def found(scale, accuracies):
    """Results at the batch size of Figure 5, by schedule."""
    cells = {schedule: Cell(RESNET50, LARGE, schedule) for schedule in accuracies}
    return {cell: made_up.finished(made_up.job(cell, scale), accuracies[s]) for s, cell in cells.items()}


def test_figure_5_is_a_grid_with_the_baseline_and_autowu_s_marks():
    accuracies = {tuned(0.016, 60): 75.84, BASELINE: 75.02, COS: 75.22, CONST_COS: 75.62}
    figure = grids.heat_map(FIGURE5, PAPER, found(PAPER, accuracies))
    grid, bar = figure.axes
    texts = [text.get_text() for text in grid.texts]
    assert len(texts) == 4 * 5
    assert (texts[2], texts[18]) == ("75.02", "75.84")  # row by row, from 5 epochs of warm-up on
    assert texts.count("–") == 18
    outline = grid.lines[0]
    assert (np.mean(outline.get_xdata()[:4]), np.mean(outline.get_ydata()[:4])) == (2.0, 0.0)
    assert {text.get_text() for text in bar.texts} == {"cos", "const-cos"}
    assert bar.get_xlabel() == "not run:\ndefault"


def test_figure_5_without_a_result_says_so():
    grid, _ = grids.heat_map(FIGURE5, PAPER, {}).axes
    assert [text.get_text() for text in grid.texts] == ["–"] * 20


def test_figure_7_has_a_line_for_each_rho_and_the_baseline():
    target = TARGETS["figure7"]
    rows = [row for row in target.rows if row.schedule != DEFAULT]
    of = {
        Cell(RESNET50, size, row.schedule): made_up.finished(
            made_up.job(Cell(RESNET50, size, row.schedule), PAPER), 75.0, peak=1e-5 * size
        )
        for row in rows
        for size in row.batch_sizes[:3]
    }
    axes = grids.peak_lrs(target, PAPER, of).axes[0]
    rho = r"$\rho_w$ = "
    assert axes.get_legend_handles_labels()[1] == [
        *(f"{rho}{value}" for value in (0.125, 0.25, 0.5)),
        "default preset",
        "baseline (chosen)",
    ]
    assert axes.lines[0].get_ydata() == pytest.approx([0.01024, 0.04096, 0.16384])
    assert axes.lines[-1].get_ydata() == pytest.approx([0.002, 0.004, 0.008, 0.001 * 128**0.5])
    assert axes.get_xlabel() == "batch size\nnot run (–): 7"


@pytest.mark.parametrize("name", ["figure2", "figure5", "figure6", "figure7"])
def test_the_same_results_give_the_same_files(name, tmp_path):
    pytest.importorskip("matplotlib")
    of = [made_up.job(cell, PAPER) for cell in cells(TARGETS[name], dict.fromkeys(TARGETS[name].tasks, 1))]
    lines = [made_up.finished(job, 75.0) for job in of[::2]]
    for job in of[:4]:
        made_up.trained(job, tmp_path / "runs")
    before = [path.read_bytes() for path in command.write(name, PAPER, of, lines, tmp_path)]
    paths = command.write(name, PAPER, of, lines, tmp_path)
    assert [path.name for path in paths] == [f"{name}.md", f"{name}.svg"]
    assert [path.read_bytes() for path in paths] == before


def test_a_run_folder_that_is_damaged_is_named(tmp_path):
    job = made_up.job(Cell(CIFAR[0], 256, COS), PAPER)
    folder = made_up.trained(job, tmp_path)
    (folder / "run.json").write_text("{}")
    (folder / "log.jsonl").write_text("")
    with pytest.raises(UserError, match=r"run.json: not written by `autowu train`"):
        curves.read([job], PAPER, tmp_path)
