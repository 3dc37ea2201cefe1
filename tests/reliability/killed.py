"""A training loop as a user writes it, that checkpoints, and that something kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

import autowu
from autowu.controller import ending

STEPS = 120
EVERY = 5  # updates from one checkpoint to the next


class Loop:
    """A small classifier of noise; what a batch holds follows from the step alone."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(512, 16, generator=generator)
        self.labels = (self.inputs @ torch.randn(16, 4, generator=generator)).argmax(1)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(16, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 4))
        self.optimizer = AdamW(self.model.parameters())
        self.scheduler = autowu.AutoWU(self.optimizer, STEPS, model=self.model)
        self.lrs: list[float] = []

    def update(self) -> Tensor:
        """One update, and its loss."""
        step = self.scheduler.last_epoch
        batch = torch.randint(512, (32,), generator=torch.Generator().manual_seed(step))
        loss = nn.functional.cross_entropy(self.model(self.inputs[batch]), self.labels[batch])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.lrs.append(self.optimizer.param_groups[0]["lr"])
        return loss

    def state(self) -> dict[str, Any]:
        """All that the loop needs to go on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "lrs": self.lrs,
        }

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        partial = path.with_suffix(".partial")
        torch.save(self.state(), partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from :meth:`save`."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.lrs = state["lrs"]


def train(folder: Path, killed_in: str | None = None, at: int = 0) -> None:
    """Train to the end, from the checkpoint in ``folder`` if there is one.

    Args:
        folder: of the checkpoint, and of the state at the end.
        killed_in: 'test', 'save' or 'rename': this process kills itself in its ``at``-th, from 0.
    """
    torch.set_num_threads(1)
    kill_in(killed_in, at)
    loop, checkpoint = Loop(), folder / "checkpoint.pt"
    if checkpoint.exists():
        loop.load(checkpoint)
    (folder / "started").touch()
    while loop.scheduler.last_epoch < STEPS:
        loop.scheduler.step(loop.update())
        if loop.scheduler.last_epoch % EVERY == 0:
            loop.save(checkpoint)
    loop.save(folder / "end.pt")


def kill_in(place: str | None, at: int) -> None:
    """Have SIGKILL come from within the library's test, the writing of a file, or around its renaming."""
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls > at

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "test":
        eigh = np.linalg.eigh
        np.linalg.eigh = lambda *arguments: kill() if due() else eigh(*arguments)  # type: ignore[assignment]
        detect = ending.detect
        ending.detect = lambda *arguments: kill() if due() else detect(*arguments)  # type: ignore
    elif place == "save":
        save = torch.save

        def half(state: Any, file: Any) -> None:
            save(state, file)
            if due():
                path = file if isinstance(file, Path) else file.name
                os.truncate(path, os.path.getsize(path) // 2)
                kill()

        torch.save = half
    elif place == "rename":
        replace = os.replace

        def renamed(old: Path, new: Path) -> None:
            if due():
                if at % 2:
                    replace(old, new)
                kill()
            replace(old, new)

        os.replace = renamed  # type: ignore[assignment]
