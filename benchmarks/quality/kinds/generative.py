"""Models of images without classes: diffusion, VAE, autoencoder, contrastive learning."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.kinds import data
from benchmarks.quality.kinds.parts import mlp
from benchmarks.quality.kinds.task import Task


class Denoiser(nn.Module):
    """Noisy digits and their times in [0, 1] to the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp([64 + 16, 192, 192, 64], nn.SiLU)
        self.register_buffer("frequencies", torch.pi * torch.arange(1.0, 9.0))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[B, 64] and [B, 1]."""
        angles = time * self.frequencies
        return self.layers(torch.cat([x, angles.sin(), angles.cos()], 1))


class Diffusion(Task):
    """Tells the noise in digits (Ho et al., 2020), with a cosine for its share."""

    batch = 64

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        self.images = data.digits().standardised().flat()
        self.model = Denoiser()

    def left(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Mean square error of the noise that is told."""
        time = torch.rand(len(x), 1, generator=random)
        noise = torch.randn(x.shape, generator=random)
        angle = torch.pi / 2 * time
        return functional.mse_loss(self.model(angle.cos() * x + angle.sin() * noise, time), noise)

    def loss(self) -> Tensor:
        """With fresh noise."""
        return self.left(self.images.x[self.draw(len(self.images.x), self.batch)], self.random)

    def test(self, random: torch.Generator) -> float:
        """On digits not seen, ten times each."""
        return -self.left(self.images.test_x.repeat(10, 1), random).item()

    def trivial(self) -> float:
        """The variance of noise."""
        return -1.0


class VAE(Task):
    """Clothes as eight numbers with noise (Kingma and Welling, 2014); the bound in nats an image."""

    batch, codes = 64, 8

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.images = data.images(folder / data.FASHION, 10_000).scaled().flat()
        self.model = nn.ModuleList([mlp([196, 128, 2 * self.codes]), mlp([self.codes, 128, 196])])

    def bound(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Minus it."""
        encoder, decoder = self.model
        mean, log_variance = encoder(x).chunk(2, 1)
        noise = torch.randn(mean.shape, generator=random)
        logits = decoder(mean + (log_variance / 2).exp() * noise)
        told = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return (told + divergence) / len(x)

    def loss(self) -> Tensor:
        """With fresh noise."""
        return self.bound(self.images.x[self.draw(len(self.images.x), self.batch)], self.random)

    def test(self, random: torch.Generator) -> float:
        """On images not seen."""
        return -self.bound(self.images.test_x, random).item()

    def trivial(self) -> float:
        """The mean of every pixel."""
        x = self.images.test_x
        mean = self.images.x.mean(0).clamp(1e-6, 1 - 1e-6).expand_as(x)
        return -functional.binary_cross_entropy(mean, x, reduction="sum").item() / len(x)


class Autoencoder(Task):
    """Clothes through a bottleneck of eight numbers."""

    batch = 64

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.images = data.images(folder / data.FASHION, 10_000).standardised().flat()
        self.model = mlp([196, 96, 8, 96, 196], nn.Tanh)

    def loss(self) -> Tensor:
        """Mean square error."""
        x = self.images.x[self.draw(len(self.images.x), self.batch)]
        return functional.mse_loss(self.model(x), x)

    def test(self, random: torch.Generator) -> float:
        """On images not seen."""
        return -functional.mse_loss(self.model(self.images.test_x), self.images.test_x).item()

    def trivial(self) -> float:
        """The mean image."""
        return -(self.images.test_x - self.images.x.mean(0)).square().mean().item()


class InfoNCE(Task):
    """Which right half belongs to which left half (van den Oord et al., 2018), among 128."""

    batch, temperature = 128, 0.1

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        images = data.images(folder / data.FASHION, 20_000).standardised()
        self.halves = [half.flatten(1) for half in images.x.chunk(2, 3)]
        self.test_halves = [half.flatten(1) for half in images.test_x.chunk(2, 3)]
        self.model = nn.ModuleList([mlp([98, 128, 32]) for _ in range(2)])

    def contrast(self, left: Tensor, right: Tensor) -> Tensor:
        """Both ways."""
        first, second = (
            functional.normalize(network(half), dim=1)
            for network, half in zip(self.model, (left, right), strict=True)
        )
        logits = first @ second.T / self.temperature
        own = torch.arange(len(logits))
        return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2

    def loss(self) -> Tensor:
        """Among the batch."""
        rows = self.draw(len(self.halves[0]), self.batch)
        return self.contrast(*(half[rows] for half in self.halves))

    def test(self, random: torch.Generator) -> float:
        """Among as many images not seen."""
        batches = zip(*(half.split(self.batch) for half in self.test_halves), strict=True)
        losses = [self.contrast(*both).item() for both in batches if len(both[0]) == self.batch]
        return -sum(losses) / len(losses)

    def trivial(self) -> float:
        """All the same."""
        return -torch.tensor(float(self.batch)).log().item()
