"""Averages in place of the losses are told by their bits; whatever losses look like, they are none."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from autowu.integrations.torch.averaged import FEW, Averages
from integrations.torch.training import digits, drive, mlp, scheduler, v_curve


def running(losses, epoch=10**9):
    """As loops do it for their progress bars, anew in each epoch."""
    given = []
    for at, loss in enumerate(losses):
        total = loss + (total if at % epoch else 0.0)  # noqa: F821
        given.append(total / (at % epoch + 1))
    return given


def smoothed(losses, factor, *, first=None, debiased=False):
    given, average = [], first
    for at, loss in enumerate(losses, 1):
        average = loss if average is None else factor * average + (1 - factor) * loss
        given.append(average / (1 - factor**at) if debiased else average)
    return given


def metered(losses, size=32):
    """As the AverageMeter of many scripts: sums over samples."""
    given, total = [], 0.0
    for at, loss in enumerate(losses, 1):
        total += loss * size
        given.append(total / (at * size))
    return given


AVERAGES = {
    "a running mean": (running, "the running mean"),
    "a running mean of epochs": (lambda losses: running(losses, 13), "the running mean"),
    "a running mean of short epochs": (lambda losses: running(losses, 5), "the running mean"),
    "an average meter": (metered, "the running mean"),
    "a mean by NumPy": (lambda losses: [np.mean(losses[: at + 1]) for at in range(len(losses))], "the runn"),
    "0.98": (lambda losses: smoothed(losses, 0.98), "the factor 0.98"),
    "0.99 from zero": (lambda losses: smoothed(losses, 0.99, first=0.0), "the factor 0.99"),
    "0.98 debiased": (lambda losses: smoothed(losses, 0.98, first=0.0, debiased=True), "the factor 0.98"),
    "0.9": (lambda losses: smoothed(losses, 0.9), "the factor 0.9"),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_in_place_of_the_loss_are_told_early_on_and_once(name, recwarn):
    average, told = AVERAGES[name]
    made = scheduler()
    drive(made, average(v_curve())[:100])
    messages = [str(each.message) for each in recwarn if "in place of the loss is" in str(each.message)]
    assert [told in message for message in messages] == [True]


def real_losses(kind):
    """Of digits: in batches, of a whole data set (which is smooth), of a regression without noise."""
    images, labels = digits()
    targets = images @ torch.linspace(-1, 1, 64)
    model = nn.Linear(64, 1) if kind == "regression" else mlp()
    optimizer, losses = SGD(model.parameters(), lr=0.01 if kind == "regression" else 0.1), list[float]()
    for step in range(200):
        part = torch.arange(32 * step, 32 * step + 32) % len(images) if kind == "batches" else slice(None)
        if kind == "regression":
            loss = (model(images)[:, 0] - targets).square().mean()
        else:
            loss = nn.functional.cross_entropy(model(images[part]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


LOSSES = {
    "as they are": lambda losses: losses,
    "in double precision": lambda losses: [1.1 * loss + 0.1 for loss in losses],
    "of three micro-batches": lambda losses: [sum(losses[at : at + 3]) / 3 for at in range(len(losses) - 2)],
    "of a part": lambda losses: [loss / 3 for loss in losses],
    "with a weighted second one": lambda losses: [
        a + 0.5 * b for a, b in zip(losses, losses[::-1], strict=True)
    ],
    "with a small second one": lambda losses: [
        a + 0.1 * b for a, b in zip(losses, losses[::-1], strict=True)
    ],
    "negative": lambda losses: [-loss / 7 for loss in losses],
    "that do not change": lambda losses: [losses[0] / 3] * 200,
    "zero": lambda losses: [0.0] * 200,
    "missing": lambda losses: [float("nan")] * 200,
    "huge": lambda losses: [1e300 * loss for loss in losses],
    "tiny": lambda losses: [1e-300 * loss for loss in losses],
}


@pytest.mark.parametrize("kind", ["batches", "a whole data set", "regression"])
def test_losses_are_no_averages_however_smooth_they_are(kind):
    losses = real_losses(kind)
    for name, change in LOSSES.items():
        for length in (1, 7, 200):
            averages, given = Averages(), np.array(change(losses))
            found = [averages.add(given[at : at + length]) for at in range(0, len(given), length)]
            assert found == [None] * len(found), name
    for average, _ in AVERAGES.values():
        averages = Averages()
        assert averages.add(np.array(average(losses))) is not None


def test_a_few_averages_are_not_told():
    losses = running([float(np.float32(0.1 * at)) for at in range(1, 100)])
    averages = Averages()
    assert averages.add(np.array(losses[:FEW])) is None
    assert averages.add(np.array(losses[FEW:])) == "the running mean of losses"
    assert averages.add(np.array(losses)) is None
