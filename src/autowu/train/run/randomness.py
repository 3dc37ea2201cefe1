"""Random numbers as a function of what they are for, so that no generator's state has to be kept.

What an update sees (its samples, their augmentation, dropout) is drawn from a generator that is seeded by the
run's seed, a name for the purpose and a number such as the update's. A run that is resumed at any update, or
that is split over any number of processes, draws the same.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def seed_for(seed: int, purpose: str, *numbers: int) -> int:
    """A seed in [0, 2⁶³) for ``purpose`` at ``numbers`` (epoch, update, sample, …, each ≥ 0)."""
    key = [seed, zlib.crc32(purpose.encode()), *numbers]
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1  # NumPy 1 would not shift it


def generator(seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """A generator on the CPU for ``purpose`` at ``numbers``."""
    return torch.Generator().manual_seed(seed_for(seed, purpose, *numbers))


def seed_global(seed: int, device: torch.device) -> None:
    """PyTorch's global generators of the CPU and of ``device``, which dropout draws from.

    ``torch.manual_seed`` would also seed every kind of device that is not in use; it notes for each from
    where it was called, which takes longer than a small update's own work.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)
