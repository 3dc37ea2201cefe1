"""Accelerate: updates that are given up, and updates of other optimizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("accelerate")

import torch
from accelerate import Accelerator
from torch import nn

from autowu import AutoWU
from autowu.integrations.accelerate import AcceleratedAutoWU
from integrations.accelerate import Loop
from integrations.contract.contract import core_trace, v_curve


def test_a_loop_that_gives_an_update_up_halfway_and_goes_back_has_the_lrs_of_one_that_did_not(
    tmp_path: Path,
) -> None:
    losses = np.repeat(np.round(v_curve(120) * 256) / 256, 2)
    loop = Loop(losses, Accelerator(cpu=True, gradient_accumulation_steps=2), 120)
    loop.run(after_update=lambda updates: updates == 20)
    loop.accelerator.save_state(tmp_path)
    with loop.accelerator.accumulate(loop.model):
        loop.scheduler.step(1e30)
        loop.optimizer.zero_grad()
    loop.accelerator.load_state(tmp_path)
    assert loop.run(40) == core_trace(losses[::2])


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_micro_batches_may_write_their_losses_into_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    observed, buffer = list[float](), torch.zeros(())
    monkeypatch.setattr(AutoWU, "observe", lambda _, loss: observed.append(loss.item()))
    monkeypatch.setattr(AutoWU, "step", lambda _: None)
    loop = Loop([0.0] * 4, Accelerator(cpu=True, gradient_accumulation_steps=4), 1)
    for loss in (1.0, 2.0, 3.0, 4.0):
        with loop.accelerator.accumulate(loop.model):
            loop.scheduler.step(buffer.fill_(loss))
    assert observed == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("prepared_first", [True, False])
def test_an_update_of_another_optimizer_that_was_skipped_once_is_none_of_its_own(
    prepared_first: bool,
) -> None:
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizers: list[Any] = [torch.optim.SGD([each], lr=0.1) for each in weights]
    raw = optimizers[1]
    optimizers = list(accelerator.prepare(*optimizers))
    made = AutoWU(optimizers[1] if prepared_first else raw, 120)
    scheduler = AcceleratedAutoWU(accelerator, made)
    for weight, optimizer, factor in zip(weights, optimizers, (torch.inf, 1.0), strict=True):
        accelerator.backward(factor * weight.sum())
        optimizer.step()
    assert [optimizer.step_was_skipped for optimizer in optimizers] == [True, False]
    scheduler.step(1.0)
    assert scheduler.last_epoch == 1


@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_scheduler_that_is_prepared_is_told_that_it_gets_the_loss_of_the_last_micro_batch(
    accumulation: int, recwarn: pytest.WarningsRecorder
) -> None:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    optimizer = accelerator.prepare(torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1))
    accelerator.prepare(AutoWU(optimizer, 120))
    said = [str(each.message) for each in recwarn]
    assert len(said) == (accumulation > 1)
    assert all("of the 4 micro-batches of an update" in each for each in said)
    recwarn.clear()
    AcceleratedAutoWU(accelerator, AutoWU(optimizer, 120))
    assert not recwarn
