"""The study with larger models: that its settings are valid, and that it leaves the small one as it is."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.importorskip("benchmarks", reason="an archive of the sources leaves them out")

from benchmarks.quality import plan, prepare, records, search, tables
from benchmarks.quality.suites import SUITES
from benchmarks.quality.workloads import LARGE, SHAKESPEARE, SMALL, WORKLOADS

from autowu.train import schedules
from autowu.train.dry_run import command
from autowu.train.settings.options import Settings
from autowu.train.settings.recipes import RECIPES

SUITE = SUITES["large"]
GPT = LARGE["shakespeare-gpt-10m"]
RESNETS = [workload for workload in LARGE.values() if workload is not GPT]


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """As long as the workload's, with as many different characters as Shakespeare has."""
    folder = tmp_path_factory.mktemp("data")
    alphabet = "".join(map(chr, range(33, 33 + 65)))
    (folder / SHAKESPEARE).write_text(alphabet * 17_160)
    prepare.prepare(folder, [GPT])
    return folder / "quality" / GPT.file


@pytest.mark.parametrize(
    ("name", "parameters", "updates"),
    [
        ("cifar10-resnet18-1024", "resnet18-cifar, 11,173,962", "480 (10 epochs of 48), of 1,024 images"),
        ("cifar10-resnet18-4096", "resnet18-cifar, 11,173,962", "360 (30 epochs of 12), of 4,096 images"),
        ("cifar10-resnet18-16384", "resnet18-cifar, 11,173,962", "360 (120 epochs of 3), of 16,384 images"),
        # 6 (12 · 384² + 13 · 384) + (65 + 256) 384 + 2 · 384
        ("shakespeare-gpt-10m", "gpt, 10,770,816", "500, of 16,384 tokens"),
    ],
)
def test_each_workload_would_run(name, parameters, updates, text, capsys):
    """The whole set in place of the part of it that is trained on, whose file need not be here."""
    workload = LARGE[name]
    command.show(Settings(**workload.settings, data=str(text) if workload is GPT else "cifar10"))
    said = capsys.readouterr().out
    assert f"{parameters} parameters" in said
    assert int(parameters.split()[1].replace(",", "")) >= 10_000_000
    assert updates in said
    assert "bf16-mixed" in said


def test_updates_are_those_of_the_part_that_is_trained_on():
    assert [workload.total_steps for workload in LARGE.values()] == [430, 300, 240, 500]


def test_the_resnets_are_the_papers_recipe():
    recipe = RECIPES["cifar10-resnet18"].settings
    for workload in RESNETS:
        chosen = Settings(**workload.settings, data="cifar10")
        for name in ("model", "optimizer", "augment", "label_smoothing"):
            assert getattr(chosen, name) == recipe[name]
        method = schedules.build(chosen, nn.Linear(2, 2), total_steps=240, steps_per_epoch=2)
        assert method.optimizer.param_groups[0]["weight_decay"] == recipe["weight_decay"]
        assert chosen.batch_size % chosen.micro_batch_size == 0  # BatchNorm sees as many at every size


def test_workloads_that_share_a_file_want_the_same_in_it():
    assert len({workload.file for workload in RESNETS}) == 1
    parts = {(w.source, w.train, w.validation, w.test, w.pool) for w in RESNETS}
    assert parts == {("cifar10.npz", 45_000, 5_000, 10_000, 1)}  # all of CIFAR-10, each image once
    cut: dict[str, set[tuple[object, ...]]] = {}
    for w in WORKLOADS.values():
        cut.setdefault(w.file, set()).add((w.source, w.train, w.validation, w.test, w.pool))
    assert all(len(parts) == 1 for parts in cut.values())


def searched():
    """Records of a finished search, in which the trial nearest to the centre is the best."""
    for workload in LARGE.values():
        for trial in search.trials(workload, {}, SUITE.trials):
            off = abs(math.log(trial.lr / search.center(workload)))
            scores = {"validation_accuracy": 1 - off / 10, "validation_loss": 1 + off}
            of = {"workload": workload.name, "method": f"trial {trial.number}", "seed": 0}
            yield of | scores | {"diverged": False}


