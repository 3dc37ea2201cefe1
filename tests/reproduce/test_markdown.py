"""Tables of made-up results."""

import pytest

from autowu.reproduce import markdown
from autowu.reproduce.cells import BASELINE, COS, DEFAULT, Cell
from autowu.reproduce.paper import FIGURE6, Number, Row, Target
from autowu.reproduce.scales import MINI, PAPER
from reproduce import made_up

TASK = "cifar10-resnet18"
SIZES = (256, 16384)
TARGET = Target(
    "A table",
    (
        Row(TASK, BASELINE, SIZES, (Number(96.0, 0.1), Number(94.0, 0.2))),
        Row(TASK, COS, SIZES, (Number(96.5, 0.3), Number(95.0, 0.4))),
        Row(TASK, DEFAULT, SIZES),
    ),
)


def jobs(scale):
    cells = [
        Cell(TASK, size, row.schedule, seed) for seed in range(3) for row in TARGET.rows for size in SIZES
    ]
    return {cell: made_up.job(cell, scale) for cell in cells}


def lines(of, **accuracies):
    """Accuracies by slug and batch size, one for each seed."""
    found = []
    for name, values in accuracies.items():
        slug, size = name.rsplit("_", 1)
        for cell, job in of.items():
            if (cell.schedule.slug, cell.batch_size) == (slug, int(size)) and cell.seed < len(values):
                found.append(made_up.finished(job, values[cell.seed], peak=0.01 * (cell.seed + 1)))
    return found


def test_a_table_has_the_paper_s_value_ours_and_the_difference():
    of = jobs(PAPER)
    found = lines(
        of,
        baseline_256=(96.1, 96.2, 96.3),
        baseline_16384=(93.0, 94.0),
        cos_256=(97.0,),
        default_16384=(95.5,) * 3,
    )
    text = markdown.page(TARGET, PAPER, list(of.values()), found)
    assert "9 of 18 cells have been run; “–” has not. Commit 0123456789ab; PyTorch 2.13.0; cpu; 0.09" in text
    assert (
        "| schedule |  | 256 | 16K |\n"
        "| --- | --- | --- | --- |\n"
        "| Baseline | paper | 96.00 (0.10) | 94.00 (0.20) |\n"
        "|  | ours | 96.20 (0.10) | 93.50 (0.71), n = 2 of 3 |\n"
        "|  | difference | +0.20 | -0.50 |\n"
        "| AutoWU + cos | paper | 96.50 (0.30) | 95.00 (0.40) |\n"
        "|  | ours | 97.00, n = 1 of 3 | – |\n"
        "|  | difference | +0.50 | – |\n"
        "| AutoWU, default preset | ours | – | 95.50 (0.00) |\n"
    ) in text
    assert (
        "| AutoWU + cos | paper | +0.50 | +1.00 |\n"
        "|  | ours | +0.80 | – |\n"
        "| AutoWU, default preset | ours | – | +2.00 |\n"
    ) in text
    assert "| Baseline (chosen) | 0.001 | 0.008 |\n| AutoWU + cos | 0.01 | – |" in text


def test_a_small_scale_has_no_difference_to_the_paper_s_numbers():
    of = jobs(MINI)
    text = markdown.page(TARGET, MINI, list(of.values()), lines(of, baseline_256=(80.0, 81.0, 82.0)))
    assert "scale mini" in text
    assert "Fashion-MNIST at 14 × 14" in text
    assert "| Baseline | paper | 96.00 (0.10) | 94.00 (0.20) |\n|  | ours | 81.00 (1.00) | – |" in text
    assert "difference" not in text


def test_results_of_other_settings_are_told_and_not_shown():
    of = jobs(PAPER)
    other = made_up.plan.job(Cell(TASK, 256, COS), PAPER, {"precision": "bf16-mixed"})
    text = markdown.page(TARGET, PAPER, list(of.values()), [made_up.finished(other, 99.0)])
    assert "0 of 18 cells have been run; “–” has not. 1 more were trained with other settings" in text
    assert "99.00" not in text


def test_a_task_that_a_scale_does_not_have_is_told():
    target = Target("A table", (Row("imagenet-vit-s16", BASELINE, (1024,), (Number(79.37),)),))
    assert "The scale mini has nothing that stands for this task." in markdown.page(target, MINI, [], [])


@pytest.mark.parametrize("capped", [True, False])
def test_figure_6_in_numbers(capped):
    of = {row.schedule.slug: made_up.job(Cell(row.task, 16384, row.schedule), PAPER) for row in FIGURE6.rows}
    result = made_up.finished(of["linear1"], 31.0, peak=1.0)
    result.metrics["capped"] = capped
    text = markdown.grid(FIGURE6, PAPER, list(of.values()), [result])
    cap = " (cap)" if capped else ""
    assert f"| linear, η_max 1 | 29.65 | 31.00 | +1.35 | 1{cap} |" in text
    assert "| linear, η_max 0.1 | 73.56 | – | – | – |" in text
