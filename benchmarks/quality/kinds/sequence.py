"""Next characters of a text: by a recurrent network, with Muon, in batches of all shapes, in a long run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.quality.kinds import data
from benchmarks.quality.kinds.parts import GPT, LSTM, next_loss
from benchmarks.quality.kinds.task import Task


class Characters(Task):
    """A network that predicts the next character."""

    batch, context = 16, 48

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.text = data.text(folder / data.TEXT)
        self.model = self.network(len(self.text.characters))

    def network(self, characters: int) -> nn.Module:
        """By default a small GPT."""
        return GPT(characters, self.context)

    def pieces(self, count: int, length: int) -> Tensor:
        """From anywhere in the training part."""
        starts = self.draw(len(self.text.train) - length - 1, count)
        return data.windows(self.text.train, starts, length)

    def loss(self) -> Tensor:
        """Nats a character."""
        return next_loss(self.model, self.pieces(self.batch, self.context))

    def test(self, random: torch.Generator) -> float:
        """Minus the loss on the text's end."""
        return -next_loss(self.model, data.successive(self.text.test, self.context)).item()

    def trivial(self) -> float:
        """By the frequencies of characters."""
        return data.guess(self.text.test)


class Recurrent(Characters):
    """An LSTM with clipped gradients."""

    clip = 1.0
    """Their norm, at most."""

    def network(self, characters: int) -> nn.Module:
        """One layer."""
        return LSTM(characters, 96)

    def after_backward(self) -> None:
        """Clip their norm."""
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)


class WithMuon(Characters):
    """The GPT, by Muon for its hidden matrices and AdamW for the rest."""

    optimizer = "muon"

    def network(self, characters: int) -> nn.Module:
        """A smaller one: Muon's own arithmetic takes longer than the gradients."""
        return GPT(characters, self.context, width=48, blocks=1)


class MixedShapes(Characters):
    """Pieces of 4 to 64 characters, as many as make about 640: the loss depends on the length, too."""

    context, characters = 64, 640

    def loss(self) -> Tensor:
        """Of a batch of one length."""
        length = 4 + int(self.draw(61, 1))
        return next_loss(self.model, self.pieces(max(1, self.characters // length), length))


class FromThree(nn.Module):
    """An MLP that sees the three characters before."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, 16)
        self.hidden, self.head = nn.Linear(48, 64), nn.Linear(64, characters)

    def forward(self, codes: Tensor) -> Tensor:
        """[B, 3] to logits [B, 1, characters]."""
        return self.head(self.hidden(self.embed(codes).flatten(1)).relu())[:, None]


class LongCharacters(Characters):
    """So small a model that 100,000 updates take a minute."""

    batch, context = 32, 3

    def network(self, characters: int) -> nn.Module:
        """An MLP."""
        return FromThree(characters)

    def loss(self) -> Tensor:
        """Of the one character after three."""
        return _after_three(self.model, self.pieces(self.batch, 3))

    def test(self, random: torch.Generator) -> float:
        """Over the text's whole end."""
        codes = self.text.test
        return -_after_three(self.model, data.windows(codes, torch.arange(len(codes) - 4), 3)).item()


def _after_three(model: nn.Module, pieces: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(pieces[:, :3])[:, 0], pieces[:, 3])
