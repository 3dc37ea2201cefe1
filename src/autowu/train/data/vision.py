"""The image sets that torchvision downloads."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train.data.arrays import Images, from_arrays

CLASSES = {"fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def read(name: str, folder: Path) -> Images:
    """The set ``name``, kept in ``folder`` as torchvision keeps it; downloaded if it is not there.

    Raises:
        UserError: it is not there or damaged, and cannot be downloaded.
    """
    torchvision_shim.install()
    kind: Any = getattr(import_module("torchvision.datasets"), CLASSES[name])
    try:
        train, test = (kind(folder, train=part, download=True) for part in (True, False))
    except (
        OSError,
        RuntimeError,
        ValueError,
        AssertionError,
    ) as error:  # torchvision's, for damaged files too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"cannot read or download {name} ({reason}); put {_wanted(kind, folder)}, "
            "in place of what may be there"
        ) from error
    arrays = {
        f"{letter}_{part}": np.asarray(values)
        for part, split in (("train", train), ("test", test))
        for letter, values in (("x", split.data), ("y", split.targets))
    }
    try:
        return from_arrays(name, arrays)
    except ValueError as error:  # Fashion-MNIST's unpacked files have no check sums
        raise UserError(f"{name} in {folder} is damaged, remove it: {error}") from error


def _wanted(kind: Any, folder: Path) -> str:
    """Which files torchvision takes in place of a download."""
    if hasattr(kind, "url"):
        return f"{kind.filename}, from {kind.url}, into {folder}"
    files = ", ".join(name for name, _ in kind.resources)
    return f"{files}, from {kind.mirrors[0]}, into {folder / kind.__name__ / 'raw'}"
