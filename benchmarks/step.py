"""``AutoWU.step(loss)``, its tests and copies for rewinding included, against CosineAnnealingLR.

Of the default preset a whole run, divided by its steps; of the paper preset warm-up to its cap of half of the
run, since it reads nothing later. On a loss that falls in a straight line, where most reads are too plain to
need a test; and on one whose fall is hidden by noise, where most reads from lift-off on need one. The model
is tiny (6 parameters, AdamW): a copy of a larger one costs what reading and writing its memory costs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

import autowu
from autowu.arrays import Array
from benchmarks.curves import falling, hidden
from benchmarks.timing import Row, Timing, interleaved

STEPS_PER_EPOCH = 391  # CIFAR-10 at batch size 128


def run(*, quick: bool) -> list[Row]:
    paper = {"preset": "paper", "steps_per_epoch": STEPS_PER_EPOCH}
    runs: list[tuple[str, int, Callable[[int], Array], dict[str, Any]]] = [
        ("step, default preset", 12_000, falling, {}),
        ("step, default preset", 120_000, falling, {}),
        ("step, default preset", 1_200_000, falling, {}),
        ("step, default preset, a fall hidden by noise", 12_000, hidden, {}),
        ("step, paper preset", 12_000, falling, paper),
        # One epoch as long as warm-up: the tests come to nothing.
        ("step without tests", 12_000, falling, paper | {"steps_per_epoch": 6000}),
    ]
    rows = []
    for name, total, curve, settings in runs:
        if quick and total > 12_000:
            continue
        steps = total // 2 - 1 if settings else total
        losses = torch.tensor(curve(steps), dtype=torch.float32).unbind()
        calls = [
            (partial(_ours, losses, total, settings), 1),
            (partial(_cosine, steps, total), 1),
        ]
        ours, peer = (_per_step(t, steps) for t in interleaved(calls, 3 if quick or total > 120_000 else 9))
        rows.append(Row(f"{name}, {total:,} updates; peer: CosineAnnealingLR", ours, peer, slower=3))
    losses = torch.tensor(falling(6000), dtype=torch.float32).unbind()
    calls = [(partial(_copies, losses), 1), (partial(_cosine, 6000, 12_000), 1)]
    ours, peer = (_per_step(t, 6000) for t in interleaved(calls, 3 if quick else 9))
    rows.append(Row("the loss's copy alone; peer: CosineAnnealingLR", ours, peer))
    return rows


def _ours(losses: tuple[torch.Tensor, ...], total: int, settings: dict[str, Any]) -> None:
    scheduler = autowu.AutoWU(_optimizer(), total_steps=total, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that warm-up ends at its cap
        for loss in losses:
            scheduler.step(loss)
    assert scheduler.phase == ("decay" if len(losses) == total else "warmup")


def _cosine(steps: int, total: int) -> None:
    scheduler = CosineAnnealingLR(_optimizer(), total)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer makes no steps between
        for _ in range(steps):
            scheduler.step()


def _copies(losses: tuple[torch.Tensor, ...]) -> None:
    buffer = torch.zeros(len(losses))
    for index, loss in enumerate(losses):
        buffer[index].copy_(loss)


def _optimizer() -> Optimizer:
    model = nn.Linear(2, 2)
    optimizer = AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()  # so that it has state to copy
    return optimizer


def _per_step(timing: Timing, steps: int) -> Timing:
    return Timing(tuple(seconds / steps for seconds in timing.seconds))
