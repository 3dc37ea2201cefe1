"""The methods that are compared, each with what one plain loop asks of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

import autowu
from autowu.train.optimizers.table import BASE_LR
from autowu.train.schedules.averaging import Averaging
from autowu.train.schedules.method import Method
from autowu.train.schedules.one_cycle import RISE, OneCycle
from autowu.train.schedules.peers import nadamw, prodigy, schedule_free
from autowu.train.schedules.peers.greedy import GreedyLR
from autowu.train.schedules.peers.lr_finder import END_LR, START_LR, UPDATES
from autowu.train.schedules.plan import Plan
from autowu.train.settings.options import Settings
from benchmarks.quality import advised
from benchmarks.quality.kinds.task import Task
from benchmarks.quality.methods import ADVISED

PEERS = {"nadamw": nadamw, "schedule-free": schedule_free, "prodigy": prodigy}
"""Optimizers themselves, in place of the task's."""
WARMUP = 0.05
MEASURED_AGAIN = 50
"""Batches for BatchNorm's statistics at an average of weights."""


class Driven(ABC):
    """A method on a task."""

    optimizers: list[Optimizer]
    steps: int
    """Updates of the run; what a range test took is taken off."""

    def before(self, loss: Tensor) -> None:  # noqa: B027 (most need nothing then)
        """Before an update, with its gradients in place."""

    @abstractmethod
    def step(self, loss: Tensor) -> None:
        """After an update."""

    def finish(self) -> None:  # noqa: B027 (most test the weights that they trained)
        """Put the weights to be tested in place."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What it decided."""


class Own(Driven):
    """AutoWU, at its default preset but for ``settings``."""

    def __init__(self, task: Task, steps: int, settings: Mapping[str, Any]) -> None:
        self.optimizers, self.steps = task.optimizers(1e-3), steps
        self.scheduler = autowu.AutoWU(self.optimizers, steps, model=task.model, **settings)

    def step(self, loss: Tensor) -> None:
        """Hand on the loss."""
        self.scheduler.step(loss)

    def record(self) -> dict[str, Any]:
        """How warm-up ended."""
        switch, scheduler = self.scheduler.switch, self.scheduler
        found: dict[str, Any] = {"cuts": len(scheduler.cuts), "tests": len(scheduler.verdicts)}
        if switch is not None:
            found |= {
                "peak_lr": switch.peak_lr,
                "switch_step": switch.step,
                "t_star": switch.t_star,
                "capped": switch.capped,
                "reason": switch.reason.value,
            }
        return found


class Fixed(Driven):
    """A linear warm-up to a peak, 5% of the run by default, and a linear decay to zero."""

    def __init__(self, task: Task, steps: int, peak_lr: float, warmup_share: float = WARMUP) -> None:
        self.optimizers, self.steps, self.peak_lr = task.optimizers(peak_lr), steps, peak_lr
        warmup = max(1, round(warmup_share * steps))

        def share(step: int) -> float:
            return min((step + 1) / warmup, (steps - step) / (steps - warmup))

        self.schedulers = [LambdaLR(each, share) for each in self.optimizers]

    def step(self, loss: Tensor) -> None:
        """The loss plays no part."""
        for each in self.schedulers:
            each.step()

    def record(self) -> dict[str, Any]:
        """The peak it was given."""
        return {"peak_lr": self.peak_lr}


class RangeTest(Driven):
    """A range test (Smith, 2017), as PyTorch Lightning and torch-lr-finder do it, then one cycle.

    Args:
        task: what is trained.
        steps: of the run, the test's own among them.
        suggest: (LRs, smoothed losses) of the test -> the peak.
    """

    def __init__(self, task: Task, steps: int, suggest: Callable[[Any, Any], float]) -> None:
        self.peak_lr = suggest(*range_test(task))
        self.optimizers, self.steps = task.optimizers(self.peak_lr), steps - UPDATES
        rise = round(RISE * self.steps)
        self.schedules = [OneCycle(each, self.peak_lr, self.steps, rise) for each in self.optimizers]

    def step(self, loss: Tensor) -> None:
        """The loss plays no part."""
        for each in self.schedules:
            each.step(loss)

    def record(self) -> dict[str, Any]:
        """The peak it found."""
        return {"peak_lr": self.peak_lr}


