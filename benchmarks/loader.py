"""Training on the batches that the trainer's data give, against training on one fixed batch over and over.

The two differ in nothing but the loader: what it costs is the ratio less 1. The images are made here, of the
sizes of CIFAR-10 and of small photographs; the text is of random words. On a GPU (``python -m benchmarks.gpu
--loader``), and where workers decode, the time is what passes on the clock, and else CPU time as everywhere.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from autowu.train import models
from autowu.train.data import Batch, load
from autowu.train.settings.options import Settings
from benchmarks.timing import Row, Timing

SLOWER = 1.1
"""The bar: at most a tenth of the time goes to the data."""


@dataclass(frozen=True)
class Case:
    """One set of data and a model to train on it."""

    data: str
    model: str
    augment: str = "none"
    batch: int = 32
    on_gpu: int = 512
    """Batch size on a GPU."""
    settings: dict[str, Any] = field(default_factory=dict)
    quick: bool = True
    """Whether ``--quick`` runs it."""


CASES = (
    Case("digits", "cnn", batch=128),
    Case("colour.npz", "cnn", "crop-flip", batch=128),
    Case("colour.npz", "resnet18-cifar", "none", quick=False),
    Case("colour.npz", "resnet18-cifar", "crop-flip", quick=False),
    Case("colour.npz", "resnet18-cifar", "cifar"),
    Case("words.txt", "gpt", batch=16, on_gpu=128),
    Case("photos", "resnet50", "imagenet", batch=8, on_gpu=128),
    Case("photos", "resnet50", "deit", batch=8, on_gpu=128, quick=False),
)


def run(*, quick: bool) -> list[Row]:
    return list(rows(torch.device("cpu"), 3 if quick else 9, quick=quick))


def rows(device: torch.device, repetitions: int, *, quick: bool) -> Iterator[Row]:
    """One after the other, as they are measured."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        for case in CASES:
            if case.quick or not quick:
                yield row(case, Path(folder), device, repetitions)


def row(case: Case, folder: Path, device: torch.device, repetitions: int) -> Row:
    gpu = device.type == "cuda"
    settings = Settings(
        data=case.data if case.data == "digits" else str(folder / case.data),
        model=case.model,
        augment=case.augment,
        batch_size=case.on_gpu if gpu else case.batch,
        workers=8 if gpu else 1,
        **case.settings,
    )
    task = load(settings, device=device)
    torch.manual_seed(0)
    model = models.build(settings, task).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def train(batch: Batch) -> None:
        outputs, targets = model(batch.inputs), batch.targets
        if outputs.ndim == 3:
            outputs, targets = outputs.flatten(0, 1), targets.flatten()
        optimizer.zero_grad()
        functional.cross_entropy(outputs, targets).backward()
        optimizer.step()

    batches = (batch for update in task.updates(0, sys.maxsize) for batch in update)
    fixed = next(batches)
    fixed = Batch(fixed.inputs.clone(), fixed.targets.clone())
    count = 20 if gpu else {"cnn": 50}.get(case.model, 3)
    decoded = case.data == "photos"
    clock = _clock(device) if gpu or decoded else time.process_time
    ours, peer = _interleaved(lambda: train(next(batches)), lambda: train(fixed), count, repetitions, clock)
    task.close()
    what = f"{case.data}, {case.augment}, {case.model}, batch size {settings.batch_size}, {device.type}"
    note = f"wall clock, {settings.workers} workers" if decoded else "wall clock" if gpu else ""
    return Row(f"{what}; peer: one fixed batch", ours, peer, slower=SLOWER, note=note)


def _interleaved(
    ours: Callable[[], None],
    peer: Callable[[], None],
    count: int,
    repetitions: int,
    clock: Callable[[], float],
) -> tuple[Timing, Timing]:
    """Seconds of one call, each ``count`` times in turn; whatever slows the machine down slows both."""
    seconds: list[list[float]] = [[], []]
    for _ in range(3):
        ours()
        peer()
    for _ in range(repetitions):
        for call, spent in zip((ours, peer), seconds, strict=True):
            gc.collect()
            begin = clock()
            for _ in range(count):
                call()
            spent.append((clock() - begin) / count)
    return Timing(tuple(seconds[0])), Timing(tuple(seconds[1]))


def _clock(device: torch.device) -> Callable[[], float]:
    """The time that passes, once the device has done all that it was asked for."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def make(folder: Path) -> None:
    """Data of all kinds."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5000, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(5000) % 10
    np.savez(
        folder / "colour.npz",
        x_train=images,
        y_train=labels,
        x_test=images[:100],
        y_test=labels[:100],
    )
    words = rng.choice([f"word{index}" for index in range(500)], 50_000)
    (folder / "words.txt").write_text(" ".join(words), encoding="utf-8")
    for index, image in enumerate(_photographs(rng, 1040)):
        place = folder / "photos" / ("train" if index < 1024 else "val") / f"class{index % 4}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{index}.jpg", quality=90)


def _photographs(rng: np.random.Generator, count: int) -> Iterator[Image.Image]:
    """Images of ImageNet's usual size, with detail at two scales."""
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((500, 375))
        fine = Image.fromarray(rng.integers(0, 256, (94, 125, 3), dtype=np.uint8)).resize((500, 375))
        yield Image.blend(coarse, fine, 0.3)
