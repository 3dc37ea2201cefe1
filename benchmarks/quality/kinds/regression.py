"""Regression: without noise, by a differential equation, on raw targets, on ids."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.kinds.parts import mlp
from benchmarks.quality.kinds.task import Task, decibels


class Smooth(Task):
    """A smooth function of two variables, without noise: the loss falls through decades."""

    batch = 128

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        self.model = mlp([2, 48, 48, 1], nn.Tanh)

    def function(self, x: Tensor) -> Tensor:
        """Of variables in [-1, 1]."""
        return torch.sin(3 * x[:, 0]) * torch.cos(2 * x[:, 1]) + 0.5 * x[:, 0] * x[:, 1]

    def points(self, count: int, random: torch.Generator) -> Tensor:
        """In the square."""
        return 2 * torch.rand(count, 2, generator=random) - 1

    def loss(self) -> Tensor:
        """Mean square error at fresh points."""
        x = self.points(self.batch, self.random)
        return functional.mse_loss(self.model(x)[:, 0], self.function(x))

    def test(self, random: torch.Generator) -> float:
        """Below the function's variance."""
        x = self.points(4_000, random)
        y = self.function(x)
        return decibels(self.model(x)[:, 0] - y, y)

    def trivial(self) -> float:
        """The mean."""
        return 0.0


class LongRegression(Smooth):
    """With noise in the targets, from batches of 32, and a function that takes long to learn."""

    batch = 32

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.model = mlp([2, 48, 48, 1])

    def function(self, x: Tensor) -> Tensor:
        """Steeper."""
        return torch.sin(7 * x[:, 0] + 2 * x[:, 1]) + (5 * x[:, 1] * x[:, 0]).cos()

    def loss(self) -> Tensor:
        """Mean square error, to noisy targets."""
        x = self.points(self.batch, self.random)
        noise = 0.1 * torch.randn(self.batch, generator=self.random)
        return functional.mse_loss(self.model(x)[:, 0], self.function(x) + noise)


class Physics(Task):
    """u'' + 2 δ u' + ω² u = 0 with u(0) = 1, u'(0) = 0: a network that is told the equation alone."""

    batch, delta, omega = 64, 0.5, 5.0

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        self.model = mlp([1, 32, 32, 1], nn.Tanh)

    def loss(self) -> Tensor:
        """What is left of the equation at fresh points, and of the two conditions at 0."""
        t = torch.rand(self.batch, 1, generator=self.random)
        t[0] = 0.0  # the conditions' point
        t.requires_grad_()
        u = self.model(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
        left = (ddu + 2 * self.delta * du + self.omega**2 * u) / self.omega**2
        return left.square().mean() + 10 * (u[0, 0] - 1).square() + (du[0, 0] / self.omega).square()

    def test(self, random: torch.Generator) -> float:
        """Against the exact solution."""
        t = torch.linspace(0, 1, 500)
        omega = math.sqrt(self.omega**2 - self.delta**2)
        phase = omega * t
        exact = torch.exp(-self.delta * t) * (phase.cos() + self.delta / omega * phase.sin())
        return decibels(self.model(t[:, None])[:, 0] - exact, exact)

    def trivial(self) -> float:
        """The mean."""
        return 0.0


class Diabetes(Task):
    """How far diabetes goes on in a year: targets of 25 to 346 as they are, by plain SGD."""

    optimizer, weight_decay, batch, train = "sgd", 0.0, 16, 300

    def __init__(self, seed: int, _: Path) -> None:
        from sklearn.datasets import load_diabetes

        super().__init__(seed)
        x, y = (torch.tensor(array, dtype=torch.float32) for array in load_diabetes(return_X_y=True))
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        self.x, self.y = (x / x.std(0))[order], y[order]
        self.model = mlp([10, 32, 1])

    def loss(self) -> Tensor:
        """Mean square error."""
        rows = self.draw(self.train, self.batch)
        return functional.mse_loss(self.model(self.x[rows])[:, 0], self.y[rows])

    def test(self, random: torch.Generator) -> float:
        """Minus the root mean square error."""
        outputs = self.model(self.x[self.train :])[:, 0]
        return -(outputs - self.y[self.train :]).square().mean().sqrt().item()

    def trivial(self) -> float:
        """The mean."""
        return -self.y[self.train :].std(correction=0).item()


class Thousands(Task):
    """Targets in the thousands, as prices are, with SGD: gradients are as large."""

    optimizer, weight_decay, batch, train, scale = "sgd", 0.0, 32, 2_000, 100.0

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        fixed = torch.Generator().manual_seed(0)  # the same set for all seeds
        self.x = torch.randn(self.train + 1_000, 8, generator=fixed)
        linear, bent = (torch.randn(8, generator=fixed) / 8**0.5 for _ in range(2))
        noise = 0.1 * torch.randn(len(self.x), generator=fixed)
        self.y = self.scale * (20 + 3 * self.x @ linear + 2 * (2 * self.x @ bent).tanh() + noise)
        self.model = mlp([8, 32, 1])

    def loss(self) -> Tensor:
        """Mean square error."""
        rows = self.draw(self.train, self.batch)
        return functional.mse_loss(self.model(self.x[rows])[:, 0], self.y[rows])

    def test(self, random: torch.Generator) -> float:
        """Below the targets' variance."""
        y = self.y[self.train :]
        return decibels(self.model(self.x[self.train :])[:, 0] - y, y)

    def trivial(self) -> float:
        """The mean."""
        return 0.0


class Tiny(Thousands):
    """Targets of about 0.02: the network begins ten times too far out."""

    scale = 1e-3


class Factorisation(Task):
    """Ratings of items by users, both known by their ids alone, some of which are rare."""

    users, items, rank, batch, train = 600, 400, 4, 128, 20_000

    def __init__(self, seed: int, _: Path) -> None:
        super().__init__(seed)
        fixed = torch.Generator().manual_seed(0)
        count = self.train + 4_000
        self.ids = torch.stack(
            [(size * torch.rand(count, generator=fixed) ** 2).long() for size in (self.users, self.items)], 1
        )
        tastes, traits = (
            torch.randn(size, self.rank, generator=fixed) / self.rank**0.25
            for size in (self.users, self.items)
        )
        told = (tastes[self.ids[:, 0]] * traits[self.ids[:, 1]]).sum(1)
        self.ratings = 3 + told + 0.3 * torch.randn(count, generator=fixed)
        self.model = nn.ModuleList(
            [nn.Embedding(size, 8) for size in (self.users, self.items)]
            + [nn.Embedding(size, 1) for size in (self.users, self.items)]
        )
        for each in self.model:
            nn.init.normal_(each.weight, std=0.1)  # pyright: ignore[reportArgumentType]

    def predicted(self, ids: Tensor) -> Tensor:
        """Ratings."""
        user, item, user_bias, item_bias = self.model
        first, second = ids.unbind(1)
        return (user(first) * item(second)).sum(1) + user_bias(first)[:, 0] + item_bias(second)[:, 0]

    def loss(self) -> Tensor:
        """Mean square error."""
        rows = self.draw(self.train, self.batch)
        return functional.mse_loss(self.predicted(self.ids[rows]), self.ratings[rows])

    def test(self, random: torch.Generator) -> float:
        """Minus the root mean square error."""
        ids, ratings = self.ids[self.train :], self.ratings[self.train :]
        return -(self.predicted(ids) - ratings).square().mean().sqrt().item()

    def trivial(self) -> float:
        """The mean."""
        return -self.ratings[self.train :].std(correction=0).item()
