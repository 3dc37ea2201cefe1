"""The trainer's loop against a loop written by hand, and AutoWU's share of the time that training takes.

Both loops train the same CNN on the same images of CIFAR-10's size (made here) with AdamW: one with what the
trainer does beside (micro-batches, log, signals, progress), the other with nothing but PyTorch and a cosine.
"""

from __future__ import annotations

import gc
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR

import autowu
from autowu.train import models
from autowu.train.data import load
from autowu.train.run import engine, loop
from autowu.train.run.processes import fabric_for
from autowu.train.settings.options import Settings
from benchmarks.curves import falling
from benchmarks.timing import Row, Timing

BATCH = 128
UPDATE = 10e-3  # seconds: the update that AutoWU's share is held against


def run(*, quick: bool) -> list[Row]:
    updates, repetitions = (20, 3) if quick else (100, 15)
    with tempfile.TemporaryDirectory() as folder:
        data = images(Path(folder))
        loops = compared(Path(folder), data, updates, repetitions)
    return [*loops, share(12_000), *([] if quick else [share(120_000)])]


def images(folder: Path) -> str:
    """A data set of noise; its file."""
    random, path = np.random.default_rng(0), folder / "noise.npz"
    train, test = (random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for n in (BATCH * 20, BATCH))
    labels = [random.integers(0, 10, len(part)) for part in (train, test)]
    np.savez(path, x_train=train, y_train=labels[0], x_test=test, y_test=labels[1])
    return str(path)


def compared(folder: Path, data: str, updates: int, repetitions: int) -> list[Row]:
    """The two loops in turn."""
    ours: list[float] = []
    bare: list[float] = []
    for repetition in range(repetitions + 1):  # the first warms up
        settings = Settings(
            data=data,
            model="cnn",
            optimizer="adamw",
            schedule="constant",  # AutoWU's own time is measured below
            batch_size=BATCH,
            steps=updates,
            out=str(folder / str(repetition)),
        )
        times = (by_the_trainer(settings), by_hand(settings))
        if repetition:
            ours.append(times[0] / updates)
            bare.append(times[1] / updates)
    return [
        Row(
            "an update by the trainer, cnn, batch 128; peer: a loop by hand",
            Timing(tuple(ours)),
            Timing(tuple(bare)),
            slower=1 / 0.97,
            note="0.97 of its throughput, at least",
        )
    ]


def by_the_trainer(settings: Settings) -> float:
    """CPU seconds of all updates, without the evaluations."""
    with redirect_stdout(StringIO()):
        run = engine.set_up(settings, fabric_for(settings), resume=False)
        spent, evaluate = 0.0, loop.report

        def timed(*arguments: Any) -> None:
            nonlocal spent
            begin = time.process_time()
            evaluate(*arguments)
            spent += time.process_time() - begin

        loop.report = timed
        gc.collect()
        try:
            begin = time.process_time()
            loop.fit(run)
            seconds = time.process_time() - begin - spent
        finally:
            loop.report = evaluate
            run.task.close()
            run.log.close()
    return seconds


def by_hand(settings: Settings) -> float:
    """CPU seconds of as many updates on the same images."""
    torch.manual_seed(0)
    task = load(settings)
    with np.load(settings.data) as arrays:
        images = torch.from_numpy(arrays["x_train"]).permute(0, 3, 1, 2).contiguous()
        labels = torch.from_numpy(arrays["y_train"])
    mean = images.float().mean((0, 2, 3), keepdim=True)
    deviation = images.float().std((0, 2, 3), keepdim=True)
    model = models.build(settings, task)
    optimizer = torch.optim.AdamW(model.parameters())
    assert settings.steps is not None
    scheduler = CosineAnnealingLR(optimizer, settings.steps)
    gc.collect()
    begin, done = time.process_time(), 0
    while done < settings.steps:
        for index in torch.randperm(len(images)).split(BATCH):
            inputs = (images[index].float() - mean) / deviation
            loss = functional.cross_entropy(model(inputs), labels[index], label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            done += 1
            if done == settings.steps:
                break
    return time.process_time() - begin


def share(total_steps: int) -> Row:
    """AutoWU's time in a whole run, per update, held against an update of 10 ms."""
    losses = torch.tensor(falling(total_steps), dtype=torch.float32).unbind()
    model = torch.nn.Linear(2, 2)
    seconds: list[float] = []
    for _ in range(3):
        scheduler = autowu.AutoWU(torch.optim.AdamW(model.parameters()), total_steps=total_steps)
        gc.collect()
        begin = time.process_time()
        for loss in losses:
            scheduler.step(loss)
        seconds.append((time.process_time() - begin) / total_steps)
        assert scheduler.phase == "decay"
    return Row(
        f"AutoWU in a whole run of {total_steps:,} updates, for each; bar: 0.1% of an update of 10 ms",
        Timing(tuple(seconds)),
        limit=1e-3 * UPDATE,
    )