def test_every_run_of_the_study_has_an_optimizer_and_a_schedule(tmp_path):
    for record in searched():
        records.append(tmp_path, "search", record)
    counts = {}
    for part in ("search", "compare", "sweep"):
        jobs = plan.jobs(part, SUITE, LARGE.values(), tmp_path)
        counts[part] = len(jobs)
        for job in jobs:
            workload = LARGE[job.workload]
            chosen = Settings(**job.settings, data="x.txt" if workload.is_text else "x.npz")
            per_epoch = None if workload.is_text else workload.train // chosen.batch_size
            steps = workload.total_steps
            schedules.build(chosen, nn.Linear(2, 2), total_steps=steps, steps_per_epoch=per_epoch)
    methods = {job.method for job in plan.jobs("compare", SUITE, LARGE.values(), tmp_path)}
    tuned = {"tuned 1", "tuned 5", "tuned 8"}
    assert methods == {"autowu", "paper", "nadamw", "schedule-free", "prodigy"} | tuned
    assert counts == {
        "search": 4 * 8,
        "compare": 4 * 8 * 3,
        "sweep": 4 * 5,
    }  # 37 a workload, as the page says


def test_fewer_trials_may_be_asked_for(tmp_path):
    few = replace(SUITE, trials=3)
    assert len(plan.jobs("search", few, [GPT], tmp_path)) == 3
    first = search.trials(GPT, {}, 3)
    assert first == search.trials(GPT, {})[:3]
    best = min(first, key=lambda trial: abs(math.log(trial.lr / search.center(GPT))))
    assert plan.winners(GPT, searched(), 3) == {1: first[0], 3: best}


def test_one_seed_of_all_methods_comes_before_the_next(tmp_path):
    jobs = plan.jobs("compare", replace(SUITE, seeds=range(7, 9)), [GPT], tmp_path)
    assert [job.seed for job in jobs] == [7] * (len(jobs) // 2) + [8] * (len(jobs) // 2)
    assert len({job.method for job in jobs}) == len(jobs) // 2 > 1


def test_the_small_study_is_apart_from_the_large_one(tmp_path):
    small = SUITES["small"]
    assert small.workloads == SMALL
    assert not SMALL.keys() & LARGE.keys()
    assert small.results == records.RESULTS
    assert SUITE.results == records.RESULTS / "large"
    assert len(plan.jobs("search", small, SMALL.values(), tmp_path)) == len(SMALL) * 20
    assert len(plan.jobs("sweep", small, SMALL.values(), tmp_path)) == len(SMALL) * 9 * 2
    assert {job.seed for job in plan.jobs("compare", small, SMALL.values(), tmp_path)} == {*range(100, 105)}
    assert not any(name in tables.workloads() for name in LARGE)


def test_the_table_of_the_large_study_is_of_its_records(tmp_path):
    for seed, accuracy in ((100, 0.93), (101, 0.95)):
        scores = {"test_accuracy": accuracy, "diverged": False}
        of = {"workload": "cifar10-resnet18-1024", "method": "autowu", "seed": seed}
        records.append(tmp_path, "compare", of | scores)
    for seeds, cell in ((2, "94.00 ± 1.4"), (3, "94.00 ± 1.4 (2)")):
        table = tables.compare(replace(SUITE, results=tmp_path, seeds=range(seeds)))
        assert "| cifar10 resnet18 1024 |" in table
        assert f"| autowu | {cell} | 0 of 2 |" in table
    of = {"workload": "cifar10-resnet18-1024", "method": "paper", "seed": 100}
    records.append(tmp_path, "compare", of | {"test_accuracy": 0.9, "diverged": False})
    assert "| paper | 90.00 (1) | 0 of 1 |" in tables.compare(replace(SUITE, results=tmp_path))
