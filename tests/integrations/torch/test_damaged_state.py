"""A state that is damaged, or another run's, is refused with its reason, and nothing is changed."""

import copy
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

import autowu
from autowu.controller import plain
from autowu.integrations.torch.tensors import with_snapshot
from integrations.torch.training import PAPER, STEPS, assert_equal, drive, parameters, scheduler, v_curve

STAGES = {
    "at the start": ({}, 0),
    "before lift-off": ({}, 12),
    "in warm-up": ({}, 55),
    "with losses that wait": ({"test_growth": 1.5}, 55),
    "in an open update": ({}, 55),
    "in the decay": ({}, 100),
    "in the plateaus": ({"decay": "plateau"}, 103),
    "paper": (PAPER, 57),
    "paper's decay": (PAPER, 120),
}


def at(stage: str) -> autowu.AutoWU:
    """A scheduler that has come so far. AdamW's state is there, and a copy of it."""
    settings, steps = STAGES[stage]
    weights = parameters(3, 2)
    optimizer = AdamW([{"params": weights[:1]}, {"params": weights[1:], "lr": 0.1}], lr=0.01)
    made = autowu.AutoWU(optimizer, STEPS, **settings)
    for loss in v_curve()[:steps]:
        optimizer.step()
        made.step(torch.tensor(loss))
    if stage == "in an open update":
        made.observe(torch.tensor(1.0))
    return made


def everything(made: autowu.AutoWU) -> dict[str, Any]:
    """What must not change."""
    return copy.deepcopy({"scheduler": made.state_dict(), "optimizer": made.optimizer.state_dict()})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"total_steps": STEPS + 1, "seed": 1}, "seed is 0 here, but 1 in the saved state"),
        (
            PAPER,
            "the preset differs, 'default' here, but 'paper' there: basin is 0.05 here, but None in",
        ),
        (PAPER | {"decay": "linear"}, "the preset differs, 'default' here, but 'paper'"),
    ],
)
def test_another_configuration(other, message):
    made, saved = scheduler(), scheduler(**other)
    drive(saved, v_curve()[:20])
    before = everything(made)
    with pytest.raises(ValueError, match=message):
        made.load_state_dict(saved.state_dict())
    assert_equal(everything(made), before)


def test_another_preset_the_other_way_round():
    made = scheduler(**PAPER, rewind=True)
    with pytest.raises(
        ValueError, match="the preset differs, 'paper' here, but 'default' there: basin is None"
    ):
        made.load_state_dict(scheduler(STEPS + 1).state_dict())


@pytest.mark.parametrize(
    ("other", "keys"),
    [
        (AdamW(parameters()).state_dict(), "its keys are 'state', 'param_groups'$"),
        (torch.nn.Linear(2, 2).state_dict(), "its keys are 'weight', 'bias'$"),
        (CosineAnnealingLR(AdamW(parameters()), 10).state_dict(), "its keys are 'T_max', .*, …$"),
        ({"scheduler": {}}, "it lacks 'version' and 'config'; its keys are 'scheduler'$"),
        ({"version": 1}, "it lacks 'config'; its keys are 'version'$"),
        ({"last_epoch": 3}, "it lacks 'version' and 'config'; its keys are 'last_epoch'$"),
        ({}, "its keys are none$"),
        (None, "which is a mapping: None$"),
        ([], r"which is a mapping: \[\]$"),
        ("state", "which is a mapping: 'state'$"),
        (3, "which is a mapping: 3$"),
    ],
)
def test_the_state_of_something_else(other, keys):
    made = at("in warm-up")
    before = everything(made)
    with pytest.raises(ValueError, match=f"this is not a state of AutoWU.*{keys}"):
        made.load_state_dict(other)
    assert_equal(everything(made), before)


def test_a_copy_of_another_optimizer():
    saved = scheduler()
    saved.optimizer.step()
    drive(saved, v_curve()[:50])
    made = autowu.AutoWU(SGD(parameters(), lr=1e-3, momentum=0.9), STEPS)
    before = everything(made)
    with pytest.raises(
        ValueError, match="the optimizer is 'SGD' here, but 'AdamW' in the snapshot for rewinding"
    ):
        made.load_state_dict(saved.state_dict())
    assert_equal(everything(made), before)


def test_an_optimizer_that_a_host_has_wrapped_is_the_same():
    class Wrapped(Optimizer):
        def __init__(self, optimizer: Optimizer) -> None:
            self.optimizer, self.defaults = optimizer, optimizer.defaults
            self.param_groups, self.state = optimizer.param_groups, optimizer.state

    plain, wrapped = scheduler(), autowu.AutoWU(Wrapped(Wrapped(AdamW(parameters(), lr=1e-3))), STEPS)
    drive(plain, v_curve()[:50])
    wrapped.load_state_dict(plain.state_dict())
    plain.load_state_dict(wrapped.state_dict())
    assert wrapped.state_dict()["snapshot"]["optimizers"] == ["AdamW"]


def test_another_number_of_groups():
    made, saved = at("in warm-up"), scheduler()
    before = everything(made)
    with pytest.raises(ValueError, match="the optimizer has 2 parameter groups, the saved state 1"):
        made.load_state_dict(saved.state_dict())
    assert_equal(everything(made), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "the state of AutoWU has version 99, this is 4$"),
        ({"version": 1}, "the state of AutoWU has version 1, this is 4$"),
        (
            {"run": ({"version": 3}, scheduler().state_dict()["pending"], None)},
            f"version must be {plain.VERSION}, not 3$",
        ),
    ],
)
def test_another_version(changes, message):
    made = scheduler()
    before = everything(made)
    with pytest.raises(ValueError, match=message):
        made.load_state_dict(made.state_dict() | changes)
    assert_equal(everything(made), before)


def test_a_copy_of_other_parameters():
    made = scheduler()
    drive(made, v_curve()[:50])
    other = autowu.AutoWU(AdamW(parameters(4)), STEPS)
    with pytest.raises(ValueError, match=r"parameter\.0 has shape \(4,\) here, but \(3,\) in the snapshot"):
        other.load_state_dict(made.state_dict())
    assert other.last_epoch == 0


def test_a_snapshot_without_the_models_buffers_resumes_and_they_stay():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    saved = autowu.AutoWU(AdamW(model.parameters()), STEPS)
    drive(saved, v_curve()[:50])
    made = autowu.AutoWU(AdamW(model.parameters()), STEPS, model=model)
    made.load_state_dict(saved.state_dict())
    model[1].running_mean.fill_(7)
    drive(made, v_curve()[50:])
    assert made.switch.rewound_to > 50  # the next snapshot has them


def test_a_state_without_the_part_of_this_rank_says_where_that_comes_from():
    made = scheduler()
    drive(made, v_curve()[:40])
    with pytest.raises(ValueError, match="go on with as many processes as have saved them"):
        scheduler().load_state_dict(with_snapshot(made.state_dict(), None))
