"""The cells: that each is what the paper has, and that its command is one that the trainer takes."""

import argparse
import math

import pytest

from autowu.errors import UserError
from autowu.reproduce import plan
from autowu.reproduce.cells import BASELINE, COS, DEFAULT, Cell, linear, slower, tuned
from autowu.reproduce.paper import FIGURE5, TARGETS, cells
from autowu.reproduce.plan import Job
from autowu.reproduce.scales import CIFAR, MINI, PAPER, SCALES, Scale
from autowu.train.settings import arguments, sources


def every_job(scale: Scale) -> dict[str, Job]:
    of = {task: stand.seeds for task, stand in scale.tasks.items()}
    found = {}
    for target in TARGETS.values():
        wanted = {task: of[task] for task in target.tasks if task in of}
        found |= {cell.name: plan.job(cell, scale, {}) for cell in cells(target, wanted)}
    return found


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_command_gives_the_settings_of_its_cell(scale, tmp_path):
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    jobs = every_job(scale)
    for job in jobs.values():
        command = job.command(job.set, tmp_path / job.folder)
        read = sources.settings_from(parser.parse_args(command[1:]))
        wanted = job.settings()
        for name in (
            "batch_size",
            "schedule",
            "decay",
            "growth",
            "set",
            "lr",
            "warmup_epochs",
            "seed",
            "data",
        ):
            assert getattr(read, name) == getattr(wanted, name), (job.cell.name, name)
        assert (read.epochs, read.optimizer) == (scale.tasks[job.cell.task].epochs, wanted.optimizer)
    assert len({job.folder for job in jobs.values()}) == len(jobs)
    assert not list(tmp_path.iterdir())


def test_the_tables_have_the_paper_s_cells():
    sizes = {
        name: len(list(cells(of, dict.fromkeys(of.tasks, 1)))) for name, of in TARGETS.items()
    }  # one seed
    assert sizes == {
        "table1": 3 * 4 * 4,
        "table2": 2 * 4 * 4,
        "table3": 2 * 4 * 4,
        "table4": 4 * 4,
        "figure2": 3 * 2 * 4,
        "figure3": 2 * 2 * 4,
        "figure4": 2 * 2 * 4,
        "figure5": 4 * 5 + 3,
        "figure6": 4,
        "figure7": 4 * 4,
    }
    for target in TARGETS.values():
        for row in target.rows:
            assert len(row.numbers) in (0, len(row.batch_sizes))
            assert all(25 < number.mean < 97 for number in row.numbers)


@pytest.mark.parametrize(
    ("target", "task", "schedule", "batch_size", "mean", "sd"),
    [
        ("table1", "cifar100-wrn28-10", COS, 16384, 80.25, 0.36),
        ("table2", "cifar10-resnet18-lamb", BASELINE, 1024, 96.39, 0.14),
        ("table3", "imagenet-vit-s16", BASELINE, 32768, 73.92, None),
        ("table4", "imagenet-resnet50", slower(0.125), 4096, 75.59, None),
        ("figure5", "imagenet-resnet50", tuned(0.016, 60), 16384, 75.84, None),
        ("figure6", "imagenet-resnet50", linear(1.0), 16384, 29.65, None),
    ],
)
def test_the_paper_s_numbers(target, task, schedule, batch_size, mean, sd):
    (row,) = (row for row in TARGETS[target].of(task) if row.schedule == schedule)
    number = row.number(batch_size)
    assert (number.mean, number.sd) == (mean, sd)


def test_cells_that_several_targets_share_are_one():
    jobs = every_job(PAPER)
    assert slower(0.5) is COS
    in_grid = {row.schedule for row in FIGURE5.rows}
    assert {BASELINE, COS, DEFAULT} <= in_grid  # those of Table 1
    assert sum(1 for job in jobs.values() if job.cell.task == "imagenet-resnet50") == 16 + 8 + 19 + 2


@pytest.mark.parametrize("task", CIFAR[:2])
@pytest.mark.parametrize(("batch_size", "updates"), [(256, 195), (1024, 48), (8192, 6), (16384, 3)])
def test_the_mini_scale_keeps_updates_in_an_epoch_and_peaks(task, batch_size, updates):
    for scale in (PAPER, MINI):
        of = scale.tasks[task]
        assert of.images // of.batch_size(batch_size) == updates
        assert of.epochs == 200
    chosen = plan.job(Cell(task, batch_size, BASELINE), MINI, {}).settings()
    base = 0.01 if task.endswith("lamb") else 0.001
    assert chosen.lr * math.sqrt(chosen.batch_size / 256) == pytest.approx(base * math.sqrt(batch_size / 256))


def test_a_key_stands_for_all_settings_but_those_that_compute_nothing():
    cell = Cell("cifar10-resnet18", 256, COS)
    keys = {
        plan.job(cell, PAPER, more).key
        for more in ({}, {"precision": "bf16-mixed"}, {"micro_batch_size": 64}, {"weight_decay_on": "all"})
    }
    keys |= {plan.job(Cell(cell.task, 256, COS, seed=1), PAPER, {}).key, plan.job(cell, MINI, {}).key}
    keys |= {
        plan.job(cell, PAPER, plan.more_settings(text)).key
        for text in ("--keep-last-batch", "--set fit=published")
    }
    assert len(keys) == 8
    same = plan.job(cell, PAPER, {"workers": 7, "checkpoint_every": 10})
    assert same.key == plan.job(cell, PAPER, {}).key


def test_the_published_fit_is_for_the_cells_of_the_paper_s_schedule():
    more = plan.more_settings("--set fit=published")
    for schedule in (BASELINE, DEFAULT):
        cell = Cell("cifar10-resnet18", 256, schedule)
        assert plan.job(cell, PAPER, more).key == plan.job(cell, PAPER, {}).key
    slow = plan.job(Cell("imagenet-resnet50", 4096, slower(0.125)), PAPER, more)
    assert slow.settings().set == {"warmup_fraction": 0.125, "fit": "published"}
    assert '--set=fit="published"' in slow.command("imagenet", "out")


def test_flags_for_the_trainer():
    text = "--precision bf16-mixed --channels-last --no-lamb-clip"
    assert plan.more_settings(text) == {
        "precision": "bf16-mixed",
        "channels_last": True,
        "lamb_clip": False,
    }
    assert plan.more_settings("") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--epochs 3", "--train must be of --accelerator, .*, not --epochs: the cell has the rest"),
        ("--out x", "not --out"),
        ("--set patience=4", "--train must have no --set but fit=published: the cell has the rest"),
        ("--set fit=maximum", "no --set but fit=published"),
        ("--precision 8", "--train: .*invalid choice"),
        ("--threads 'a", "--train cannot be read: No closing quotation"),
    ],
)
def test_other_flags_are_refused(text, told):
    with pytest.raises(UserError, match=told):
        plan.more_settings(text)


def test_hours_are_those_that_the_device_needs():
    hours = [PAPER.hours(Cell("cifar10-resnet18", size, COS)) for size in (16384, 256)]
    assert hours[0] == pytest.approx(200 * 50_000 / 60_000 / 3600)  # by images
    assert hours[1] == pytest.approx(200 * 195 / 60 / 3600)  # by updates
