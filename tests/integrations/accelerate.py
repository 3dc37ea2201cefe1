"""The contract's driver for Accelerate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

from autowu import AutoWU
from autowu.integrations.accelerate import AcceleratedAutoWU
from integrations.contract.contract import Host, Job
from integrations.contract.learner import Learner


class Loop:
    """A training loop with prescribed losses; ``lrs`` are those that updates were made with."""

    def __init__(
        self, losses: Sequence[float], accelerator: Accelerator, updates: int | None, **settings: Any
    ) -> None:
        self.accelerator = accelerator
        # Each process holds its own losses, and Accelerate deals items out in turn.
        values = torch.tensor(losses, dtype=torch.float32).repeat_interleave(accelerator.num_processes)
        model = Learner()
        optimizer = torch.optim.AdamW(model.parameters(), fused=False)
        self.model, self.optimizer, self.batches = accelerator.prepare(
            model, optimizer, DataLoader(TensorDataset(values))
        )
        scheduler = AutoWU(self.optimizer, total_steps=updates, model=model, **settings)
        self.scheduler = AcceleratedAutoWU(accelerator, scheduler)
        self.lrs: list[float] = []
        optimizer.register_step_pre_hook(lambda *_: self.lrs.append(optimizer.param_groups[0]["lr"]))

    def run(
        self,
        skip: int = 0,
        *,
        before_update: Callable[[int], None] = lambda update: None,
        after_update: Callable[[int], bool | None] = lambda updates: None,
    ) -> list[float]:
        """Train on all but the first ``skip`` losses, until ``after_update`` (of updates done) is true."""
        updates = self.scheduler.last_epoch
        for (value,) in self.accelerator.skip_first_batches(self.batches, skip):
            with self.accelerator.accumulate(self.model):
                loss = self.model(value)["loss"]
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    before_update(updates)
                self.optimizer.step()
                self.scheduler.step(loss)
                self.optimizer.zero_grad()
            if self.accelerator.sync_gradients:
                updates += 1
                if after_update(updates):
                    break
        return self.lrs


class Accelerate(Host):
    name = "accelerate"
    exact = True
    processes = True

    def make(self, job: Job) -> list[float]:
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=job.accumulation)
        loop = Loop(job.losses, accelerator, job.total_steps, **job.settings)
        if job.resume:
            accelerator.load_state(job.folder)
        done = loop.scheduler.last_epoch * job.accumulation

        def after_update(updates: int) -> bool:
            job.ask(updates, loop.scheduler)
            return updates == job.stop_after

        lrs = loop.run(done, after_update=after_update)
        if job.stop_after:
            accelerator.save_state(job.folder)
        return lrs


HOSTS = [Accelerate()]
