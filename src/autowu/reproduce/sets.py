"""Where the data of a scale are, and the small sets, which are made of larger ones."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from autowu.errors import UserError

BUILT_IN: Final = ("digits",)
OF_TORCHVISION: Final = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "fashion-mnist": "FashionMNIST",
}
"""The folder in which torchvision keeps a set."""

SOURCE: Final = "fashion-mnist"
SMALL: Final = {"mini-3125": 3_125, "mini-5000": 5_000}
"""Training images of the small sets; they keep all test images, and a mean of 2 × 2 pixels for each."""


def missing(names: Iterable[str], folder: Path | None) -> str | None:
    """What ``folder`` lacks of the sets ``names``, in words; None if it has them all."""
    for name in dict.fromkeys(SOURCE if name in SMALL else name for name in names):
        if name not in BUILT_IN and (folder is None or find(name, folder) is None):
            return f"{name}: {_wanted(name)}"
    return None


def find(name: str, folder: Path) -> str | None:
    """What ``--data`` of the trainer is for the set ``name``; None if ``folder`` does not have it."""
    if name in BUILT_IN:
        return name
    archive, kept = folder / f"{name}.npz", folder / OF_TORCHVISION.get(name, name)
    if archive.is_file():
        return str(archive)
    if name in OF_TORCHVISION:
        return name if kept.is_dir() else None
    return str(kept) if all((kept / part).is_dir() for part in ("train", "val")) else None


def ready(name: str, folder: Path | None, made: Path) -> str:
    """The same, for a set that :func:`missing` has found; small ones are written to ``made`` if need be.

    Raises:
        UserError: the set cannot be read.
    """
    if name in BUILT_IN:
        return name
    assert folder is not None
    if name not in SMALL:
        found = find(name, folder)
        assert found is not None
        return found
    path = made / f"{name}.npz"
    if not path.exists():
        _make(path, SMALL[name], folder)
    return str(path)


def _make(path: Path, count: int, folder: Path) -> None:
    """Write the first ``count`` images of a fixed permutation, at half the resolution."""
    import numpy as np

    from autowu.train.data import arrays, vision

    archive = folder / f"{SOURCE}.npz"
    images = arrays.read(str(archive)) if archive.is_file() else vision.read(SOURCE, folder)
    order = np.random.default_rng(0).permutation(len(images.train.labels))[:count]
    chosen = np.sort(order)
    parts: dict[str, Any] = {}
    for part, of, rows in (("train", images.train, chosen), ("test", images.test, slice(None))):
        pixels = of.images.numpy()[rows, 0].astype(np.float32)
        if pixels.shape[1:] != (28, 28) or (part == "train" and len(pixels) < count):
            raise UserError(f"{SOURCE} in {folder} must have {count:,} images of 28 × 28 pixels or more")
        halved = pixels.reshape(len(pixels), 14, 2, 14, 2).mean((2, 4))
        parts |= {f"x_{part}": halved.round().astype(np.uint8), f"y_{part}": of.labels.numpy()[rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        np.savez(file, **parts)
    os.replace(draft, path)


def _wanted(name: str) -> str:
    if name in OF_TORCHVISION:
        return f"{name}.npz in Keras' layout, or torchvision's folder {OF_TORCHVISION[name]}"
    return f"a folder {name} with train/ and val/, a folder of images for each class in each"
