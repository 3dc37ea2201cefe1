"""Pre-trained networks on other data: a CNN, all of a GPT, and adapters alone.

The networks are trained once, and kept in the folder ``kinds`` of the data folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.quality.kinds import data
from benchmarks.quality.kinds.images import Classes
from benchmarks.quality.kinds.parts import GPT, LoRA
from benchmarks.quality.kinds.sequence import Characters

PRETRAINING_SEED = 0


def pretrained(path: Path, task: Callable[[], Classes | Characters], steps: int, peak_lr: float) -> nn.Module:
    """The network of a task after so many updates of AdamW, with 5% of warm-up and a linear decay."""
    made = task()
    if path.exists():
        made.model.load_state_dict(torch.load(path, weights_only=True))
        return made.model
    (optimizer,) = made.optimizers(peak_lr)
    warmup = steps // 20
    for step in range(steps):
        share = min((step + 1) / warmup, (steps - step) / (steps - warmup))
        optimizer.param_groups[0]["lr"] = peak_lr * share
        optimizer.zero_grad()
        made.loss().backward()
        optimizer.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    torch.save(made.model.state_dict(), unfinished)
    unfinished.replace(path)  # at once: another run may look for it
    return made.model


def _cnn(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, wider, pool in ((3, 16, True), (16, 32, True), (32, 64, False)):
        layers += [nn.Conv2d(channels, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, classes))


class Cifar10(Classes):
    """What the CNN is pre-trained on."""

    batch = 100

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.prepare(data.images(folder / data.CIFAR10, 30_000).standardised(), _cnn(10))


class FinetuneCNN(Classes):
    """All of a CNN that knows CIFAR-10, on 100 other classes, with a new last layer."""

    batch = 50

    def __init__(self, seed: int, folder: Path) -> None:
        model = pretrained(
            folder / "kinds" / "cnn.pt", lambda: Cifar10(PRETRAINING_SEED, folder), 1_500, 0.005
        )
        super().__init__(seed)
        model[-1] = nn.Linear(256, 100)  # pyright: ignore[reportIndexIssue]
        self.prepare(data.images(folder / data.CIFAR100, 10_000).standardised(), model)


class MoreImages(Cifar10):
    """The same CNN once more on what it knows: there is next to nothing to gain, and all of it to lose."""

    batch = 50

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.model = pretrained(
            folder / "kinds" / "cnn.pt", lambda: Cifar10(PRETRAINING_SEED, folder), 1_500, 0.005
        )
        self.known = self.score()

    def trivial(self) -> float:
        """Two points below what it was before: more is harm."""
        return self.known - 2


class Pretraining(Characters):
    """The GPT learns the first half of the text."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.text = self.text._replace(train=self.text.train[: len(self.text.train) // 2])


class Backwards(Characters):
    """All of a GPT that knows the text's first half learns the second one, read from its end."""

    def network(self, characters: int) -> nn.Module:
        """Set by :meth:`__init__`."""
        return GPT(characters, self.context)

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.model = _gpt(folder)
        half = self.text.train[len(self.text.train) // 2 :]
        self.text = self.text._replace(train=half.flip(0), test=self.text.test.flip(0))


class MoreText(Pretraining):
    """The same GPT once more on the text's first half."""

    units = 1.0
    """In which the weights are told: an LR of that share does what it did."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.model = _gpt(folder)
        self.known = self.score()

    def optimizers(self, lr: float) -> list[Optimizer]:
        """Its own, with updates in these units."""
        found = super().optimizers(lr)
        for optimizer in found:
            optimizer.register_step_pre_hook(self._larger)
            optimizer.register_step_post_hook(self._smaller)
        return found

    def _larger(self, optimizer: Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            group["lr"] /= self.units

    def _smaller(self, optimizer: Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            group["lr"] *= self.units

    def trivial(self) -> float:
        """A loss 3% above what it was before: more is harm."""
        return 1.03 * self.known


class Adapters(Characters):
    """LoRA of rank 8 on all linear layers of the same GPT, for the second half in another alphabet."""

    batch, rank, alpha = 16, 8, 16.0

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.model = _gpt(folder).requires_grad_(False)
        torch.manual_seed(seed)  # the adapters'
        for block in self.model.blocks:  # pyright: ignore[reportGeneralTypeIssues]
            for name in ("qkv", "project", "up", "down"):
                setattr(block, name, LoRA(getattr(block, name), self.rank, self.alpha))
        half, other = self.text.train[len(self.text.train) // 2 :], _alphabet(self.text.characters)
        self.text = self.text._replace(train=other[half], test=other[self.text.test])


def _gpt(folder: Path) -> nn.Module:
    return pretrained(
        folder / "kinds" / "gpt.pt", lambda: Pretraining(PRETRAINING_SEED, folder), 2_000, 0.005
    )


def _alphabet(characters: str) -> Tensor:
    """Small letters become capitals and the other way, each the next one in the alphabet."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    other = str.maketrans(letters + letters.upper(), letters[1:].upper() + "A" + letters[1:] + "a")
    return torch.tensor([characters.index(character.translate(other)) for character in characters])
