"""Sets up a run, and trains."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim import Optimizer

from autowu.errors import UserError
from autowu.train import data as datasets
from autowu.train import models, optimizers, schedules
from autowu.train.data import Data, Split
from autowu.train.log import RunLog
from autowu.train.options import Settings
from autowu.train.progress import Progress
from autowu.train.schedules import Schedule


@dataclass(frozen=True)
class Epoch:
    """What is known at an epoch's end, as ``log.jsonl`` has it."""

    epoch: int
    """Counted from 1."""
    step: int
    """Updates done."""
    train_loss: float
    """Mean over the epoch's updates, label smoothing included."""
    test_loss: float
    """Mean cross-entropy, without label smoothing."""
    test_accuracy: float
    """A fraction."""
    lr: float
    """LR of the epoch's last update."""
    phase: str
    """Phase of the epoch's last update."""
    images_per_second: float
    """In training alone, without the evaluation."""


def train(settings: Settings) -> dict[str, Any]:
    """Train as ``settings`` say, write the run folder, print progress; returns the metrics of ``run.json``.

    The same settings give the same losses, bit for bit, on the same machine with the same versions.

    Raises:
        UserError: the data or the run folder cannot be used. Nothing has been written then.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    data = datasets.load(settings.data)
    steps_per_epoch = len(data.train) // settings.batch_size
    if steps_per_epoch == 0:
        raise UserError(
            f"--batch-size must be at most the number of training images, {len(data.train):,}, "
            f"not {settings.batch_size:,}"
        )
    model = models.build(settings.model, data.image_shape, data.classes, settings.norm)
    optimizer = optimizers.build(
        settings.optimizer,
        model,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        weight_decay_on=settings.weight_decay_on,
    )
    schedule, resolved = schedules.build(settings, optimizer, model, steps_per_epoch)

    progress = Progress(settings.epochs, resolved["decay"])
    with RunLog(settings.folder, settings, resolved) as log:
        progress.start(settings, data, model, steps_per_epoch)
        begin = time.perf_counter()
        last = fit(settings, data, model, optimizer, schedule, log, progress)
        seconds = time.perf_counter() - begin

        switch = schedule.switch
        metrics = {
            "test_accuracy": last.test_accuracy,
            "test_loss": last.test_loss,
            "train_loss": last.train_loss,
            "peak_lr": switch.peak_lr if switch else resolved.get("peak_lr"),
            "switch_step": switch.step if switch else None,
            "capped": switch.capped if switch else None,
            "t_star": switch.t_star if switch else None,
            "rewound_to": switch.rewound_to if switch else None,
            "seconds": seconds,
            "steps": last.step,
        }
        log.finish(metrics)
    progress.finish(metrics, settings.folder)
    return metrics


def fit(
    settings: Settings,
    data: Data,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
    log: RunLog,
    progress: Progress,
) -> Epoch:
    """The loop: all epochs, each with its evaluation; returns the last one's outcome."""
    order = torch.Generator().manual_seed(settings.seed)
    step, tests, switched = 0, 0, False
    lr, phase, outcome = 0.0, "", None
    for epoch in range(1, settings.epochs + 1):
        begin, first = time.perf_counter(), step
        model.train()
        for images, labels in datasets.epoch_batches(data.train, settings.batch_size, order):
            lr, phase = float(schedule.get_last_lr()[0]), schedule.phase
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), labels, label_smoothing=settings.label_smoothing)
            loss.backward()
            optimizer.step()
            loss = loss.detach()
            schedule.step(loss)

            step += 1
            log.step(step, epoch, loss, lr, phase)
            for verdict in schedule.verdicts[tests:]:
                log.test(verdict)
                tests += 1
            if schedule.switch and not switched:
                log.switch(schedule.switch)
                progress.switch(schedule.switch, schedule.verdicts)
                switched = True

        losses = log.flush()
        seconds = time.perf_counter() - begin
        test_loss, test_accuracy = evaluate(model, data.test)
        outcome = Epoch(
            epoch=epoch,
            step=step,
            train_loss=statistics.fmean(losses),
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            lr=lr,
            phase=phase,
            images_per_second=(step - first) * settings.batch_size / seconds,
        )
        log.epoch(asdict(outcome))
        progress.epoch(outcome, schedule.verdicts)
    assert outcome is not None  # Settings has at least one epoch
    return outcome


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split) -> tuple[float, float]:
    """Mean cross-entropy over ``split``, and the fraction of it that ``model`` classifies correctly."""
    model.eval()
    loss = torch.zeros(())
    correct = torch.zeros((), dtype=torch.int64)
    for first in range(0, len(split), 1024):
        images, labels = split.images[first : first + 1024], split.labels[first : first + 1024]
        logits = model(images)
        loss += functional.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return loss.item() / len(split), correct.item() / len(split)
