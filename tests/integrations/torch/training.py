"""What the scheduler's tests drive it with: loss curves, the core's answer to them, and real training."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

import autowu
from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import Decay
from integrations.contract.contract import core_lrs  # noqa: F401 (which the tests take from here)

STEPS = 240  # enough for a lift-off, a switch and a decay
PAPER = {"preset": "paper", "steps_per_epoch": 10}


def v_curve(steps: int = STEPS, *, seed: int = 0) -> list[float]:
    """A noisy loss that lifts off, falls, and rises again before the middle; float32 holds it exactly."""
    t = np.arange(steps) / steps
    trend = np.where(t < 0.25, 2.3 - 1.8 / (1 + np.exp(-25 * (t - 0.16))), 0.5 + 8 * (t - 0.25))
    noise = 0.02 * np.random.default_rng(seed).standard_normal(steps)
    return (trend + noise).astype(np.float32).astype(float).tolist()


def blown_up(steps: int = STEPS) -> list[float]:
    """A loss that falls, rises until warm-up ends, is low again, and rises once more in the decay.

    Twenty updates long, by which it is seen, and low at once after the weights have gone back.
    """
    config, noise = Config(total_steps=steps), 0.02 * np.random.default_rng(0).standard_normal(steps)
    state, losses = machine.start(config), list[float]()
    for step, rising in enumerate(v_curve(steps)):
        since = 0 if state.switch is None else step - state.switch.step
        up = isinstance(state.phase, Decay) and not state.phase.cuts and since >= 40
        loss = rising if state.switch is None else 2.0 if up else 0.5
        losses.append(round(4096 * (loss + float(noise[step]))) / 4096)  # sums of a few of them are exact
        state = machine.observe(config, state, np.array(losses[-1:]))
    assert isinstance(state.phase, Decay)
    assert len(state.phase.cuts) == 1
    return losses


def parameters(*sizes: int, dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    """Parameters with gradients, so that an optimizer can step."""
    made = [nn.Parameter(torch.linspace(-1, 1, size, dtype=dtype)) for size in sizes or (3,)]
    for parameter in made:
        parameter.grad = torch.full_like(parameter, 0.1)
    return made


def scheduler(total_steps: int | None = STEPS, lr: float = 1e-3, **settings: Any) -> autowu.AutoWU:
    """A scheduler of an AdamW over three numbers."""
    return autowu.AutoWU(AdamW(parameters(), lr=lr), total_steps, **settings)


def drive(scheduler: autowu.AutoWU, losses: Iterable[Any]) -> list[float]:
    """The LR of each update and of the one after."""
    lrs = [group_lrs(scheduler)[0]]
    for loss in losses:
        scheduler.step(loss)
        lrs.append(group_lrs(scheduler)[0])
    return lrs


def group_lrs(scheduler: autowu.AutoWU) -> list[float]:
    """The LRs that the optimizer will use."""
    return [float(group["lr"]) for group in scheduler.optimizer.param_groups]


# --- real training ------------------------------------------------------------------------------------


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Images [1797, 64] in [0, 1] and labels [1797]."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def mlp(width: int = 24) -> nn.Module:
    """A classifier of digits, with buffers; the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10))


class Training:
    """A run on digits: ``update()`` it, save it and load it.

    Batches depend on the step alone, so that a resumed run needs nothing but its checkpoint.
    """

    def __init__(
        self,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = AdamW,
        *,
        total_steps: int | None = STEPS,
        model: nn.Module | None = None,
        buffers: bool = True,
        **settings: Any,
    ) -> None:
        self.model = mlp() if model is None else model
        self.optimizer = optimizer(self.model.parameters())
        self.scheduler = autowu.AutoWU(
            self.optimizer, total_steps, model=self.model if buffers else None, **settings
        )

    def loss(self, step: int) -> Tensor:
        """The loss of the batch of ``step``."""
        images, labels = digits()
        batch = torch.randint(len(images), (32,), generator=torch.Generator().manual_seed(step))
        return nn.functional.cross_entropy(self.model(images[batch]), labels[batch])

    def update(self) -> Tensor:
        """One update of the weights, before the scheduler's step."""
        loss = self.loss(self.scheduler.last_epoch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self, until: int) -> list[float]:
        """The LRs of the updates up to step ``until``."""
        lrs = []
        while self.scheduler.last_epoch < until:
            lrs.append(group_lrs(self.scheduler)[0])
            self.scheduler.step(self.update())
        return lrs

    def state(self) -> dict[str, Any]:
        """A checkpoint, not copied."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> "Training":
        """Go on from a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        return self


def assert_equal(left: Any, right: Any, path: str = "") -> None:
    """That nested dicts (of whatever class), lists and tensors are equal, bit for bit."""
    assert type(left) is type(right) or (isinstance(left, dict) and isinstance(right, dict)), path
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            assert_equal(left[key], right[key], f"{path}/{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), path
        for index, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_equal(a, b, f"{path}/{index}")
    elif isinstance(left, Tensor):
        assert left.dtype == right.dtype, path
        assert left.shape == right.shape, path
        assert torch.equal(left.nan_to_num(), right.nan_to_num()), path
        assert torch.equal(left.isnan(), right.isnan()), path
    else:
        assert left == right or left != left, path
