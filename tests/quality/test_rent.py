"""What each rule is worth: rules are taken away and put back, faults come in time, the table counts."""

import math

import numpy as np
import pytest
import torch
from benchmarks.quality.kinds import finetune
from benchmarks.quality.kinds.task import Task
from benchmarks.quality.rent import faults, hard, rules, runs, table
from torch import nn

from autowu import Config
from autowu.controller.phases import sweep

STEPS = 400


@pytest.fixture
def losses():
    """Of a run that learns, rises beyond an LR of about 0.03, and is noisy."""
    steps = np.arange(STEPS)
    noise = 0.02 * np.random.default_rng(0).standard_normal(STEPS)
    return 2 - steps / STEPS + noise + np.where((steps > 120) & (steps < 160), (steps - 120) / 10, 0)


@pytest.mark.parametrize("name", rules.RULES)
def test_a_rule_is_away_within_and_back_after(name, losses):
    before = runs.decisions(Config(total_steps=STEPS), losses)
    with rules.removed(name) as settings:
        runs.decisions(Config(total_steps=STEPS, **settings), losses)
    assert np.array_equal(runs.decisions(Config(total_steps=STEPS), losses), before, equal_nan=True)


def test_within_it_the_library_has_another_function():
    name = "slow growth begins further back"
    with rules.removed(name):
        assert sweep.slowed is rules.from_here
    assert sweep.slowed is rules._slowed


def job(rule, fault=None):
    return runs.Job("kinds", "lstm", 0, fault, rule)


def test_a_run_whose_decisions_stay_is_not_trained_again(monkeypatch, tmp_path, losses):
    trained = []

    def train(which, data, settings):
        trained.append(which.rule)
        return {"score": 1.0, "peak_lr": 0.01}, losses

    monkeypatch.setattr(runs, "_trained", train)
    assert runs.run(job(None), tmp_path, tmp_path) == {
        **job(None)._asdict(),
        "same": False,
        "score": 1.0,
        "peak_lr": 0.01,
    }
    assert runs.run(job("evidence counts at the cap"), tmp_path, tmp_path)["same"]
    assert not runs.run(job("two speeds"), tmp_path, tmp_path)["same"]
    assert trained == [None, "two speeds"]


class Constant:
    """A task whose loss is twice its only parameter, 1.5."""

    def __init__(self):
        self.weight = torch.tensor(1.5, requires_grad=True)

    def loss(self):
        return 2 * self.weight

    def update(self):
        self.weight.grad = None
        loss = self.loss()
        loss.backward()
        return loss.item(), self.weight.grad.item()


@pytest.mark.parametrize(
    ("name", "loss", "gradient", "updates"),
    [
        ("a spike, warm-up", 300.0, 200.0, [10]),
        ("five spikes in a row, decay", 300.0, 200.0, [50, 51, 52, 53, 54]),
        ("a NaN loss, decay", math.nan, 0.0, [50]),
        ("NaN weights, warm-up", math.nan, math.nan, [10]),
        ("a jump of the data, decay", 4.5, 2.0, list(range(50, 100))),
    ],
)
def test_a_fault_comes_when_it_should(name, loss, gradient, updates):
    task = Constant()
    faults.FAULTS[name](task, 100)
    seen = [task.update() for _ in range(100)]
    bad = [update for update, each in enumerate(seen) if each != (3.0, 2.0)]
    assert bad == updates
    assert np.array_equal(seen[bad[0]], (loss, gradient), equal_nan=True)


def test_a_drift_adds_the_first_loss_through_a_third_of_the_run():
    task = Constant()
    faults.FAULTS["a drift of the data, warm-up"](task, 300)
    found, gradients = zip(*[task.update() for _ in range(300)], strict=True)
    assert found[0] == 3.0
    assert found[50] == pytest.approx(4.5)
    assert found[100:] == pytest.approx([6.0] * 200)
    assert set(gradients) == {2.0}


def test_the_table_counts_the_runs_that_differ():
    def record(rule, score, task="lstm", *, same=False):
        return {**job(rule)._asdict(), "task": task, "same": same} | ({} if same else {"score": score})

    default = [record(None, -2.0), record(None, 80.0, "parity"), record(None, 90.0, "copy-gpt")]
    without = [
        record("spike", -2.5),
        record("spike", 83.0, "parity"),
        record("spike", 0, "copy-gpt", same=True),
    ]
    text = table.write(default + without)
    assert "| spike | 2 of 3, +8.50 | – | – | lstm +20.0; parity -3.0 |" in text
    assert "| screen | – | – | – |  |" in text


