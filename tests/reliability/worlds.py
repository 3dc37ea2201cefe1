"""What each rank does in the tests with several processes: many runs in one go, for starts are slow."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.distributed as dist
from torch.optim import SGD

import autowu
from reliability.curves import v_curve

STEPS = 120


def scheduler(group: dist.ProcessGroup | None = None, **settings: object) -> autowu.AutoWU:
    """A scheduler of three numbers."""
    parameter = torch.nn.Parameter(torch.ones(3))
    return autowu.AutoWU(SGD([parameter], lr=0.1), STEPS, process_group=group, **settings)


def losses_of(seed: int, ranks: int) -> np.ndarray:
    """[ranks, STEPS]: curves that differ from rank to rank; one rank sees NaN, a few losses are infinite.

    Multiples of 2^-20, so that their sums do not depend on the order in which they are added.
    """
    random = np.random.default_rng(seed)
    losses = np.stack([v_curve(STEPS, 1000 * seed + rank % 2) + rank / 8 for rank in range(ranks)])
    losses = np.round(losses * 2**20) / 2**20
    lost = random.integers(ranks)
    kind = seed % 4
    if kind == 0:
        losses[lost] = np.nan
    elif kind == 1:
        losses[lost, random.integers(STEPS) :] = np.nan
    elif kind == 2:
        losses[random.random(losses.shape) < 0.3] = np.inf
    else:
        losses[:, random.integers(STEPS, size=5)] = np.nan
        losses[lost] *= 2  # one decides alone quite otherwise
    return losses


def mean_of(losses: np.ndarray) -> np.ndarray:
    """The mean over the ranks' finite losses [STEPS]; NaN where there is none."""
    finite = np.isfinite(losses)
    count = finite.sum(0)
    return np.where(count, np.where(finite, losses, 0).sum(0) / np.maximum(count, 1), np.nan)


def traces(rank: int, first: int, count: int) -> list[list[float]]:
    """The LRs of this rank in the runs ``first`` to ``first + count``."""
    size, found = dist.get_world_size(), []
    for seed in range(first, first + count):
        made = scheduler()
        lrs = made.get_last_lr()
        for loss in losses_of(seed, size)[rank].tolist():
            made.step(loss if seed % 2 else torch.tensor(loss, dtype=torch.float64))
            lrs += made.get_last_lr()
        found.append(lrs)
    return found


def resized(rank: int, first: int, count: int, sizes: list[tuple[int, int]]) -> list[list[float]]:
    """Runs that begin with so many ranks, share their losses at some step, and end with so many others."""
    groups = {size: dist.new_group(list(range(size))) for size in {n for pair in sizes for n in pair}}
    found = []
    for seed in range(first, first + count):
        before, after = sizes[seed % len(sizes)]
        random = np.random.default_rng(seed)
        stop = int(random.integers(1, STEPS))
        lrs, message = [], [None]
        if rank < before:
            made = scheduler(groups[before], test_growth=1.5)
            for loss in losses_of(seed, before)[rank, :stop].tolist():
                lrs += made.get_last_lr()
                made.step(loss)
            made.share_losses()
            message = [copy.deepcopy(made.state_dict())]
        dist.broadcast_object_list(message, src=0)
        if rank < after:
            made = scheduler(groups[after], test_growth=1.5)
            made.load_state_dict(message[0])
            for loss in losses_of(seed + 10**6, after)[rank, stop:].tolist():
                lrs += made.get_last_lr()
                made.step(loss)
            lrs += made.get_last_lr()
        found.append(lrs)
    return found
