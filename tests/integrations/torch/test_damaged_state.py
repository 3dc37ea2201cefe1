"""A state that is damaged, or another run's, is refused with its reason, and nothing is changed."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

import autowu
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

REPLACEMENTS = [
    None, True, -1, 7, 2.5, float("nan"), float("inf"), 10**30, 1j, "x", b"x", object(),
    [], {}, (), [1], {"a": 1}, {1: 2},
    np.float64(2), np.zeros(3), np.array("x"), torch.zeros(0), torch.zeros(3), torch.zeros(2, 2),
    torch.tensor(1j), torch.tensor(True), torch.zeros(3, device="meta"), torch.zeros(3).bfloat16(),
]  # fmt: skip


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


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutated(state: dict[str, Any], path: tuple[Any, ...], rng: random.Random) -> str:
    """Damage ``state`` at ``path``, and say how."""
    holder = state
    for key in path[:-1]:
        holder = holder[key]
    value = holder[path[-1]]
    kinds = ["delete", "replace", "add"] + ["reshape", "retype"] * isinstance(value, Tensor)
    kind = rng.choice(kinds)
    if kind == "delete":
        del holder[path[-1]]
    elif kind == "add" and isinstance(holder, dict):
        holder[rng.choice([f"{path[-1]}_", 3, None])] = value
    elif kind == "reshape":
        holder[path[-1]] = rng.choice(
            [value.reshape(1, *value.shape), torch.cat([value.reshape(-1), torch.ones(1)])]
        )
    elif kind == "retype":
        holder[path[-1]] = value.to(rng.choice([torch.complex64, torch.bool, torch.int8]))
    else:
        holder[path[-1]] = replacement = rng.choice(REPLACEMENTS)
        kind = f"replace by {replacement!r}"
    return f"{kind} {'/'.join(map(str, path))}"


def everything(made: autowu.AutoWU) -> dict[str, Any]:
    """What must not change."""
    return copy.deepcopy({"scheduler": made.state_dict(), "optimizer": made.optimizer.state_dict()})


def try_mutations(stage: str, count: int) -> None:
    rng = random.Random(stage)
    good = at(stage).state_dict()
    made = at("before lift-off" if STAGES[stage][0] == {} else stage)
    before = everything(made)
    all_places = list(places(good))
    refused = 0
    for _ in range(count):
        state = copy.deepcopy(good)
        how = mutated(state, rng.choice(all_places), rng)
        try:
            made.load_state_dict(state)
        except ValueError:
            refused += 1
            assert_equal(everything(made), before, f"{how}: ")
        except Exception as error:
            raise AssertionError(f"{how}: {error!r}") from error
        else:
            # What cannot be told from a state of a real run must still be one that a run can go on from.
            made.state_dict()
            for loss in v_curve()[made.last_epoch :]:
                if made.last_epoch >= STEPS:
                    break
                made.optimizer.step()
                made.step(torch.tensor(loss))
            made = at("before lift-off" if STAGES[stage][0] == {} else stage)
    assert refused > count / 2


@pytest.mark.parametrize("stage", STAGES)
def test_mutations(stage):
    try_mutations(stage, 40)


@pytest.mark.full
@pytest.mark.parametrize("stage", STAGES)
def test_more_mutations(stage):
    try_mutations(stage, 500)


@pytest.mark.parametrize("wrong", [None, [], "state", 3, {}, {"version": 1}, {"last_epoch": 3}])
def test_what_is_no_state_at_all(wrong):
    made = at("in warm-up")
    before = everything(made)
    with pytest.raises(ValueError, match="state of AutoWU"):
        made.load_state_dict(wrong)
    assert_equal(everything(made), before)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"total_steps": STEPS + 1}, f"total_steps is {STEPS} here, but {STEPS + 1} in the saved state"),
        ({"seed": 5}, "seed is 0 here, but 5"),
        ({"confidence": 0.9}, "confidence is 0.95 here, but 0.9"),
        ({"decay": "cosine"}, "decay is 'linear' here, but 'cosine'"),
        ({"max_lr": 2.0}, "max_lr is 1.0 here, but 2.0"),
        (
            PAPER,
            "the preset differs, 'default' here, but 'paper' there: ceiling is 10000.0 here, but None in",
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
        ValueError, match="the preset differs, 'paper' here, but 'default' there: ceiling is None"
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
        ({}, "its keys are none$"),
        (None, "which is a mapping: None$"),
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
    assert wrapped.state_dict()["snapshot"]["optimizer"] == "AdamW"


def test_another_number_of_groups():
    made, saved = at("in warm-up"), scheduler()
    before = everything(made)
    with pytest.raises(ValueError, match="the optimizer has 2 parameter groups, the saved state 1"):
        made.load_state_dict(saved.state_dict())
    assert_equal(everything(made), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "the state of AutoWU has version 99, this is 2$"),
        ({"version": 1}, "the state of AutoWU has version 1, this is 2$"),
        ({"controller": {"version": 3}}, "the state's version must be 4, not 3$"),
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
    with pytest.raises(ValueError, match=r"parameter\.0 has shape \(4,\) here, but \(3,\) in the copy"):
        other.load_state_dict(made.state_dict())
    assert other.last_epoch == 0


def test_a_copy_without_the_models_buffers():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    saved = autowu.AutoWU(AdamW(model.parameters()), STEPS)
    drive(saved, v_curve()[:50])
    made = autowu.AutoWU(AdamW(model.parameters()), STEPS, model=model)
    with pytest.raises(ValueError, match=r"lacks buffer\.1\.running_mean"):
        made.load_state_dict(saved.state_dict())
