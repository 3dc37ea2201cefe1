"""The contract's driver for Accelerate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autowu import AutoWU
from autowu.integrations.accelerate import AcceleratedAutoWU


class Accelerate:
    name = "accelerate"
    exact = True
    processes = True

    def train(
        self,
        losses: Sequence[float],
        folder: Path,
        *,
        accumulation: int = 1,
        stop_after: int | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> list[float]:
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        # Each process holds its own losses, and Accelerate deals items out in turn.
        values = torch.tensor(losses, dtype=torch.float32).repeat_interleave(accelerator.num_processes)
        batches = DataLoader(TensorDataset(values))
        model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
        updates = len(losses) // accumulation
        scheduler = AcceleratedAutoWU(
            accelerator, AutoWU(optimizer, total_steps=updates, model=model, **settings)
        )
        done = 0
        if resume:
            accelerator.load_state(folder)
            done = scheduler.last_epoch
        lrs: list[float] = []
        for (value,) in accelerator.skip_first_batches(batches, done * accumulation):
            with accelerator.accumulate(model):
                pull = (model(torch.ones(1, 1)) - 1).square().mean()
                loss = value.mean() + (pull - pull.detach())
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    lrs.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step(loss)
                optimizer.zero_grad()
            if scheduler.last_epoch == stop_after:
                accelerator.save_state(folder)
                break
        return lrs


HOSTS = [Accelerate()]
