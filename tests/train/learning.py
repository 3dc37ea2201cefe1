"""Digits in a plain loop, for tests of schedules: the loop that a method is made for, without the trainer."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from importlib import resources
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autowu.train import models, schedules
from autowu.train.settings.options import Settings

BATCH_SIZE = 64
STEPS_PER_EPOCH = 1442 // BATCH_SIZE
TASK: Any = SimpleNamespace(kind="images", input_shape=(1, 8, 8), classes=10)
TEXT: Any = SimpleNamespace(kind="text", input_shape=(16,), classes=11)


class Batch(NamedTuple):
    inputs: Tensor
    targets: Tensor


class Digits:
    """A model that learns digits by a method, one update at a time."""

    def __init__(self, total_steps: int, *, epochs: bool = True, reduce: Any = None, **chosen: Any) -> None:
        self.settings = Settings(**{"model": "mlp", "batch_size": BATCH_SIZE} | chosen)
        torch.manual_seed(0)
        self.model = models.build(self.settings, TASK)
        self.method = schedules.build(
            self.settings,
            self.model,
            total_steps=total_steps,
            steps_per_epoch=STEPS_PER_EPOCH if epochs else None,
            **({} if reduce is None else {"reduce": reduce}),
        )
        self.done = 0
        self.own_loss: Any = lambda loss: loss  # as this process sees it

    def prepare(self) -> dict[str, Any]:
        return self.method.prepare(self.model, batches(0), functional.cross_entropy)

    def learn(self, updates: int) -> list[float]:
        """Train on; the losses."""
        losses = []
        self.model.train()
        self.method.train()
        for batch in itertools.islice(batches(self.done), updates):
            loss = functional.cross_entropy(self.model(batch.inputs), batch.targets)
            loss.backward()

            def again(batch: Batch = batch) -> Tensor:
                with torch.no_grad():
                    return self.own_loss(functional.cross_entropy(self.model(batch.inputs), batch.targets))

            self.method.before_step(self.own_loss(loss.detach()), again)
            self.method.optimizer.step()
            self.method.optimizer.zero_grad()
            self.method.schedule.step(self.own_loss(loss.detach()))
            losses.append(loss.item())
            self.done += 1
        return losses

    @torch.no_grad()
    def accuracy(self) -> float:
        """Of the test set."""
        images, labels = data()["test"]
        self.method.eval(batches(self.done))
        self.model.eval()
        correct = (self.model(images).argmax(1) == labels).double().mean().item()
        self.model.train()
        self.method.train()
        return correct

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.method.optimizer.state_dict(),
            "schedule": self.method.schedule.state_dict(),
            "method": self.method.state_dict(),
            "done": self.done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.method.optimizer.load_state_dict(state["optimizer"])
        self.method.schedule.load_state_dict(state["schedule"])
        self.method.load_state_dict(state["method"])
        self.done = state["done"]


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint gives back, by the loader that runs no code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_resumes(total_steps: int, stop: int, **chosen: Any) -> None:
    """A run that is saved, loaded into new objects and goes on is the undivided run, bit for bit."""
    whole = Digits(total_steps, **chosen)
    whole.prepare()
    whole.learn(stop)
    state = through_a_file(whole.state_dict())
    resumed = Digits(total_steps, **chosen)
    resumed.load_state_dict(state)
    assert equal(resumed.method.schedule.get_last_lr(), whole.method.schedule.get_last_lr())
    losses = whole.learn(total_steps - stop)
    assert resumed.learn(total_steps - stop) == losses
    assert resumed.accuracy() == whole.accuracy()
    assert equal(resumed.state_dict(), whole.state_dict())


def equal(a: Any, b: Any) -> bool:
    """Whether two nested states are the same, bit for bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def batches(first: int) -> Iterator[Batch]:
    """The batches of updates ``first``, ``first`` + 1, …."""
    images, labels = data()["train"]
    for step in itertools.count(first):
        epoch, part = divmod(step, STEPS_PER_EPOCH)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
        index = order[part * BATCH_SIZE : (part + 1) * BATCH_SIZE]
        yield Batch(images[index], labels[index])


def data() -> dict[str, tuple[Tensor, Tensor]]:
    """Standardised images and labels."""
    if not _data:
        with resources.files("autowu.train").joinpath("digits.npz").open("rb") as file:
            arrays = dict(np.load(file))
        for part in ("train", "test"):
            images = torch.from_numpy(arrays[f"x_{part}"].astype(np.float32)).unsqueeze(1)
            mean, deviation = arrays["x_train"].mean(), arrays["x_train"].std()
            labels = torch.from_numpy(arrays[f"y_{part}"].astype(np.int64)).flatten()
            _data[part] = ((images - mean) / deviation, labels)
    return _data


_data: dict[str, tuple[Tensor, Tensor]] = {}
