"""Training that begins with a plateau: copying, parity, a deep network without normalisation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.kinds import data
from benchmarks.quality.kinds.images import Classes
from benchmarks.quality.kinds.parts import GPT, mlp
from benchmarks.quality.kinds.task import Task, accuracy


class Copying(Task):
    """A small GPT sees a random word twice: the second time it can know every letter."""

    letters, length, batch = 16, 12, 32

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        self.model = GPT(self.letters, 2 * self.length - 1, width=48)

    def words(self, count: int, random: torch.Generator) -> Tensor:
        """Each twice over."""
        return torch.randint(self.letters, (count, self.length), generator=random).repeat(1, 2)

    def second(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and targets of the second time."""
        logits, start = self.model(words[:, :-1]), self.length - 1
        return logits[:, start:].flatten(0, 1), words[:, start + 1 :].flatten()

    def loss(self) -> Tensor:
        """Cross-entropy of the word's second time, its first letter among it."""
        return functional.cross_entropy(*self.second(self.words(self.batch, self.random)))

    def test(self, random: torch.Generator) -> float:
        """Letters told rightly."""
        return accuracy(*self.second(self.words(500, random)))

    def trivial(self) -> float:
        """Chance."""
        return 100 / self.letters


class Parity(Task):
    """Of three among 24 signs; nothing can be learnt from fewer than all three."""

    signs, of, batch, width = 24, 3, 64, 128

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        self.model = mlp([self.signs, self.width, 2])

    def examples(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Signs and the class of each row."""
        x = torch.randint(2, (count, self.signs), generator=random)
        return 2.0 * x - 1, x[:, : self.of].sum(1) % 2

    def loss(self) -> Tensor:
        """Of fresh examples."""
        x, y = self.examples(self.batch, self.random)
        return functional.cross_entropy(self.model(x), y)

    def test(self, random: torch.Generator) -> float:
        """On fresh examples."""
        x, y = self.examples(4_000, random)
        return accuracy(self.model(x), y)

    def trivial(self) -> float:
        """Chance."""
        return 50.0


class ParityBySGD(Parity):
    """The same by SGD: at the LRs that it takes, the loss rises by some per cent before it falls."""

    signs, optimizer, weight_decay = 20, "sgd", 0.0


class DeepTanh(Classes):
    """A deep network without normalisation, by SGD: gradients vanish at first, and explode later."""

    optimizer, weight_decay, batch = "sgd", 5e-4, 100
    layers, activation = 10, nn.Tanh

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        images = data.images(folder / data.FASHION, 10_000).standardised().flat()
        self.prepare(images, mlp([196, *[64] * self.layers, 10], self.activation))
