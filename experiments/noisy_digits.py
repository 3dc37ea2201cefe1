"""Short runs whose loss neither falls nor rises plainly by the cap: what LR should the decay begin with?

    python -m experiments.noisy_digits OUT.jsonl [--rule middle] [--processes 2]

Small MLPs on the embedded digits, with batches of 2, 8 and 64, half of the labels random or none, 80 to 600
updates. ``--rule middle`` is the one of before: √(η_min η_max) in place of a tenth of η_max.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

import autowu
from autowu.config import Config
from autowu.controller import ending
from autowu.controller.ending import fallback
from autowu.integrations import torchvision_shim

torchvision_shim.install()
from timm.optim.lamb import Lamb  # noqa: E402 (timm imports torchvision)

STEPS, NETS, BATCHES, NOISE, SEEDS = (
    (80, 160, 300, 600),
    ("none", "layer", "batch"),
    (2, 8, 64),
    (0.0, 0.5),
    4,
)
OPTIMIZERS: dict[str, Any] = {
    "adamw": torch.optim.AdamW,
    "lamb": Lamb,
    "sgd": torch.optim.SGD,
    "sgd, momentum 0.9": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
}


@dataclass(frozen=True)
class Job:
    """One run."""

    norm: str
    optimizer: str
    batch_size: int
    steps: int
    random_labels: float
    seed: int


def jobs() -> Iterator[Job]:
    """All of them."""
    for steps, norm, name, size, noise, seed in product(
        STEPS, NETS, OPTIMIZERS, BATCHES, NOISE, range(SEEDS)
    ):
        yield Job(norm, name, size, steps, noise, seed)


@cache
def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Images [n, 64] in [0, 1], labels [n]."""
    with np.load(str(files("autowu.train") / "digits.npz")) as file:
        images, labels = file["x_train"], file["y_train"]
    return torch.tensor(images.reshape(len(images), -1) / images.max()).float(), torch.tensor(labels).long()


def middle(config: Config, **known: float | None) -> float:
    """The rule of before."""
    peak_lr = fallback(config, **known)
    if known.get("good") is None and known.get("too_large") is None:
        peak_lr = min(peak_lr, math.sqrt(config.min_lr * config.high_lr))
    return peak_lr


def run(job: Job, rule: str) -> dict[str, Any]:
    """Train, and the loss of the whole training set afterwards."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    random = torch.Generator().manual_seed(job.seed)
    images, labels = data()
    wrong = torch.rand(len(labels), generator=random) < job.random_labels
    noisy = torch.where(wrong, torch.randint(0, 10, (len(labels),), generator=random), labels)

    def hidden(width: int) -> list[nn.Module]:
        norms: dict[str, list[nn.Module]] = {
            "none": [],
            "layer": [nn.LayerNorm(128)],
            "batch": [nn.BatchNorm1d(128)],
        }
        return [nn.Linear(width, 128), *norms[job.norm], nn.ReLU()]

    model = nn.Sequential(*hidden(64), *hidden(128), nn.Linear(128, 10))
    optimizer = OPTIMIZERS[job.optimizer](model.parameters(), lr=1e-3)
    scheduler = autowu.AutoWU(optimizer, total_steps=job.steps, model=model)
    with mock.patch.object(ending, "fallback", middle if rule == "middle" else fallback):
        for _ in range(job.steps):
            batch = torch.randint(0, len(images), (job.batch_size,), generator=random)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), noisy[batch])
            loss.backward()
            optimizer.step()
            scheduler.step(loss)
    model.eval()
    with torch.no_grad():
        final = float(nn.functional.cross_entropy(model(images), noisy))
    switch = scheduler.switch
    assert switch is not None
    return asdict(job) | {"rule": rule, "peak_lr": switch.peak_lr, "loss": round(final, 4)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rule", choices=["tenth", "middle"], default="tenth")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    todo = list(jobs())
    with ProcessPoolExecutor(options.processes) as pool, options.out.open("a") as out:
        for record in pool.map(run, todo, [options.rule] * len(todo), chunksize=8):
            out.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