def range_test(task: Task) -> tuple[np.ndarray, list[float]]:
    """LRs and losses of up to 100 updates; weights and buffers are put back.

    Losses are smoothed by 0.05, and fivefold the least one ends the test: torch-lr-finder's defaults.
    """
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    optimizers = task.optimizers(START_LR)
    lrs, losses = START_LR * (END_LR / START_LR) ** (np.arange(UPDATES) / (UPDATES - 1)), list[float]()
    for lr in lrs:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
        loss = update(task, optimizers).item()
        losses.append(0.05 * loss + 0.95 * losses[-1] if losses else loss)
        if not losses[-1] <= 5 * min(losses):
            break
    with torch.no_grad():
        for name, tensor in task.model.state_dict().items():
            tensor.copy_(before[name])
    task.model.zero_grad()
    return lrs, losses


def steepest(lrs: np.ndarray, losses: list[float]) -> float:
    """The LR of the steepest fall, without the first ten losses and the last five: torch-lr-finder's.

    Raises:
        RuntimeError: the test ended too early for that.
    """
    if len(losses) < 17:
        raise RuntimeError(f"the range test ended after {len(losses)} updates, too few to suggest an LR from")
    return float(lrs[10 + int(np.gradient(losses[10:-5]).argmin())])


class Peer(Driven):
    """A published optimizer.

    Args:
        name: the trainer's.
        build: makes it.
        task: what is trained.
        steps: of the run.
    """

    def __init__(self, name: str, build: Callable[[Plan], Method], task: Task, steps: int) -> None:
        plan = Plan(Settings(schedule=name), task.model, steps, None, lambda tensor: tensor)
        self.method, self.task, self.steps = build(plan), task, steps
        self.optimizers = [self.method.optimizer]
        self.method.train()

    def before(self, loss: Tensor) -> None:
        """Some are told the loss; none that is here looks again at the batch."""
        self.method.before_step(loss, lambda: loss)

    def step(self, loss: Tensor) -> None:
        """Its schedule's."""
        self.method.schedule.step(loss)

    def finish(self) -> None:
        """An average where it has one, with BatchNorm's statistics measured again, as its authors advise."""
        self.method.eval()
        if isinstance(self.method, Averaging) and any(
            isinstance(each, nn.BatchNorm2d) for each in self.task.model.modules()
        ):
            with torch.no_grad():
                for _ in range(MEASURED_AGAIN):
                    self.task.loss()

    def record(self) -> dict[str, Any]:
        """The LR it has for a peak, if it has one."""
        return {"peak_lr": self.method.settings.get("peak_lr")}


class Greedy(Driven):
    """GreedyLR with a floor of a tenth, from η_base, on the loss of each update."""

    def __init__(self, task: Task, steps: int) -> None:
        self.optimizers, self.steps = task.optimizers(BASE_LR[task.optimizer]), steps
        self.schedules = [GreedyLR(each, **advised.floors(each)) for each in self.optimizers]

    def step(self, loss: Tensor) -> None:
        """More LR while the loss falls, else less."""
        for each in self.schedules:
            each.step(loss.item())

    def record(self) -> dict[str, Any]:
        """It has no peak."""
        return {"peak_lr": None}


def update(
    task: Task, optimizers: list[Optimizer], before: Callable[[Tensor], None] = lambda loss: None
) -> Tensor:
    """One update; its loss, of which ``before`` is told before the optimizers' steps."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = task.loss()
    loss.backward()
    task.after_backward()
    before(loss.detach())
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()


def driven(method: str, task: Task, steps: int, settings: Mapping[str, Any]) -> Driven:
    """The method of that name on a task: 'autowu', 'fixed PEAK', or a peer, also one as its authors advise.

    Or a trial of :mod:`benchmarks.quality.kinds.search`.

    Raises:
        ValueError: there is none of that name.
    """
    if method == "autowu":
        return Own(task, steps, settings)
    if method.startswith("fixed "):
        return Fixed(task, steps, float(method.removeprefix("fixed ")))
    if method.startswith("trial "):
        peak_lr, warmup_share, decay = map(float, method.split()[1:])
        task.weight_decay *= decay
        return Fixed(task, steps, peak_lr, warmup_share)
    makers: dict[str, Callable[[], Driven]] = {
        "lr-finder": lambda: RangeTest(task, steps, steepest),
        "lr-finder, minimum / 10": lambda: RangeTest(task, steps, advised.tenth_of_minimum),
        "greedy, floor a tenth": lambda: Greedy(task, steps),
    }
    makers |= {name: lambda name=name: Peer(name, PEERS[name].build, task, steps) for name in PEERS}
    for name, peer in ADVISED.items():
        build = advised.BUILDS[name]
        if peer in PEERS:
            makers[name] = lambda peer=peer, build=build: Peer(peer, build, task, steps)
    if method not in makers:
        raise ValueError(f"method must be autowu, fixed PEAK, {', '.join(makers)}, not {method!r}")
    return makers[method]()