def test_the_table_counts_the_runs_that_are_lost():
    def record(rule, task, seed, score, trivial):
        key = runs.Job("hard", task, seed, None, rule)._asdict()
        return {**key, "same": False, "score": score, "trivial": trivial}

    default = [record(None, "parity-sgd", seed, 100.0, 50.0) for seed in range(3)]
    default += [record(None, "raw-diabetes", 0, -52.0, -60.0), record(None, "raw-diabetes", 1, -61.0, -60.0)]
    without = [
        record("spike", "parity-sgd", 0, 76.0, 50.0),
        record("spike", "parity-sgd", 1, 74.0, 50.0),  # less than halfway
        record("spike", "raw-diabetes", 0, None, -60.0),
        record("spike", "raw-diabetes", 1, -61.0, -60.0),  # the same
    ]
    text = hard.write(default + without)
    heads = "| rare examples (0) | raw targets (2) | raw inputs (0) "
    heads += "| small (0) | trained before (0) | plateaus, noise, adapters (3) | lost |"
    assert heads in text
    assert "| *nothing* | 0 lost | 1 lost | 0 lost | 0 lost | 0 lost | 0 lost | 1 |" in text
    assert "| spike | – | 1 differ, 2 lost | – | – | – | 2 differ, 1 lost | 3 |" in text
    assert "screen" not in text


@pytest.mark.parametrize(("name", "columns", "largest"), [("wine", 13, 1680.0), ("tumours", 30, 4254.0)])
def test_tables_are_as_they_come(name, columns, largest, tmp_path):
    pytest.importorskip("sklearn.datasets")
    for suffix, optimizer in (("", torch.optim.AdamW), ("-sgd", torch.optim.SGD)):
        task = hard.KINDS[f"raw-{name}{suffix}"].make(0, tmp_path)
        assert task.x.shape[1] == columns
        assert float(task.x.max()) == largest
        assert task.rows == int(0.7 * len(task.x))
        assert isinstance(task.optimizers(0.1)[0], optimizer)
        assert 30 < task.trivial() < 70
        assert 0 <= task.score() <= 100


def test_prices_of_houses_are_linear(tmp_path):
    task = hard.KINDS["raw-houses-sgd"].make(0, tmp_path)
    ones = torch.ones(len(task.x), 1)
    solved = torch.linalg.lstsq(torch.cat([task.x, ones], 1).double(), task.y.double()[:, None]).solution
    with torch.no_grad():
        task.model[0].weight.copy_(solved[:4].T)
        task.model[0].bias.copy_(solved[4])
    assert 15 < task.score() < 20  # what is left is the noise
    assert task.trivial() == 0


def test_hard_tasks_are_of_the_suite_or_have_rare_examples(tmp_path):
    assert set(hard.SEEDS) <= set(hard.KINDS)
    task = hard.KINDS["rare-0.3%-64"].make(0, tmp_path)
    assert 0.002 < float(task.y.mean()) < 0.02
    assert task.loss() > 0


@pytest.mark.parametrize("name", ["parity-30", "parity-4-of-14-sgd", "digits-1-sgd", "digits-2-sgd"])
def test_small_tasks_are_those_of_the_suite_in_other_sizes(name, tmp_path):
    kind = hard.KINDS[name]
    task = kind.make(0, tmp_path)
    (optimizer,) = task.optimizers(1e-2)
    assert type(optimizer).__name__.lower() == kind.optimizer
    assert torch.isfinite(task.loss())
    assert task.trivial() <= 50.0


class OfItsOwn(finetune.MoreText):
    """Any network, in other units."""

    units = 1 / 30

    def __init__(self):
        Task.__init__(self, 0)
        self.model = nn.Linear(3, 2)
        self.known = -2.0


def test_in_other_units_a_smaller_lr_does_what_another_did():
    task, plain = OfItsOwn(), nn.Linear(3, 2)
    plain.load_state_dict(task.model.state_dict())
    (optimizer,) = task.optimizers(1e-3)
    other = torch.optim.AdamW(plain.parameters(), lr=3e-2, weight_decay=task.weight_decay)
    for model, by in ((task.model, optimizer), (plain, other)):
        model(torch.ones(4, 3)).square().sum().backward()
        by.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)
    for mine, known in zip(task.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, known)
    assert task.trivial() == pytest.approx(-2.06)
