"""Parameter groups that come and go, and learning rates that are tensors."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

import autowu
from autowu.controller import machine
from reliability.curves import v_curve
from reliability.promises import Trials, promise

STEPS = 80
DEFAULT = 0.1
# No round numbers: a tenth of the LR of now, where layers are unfrozen with it, is kept as that share.
LRS = st.none() | st.floats(1e-6, 10).map(lambda lr: 1.0471975 * lr)


def group(lr: float | None, size: int = 2) -> dict[str, Any]:
    parameter = nn.Parameter(torch.ones(size))
    return {"params": [parameter]} | ({} if lr is None else {"lr": lr})


class Groups(RuleBasedStateMachine):
    """A run whose groups are added, removed and put back, and that is saved and loaded."""

    examples: Trials

    def __init__(self) -> None:
        super().__init__()
        self.losses = v_curve(3 * STEPS, 7).tolist()
        self.own: list[float | None] = [None]
        self.made = autowu.AutoWU(SGD([group(None)], lr=DEFAULT, momentum=0.9), STEPS)
        self.fresh = 0
        """Groups that the scheduler has not seen yet."""

    @property
    def optimizer(self) -> Optimizer:
        return self.made.optimizer

    @rule(count=st.integers(1, 30))
    def train(self, count: int) -> None:
        for _ in range(count):
            if self.made.last_epoch < STEPS:
                self.made.step(self.losses[self.made.last_epoch])
                self.fresh = 0

    @rule(lr=LRS)
    def add(self, lr: float | None) -> None:
        self.optimizer.add_param_group(group(lr))
        self.own.append(lr)
        self.fresh += 1

    @rule(at=st.integers(0, 20))
    def remove_and_put_back(self, at: int) -> None:
        groups = self.optimizer.param_groups
        if self.fresh or self.made.last_epoch >= STEPS:
            return
        taken, before = groups.pop(at % len(groups)), self.made.last_epoch
        counts = f"has {len(groups)} parameter groups, fewer than the {len(self.own)}"
        with pytest.raises(RuntimeError, match=counts):
            self.made.step(1.0)
        assert self.made.last_epoch == before
        groups.insert(at % (len(groups) + 1), taken)

    @rule()
    def save_and_load(self) -> None:
        if self.fresh:
            return
        state = copy.deepcopy(self.made.state_dict())
        weights = [group(lr) for lr in self.own]
        made = autowu.AutoWU(SGD(weights, lr=DEFAULT, momentum=0.9), STEPS)
        made.load_state_dict(state)
        self.made = made

    @rule(more=st.integers(1, 3))
    def load_into_another_number_of_groups(self, more: int) -> None:
        if self.fresh:
            return
        there = len(self.own) + more
        other = autowu.AutoWU(SGD([group(None) for _ in range(there)], lr=DEFAULT), STEPS)
        before = str(other.state_dict())
        with pytest.raises(ValueError, match=f"{there} parameter groups, the saved state {len(self.own)}"):
            other.load_state_dict(self.made.state_dict())
        assert str(other.state_dict()) == before

    @invariant()
    def ratios_are_kept(self) -> None:
        lr = machine.learning_rate(self.made.config, self.made._session.state, self.made.last_epoch)
        seen = len(self.own) - self.fresh
        for own, held in zip(self.own[:seen], self.optimizer.param_groups[:seen], strict=True):
            expected = lr * (1 if own is None else own / DEFAULT)
            assert held["lr"] == pytest.approx(expected, rel=1e-12, abs=0)
        assert self.made.get_last_lr() == [held["lr"] for held in self.optimizer.param_groups[:seen]]

    def teardown(self) -> None:
        self.examples.done += self.examples.done < self.examples.count


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@promise(
    "parameter groups with LRs of their own, added or removed at any time",
    "each keeps its ratio to the default LR; a group that is lost, or another number on loading, is an error "
    "with both counts, and nothing is changed",
    full=500,
    plain=5,
    unit="sequences drawn by Hypothesis",
)
def test_groups_that_come_and_go(trials: Trials) -> None:
    class Counted(Groups):
        examples = trials

    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=trials.count,
            deadline=None,
            derandomize=True,
            database=None,
            stateful_step_count=15,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.filterwarnings("ignore:AutoWU. no parameter group has")
@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@promise(
    "a tensor as LR, in one or many groups",
    "it is changed in place at every update: the same tensor in the same memory, with a float LR's value",
    full=200,
    plain=20,
)
def test_tensor_lrs(trials: Trials) -> None:
    for trial in trials:
        random = np.random.default_rng(trial)
        count, dtype = int(random.integers(1, 5)), [torch.float32, torch.float64][trial % 2]
        own = [None if random.random() < 0.5 else float(random.uniform(0.01, 1)) for _ in range(count)]
        tensors = [
            group(None) | ({} if lr is None else {"lr": torch.tensor(lr, dtype=torch.float64)}) for lr in own
        ]
        optimizer = AdamW(tensors, lr=torch.tensor(DEFAULT, dtype=dtype))
        made = autowu.AutoWU(optimizer, STEPS)
        default = float(torch.tensor(DEFAULT, dtype=dtype))
        floats = autowu.AutoWU(AdamW([group(lr) for lr in own], lr=default), STEPS)
        held = [entry["lr"] for entry in optimizer.param_groups]
        memory = [lr.data_ptr() for lr in held]
        for loss in v_curve(STEPS, trial).tolist():
            made.step(loss)
            floats.step(loss)
            for lr, pointer, entry, value in zip(
                held, memory, optimizer.param_groups, floats.get_last_lr(), strict=True
            ):
                assert entry["lr"] is lr
                assert lr.data_ptr() == pointer
                assert math.isclose(float(lr), float(value), rel_tol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # the compiler's own
@promise(
    "an optimizer compiled with torch.compile, its LR a tensor",
    "one compilation, at its first step, and none after it in the whole run",
    full=5,
    plain=1,
)
def test_no_recompilation(trials: Trials) -> None:
    from torch._dynamo.testing import CompileCounter

    for trial in trials:
        model = nn.Linear(4, 2)
        optimizer = AdamW(model.parameters(), lr=torch.tensor(1e-3))
        model(torch.ones(3, 4)).sum().backward()
        optimizer.step()  # makes its state
        made = autowu.AutoWU(optimizer, STEPS)
        torch._dynamo.reset()
        counter = CompileCounter()
        step = torch.compile(optimizer.step, backend=counter, dynamic=False)
        frames = []
        for loss in v_curve(STEPS, trial).tolist():
            step()
            made.step(loss)
            frames.append(counter.frame_count)
        assert made.switch is not None
        assert frames[-1] == frames[0] > 0
