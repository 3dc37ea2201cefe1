"""Peers as their authors advise: what they are built with, and ScheduleFree+ against its formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.quality import advised, methods, plan, prepare, trial
from benchmarks.quality.kinds import train
from benchmarks.quality.kinds.registry import KINDS
from benchmarks.quality.schedule_free_plus import ScheduleFreePlus
from benchmarks.quality.suites import SUITES
from benchmarks.quality.workloads import WORKLOADS
from torch import nn

from autowu.train import schedules
from autowu.train.settings.options import Settings

WORKLOAD = WORKLOADS["digits-cnn-adamw"]
SHORT = replace(WORKLOAD, name="short", settings=WORKLOAD.settings | {"epochs": 3}, shared=WORKLOAD.name)


def built(name):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    with advised.applied(name):
        settings = Settings(schedule=methods.ADVISED[name], batch_size=256)
        return schedules.build(settings, model, total_steps=1000, steps_per_epoch=None)


def test_each_is_in_place_while_it_lasts_and_no_longer():
    assert methods.ADVISED.keys() == advised.BUILDS.keys()
    assert built("schedule-free, algoperf").settings["preset"] == "schedule-free, algoperf"
    plain = schedules.build(
        Settings(schedule="schedule-free"), nn.Linear(3, 2), total_steps=1000, steps_per_epoch=None
    )
    assert plain.settings["preset"] == "schedule-free"


def test_greedys_floor_is_a_tenth_of_its_first_lr():
    scheduler = built("greedy, floor a tenth").schedule.greedy
    (lr,) = {group["lr"] for group in scheduler.optimizer.param_groups}
    assert scheduler.min_lrs == pytest.approx([lr / 10] * len(scheduler.min_lrs))
    assert (scheduler.smooth, scheduler.window_size) == (True, 50)
    for loss in np.linspace(1.0, 50.0, 600):  # it rises and rises
        scheduler.step(loss)
    assert scheduler.get_last_lr() == pytest.approx(scheduler.min_lrs)


def test_schedule_free_has_its_authors_algoperf_configuration():
    group = built("schedule-free, algoperf").optimizer.param_groups[0]
    assert (group["lr"], group["r"], group["warmup_steps"]) == (0.0025, 0.75, 20)
    assert (group["betas"][1], group["weight_decay"]) == (0.9955159689799007, 0.08121616522670176)


def test_prodigy_is_safeguarded_and_ends_at_zero():
    method = built("prodigy, safeguarded")
    group = method.optimizer.param_groups[0]
    assert (group["safeguard_warmup"], group["use_bias_correction"], group["weight_decay"]) == (
        True,
        True,
        0.01,
    )
    assert method.schedule.factor(1000) == pytest.approx(0.0, abs=1e-12)


def test_the_peak_is_a_tenth_of_the_lr_at_the_least_loss_but_for_the_ends():
    lrs, losses = np.geomspace(1e-7, 10, 40), np.full(40, 3.0)
    losses[[5, 20, 37]] = 0.0, 1.0, 0.5  # the first ten and the last five do not count
    losses[25] = np.nan
    assert advised.tenth_of_minimum(lrs, losses) == pytest.approx(lrs[20] / 10)
    with pytest.raises(RuntimeError, match="ended after 15 updates, too few"):
        advised.tenth_of_minimum(lrs[:15], losses[:15])


def test_schedule_free_plus_takes_the_papers_steps():
    """f(y) = (y - 3)² / 2 and weight decay, in one dimension, by the formulas of the docstring."""
    parameter = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = ScheduleFreePlus([{"params": [parameter], "weight_decay": 0.5}], follows=3)
    x = z = y = 1.0
    m = v = weights = 0.0
    largest = 1e-8
    for k in range(40):
        gamma = min(1.0, (k + 1) / 5)
        loss = (parameter - 3).square().sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.loss = loss.detach()
        optimizer.param_groups[0]["lr"] = gamma
        optimizer.step()

        f, g = (y - 3) ** 2 / 2, y - 3
        alpha = gamma * max(0.0, f + 0.9 * g * (z - x)) / (math.sqrt(math.pi / 2) * abs(g))
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
        z = z - alpha**2 * 0.5 * y
        z -= alpha * (m / (1 - 0.9 ** (k + 1))) / (math.sqrt(v / (1 - 0.95 ** (k + 1))) + 1e-8)
        largest = max(largest, alpha)
        c = 1.0
        if k >= 3:
            weights += largest**2
            c = largest**2 / weights
        x = (1 - c) * x + c * z
        y = 0.9 * x + 0.1 * z
        assert parameter.item() == pytest.approx(y, rel=1e-9)
    optimizer.eval()
    assert parameter.item() == pytest.approx(x, rel=1e-9)


FIRST, *OTHERS = methods.ADVISED


@pytest.mark.parametrize("name", [FIRST, *(pytest.param(name, marks=pytest.mark.full) for name in OTHERS)])
def test_both_suites_run_it(name, tmp_path):
    prepare.prepare(tmp_path, [WORKLOAD])
    settings = methods.settings(name, SHORT)
    if name.startswith("lr-finder"):
        settings |= {"steps": 30}  # of which a test of 100 leaves nothing
    first = trial.run(SHORT, settings, 100, tmp_path)
    assert len(first["curve"]) == 20
    assert first["test_loss"] < 2.5  # a guess has 2.3, and Prodigy still has it after 30 updates
    kind = replace(KINDS["smooth-regression"], total_steps=200)
    second = train.run(kind, name, 0, tmp_path)
    assert second["finite"]
    assert second["train_loss"] < second["first_loss"]


def test_validating_on_the_way_leaves_no_trace_and_a_run_can_be_stopped_there(tmp_path, monkeypatch):
    prepare.prepare(tmp_path, [WORKLOAD])
    settings = methods.settings("schedule-free, algoperf", SHORT)  # evaluates other weights than it trains
    often = trial.run(SHORT, settings, 100, tmp_path)
    assert [step for step, _ in often["curve"]] == [30 * i // 20 for i in range(1, 21)]
    assert often["curve"][-1][1] == pytest.approx(100 * often["validation_accuracy"])
    stopped = trial.run(SHORT, settings, 100, tmp_path, lambda number, score: number == 3)
    assert stopped["curve"] == often["curve"][:3]
    assert stopped["steps"] == 4
    monkeypatch.setattr(trial, "CURVE", 1)
    once = trial.run(SHORT, settings, 100, tmp_path)
    assert (once["test_loss"], once["train_loss"]) == (often["test_loss"], often["train_loss"])


def test_the_comparison_has_the_advised_of_the_peers_that_a_suite_has():
    asked = SUITES["longest"]
    found = {
        advised: {
            job.method
            for job in plan.comparing(replace(asked, advised=advised), asked.workloads.values(), [])
            if job.method in methods.ADVISED
        }
        for advised in (False, True)
    }
    assert found == {
        False: set(),
        True: {"schedule-free, algoperf", "schedule-free+", "lr-finder, minimum / 10"},
    }
