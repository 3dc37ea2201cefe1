"""Which images a folder holds, in the layout of torchvision's ``ImageFolder``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autowu.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's


class Listing(NamedTuple):
    """The images of one part of a data set, class after class."""

    classes: tuple[str, ...]
    paths: NDArray[np.bytes_]
    labels: NDArray[np.int64]
    inventory: bytes
    """Each image's path within the data set and its size."""


def read(root: Path) -> tuple[Listing, Listing]:
    """The listings of ``root/train`` and of ``root/val``.

    Raises:
        UserError: a class is empty, or the classes are not the same two or more.
    """
    train, test = (_list(root, part) for part in ("train", "val"))
    if len(train.classes) < 2:
        raise UserError(
            f"{root / 'train'} must hold folders of two classes or more, not {len(train.classes)}"
        )
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(
            f"{root} must have the same classes in train and val, "
            f"but only one of them has {', '.join(odd[:5])}{', …' if len(odd) > 5 else ''}"
        )
    return train, test


def _list(root: Path, part: str) -> Listing:
    try:
        classes = sorted(entry.name for entry in os.scandir(root / part) if _is_class(entry))
        found = [_images(root / part / name) for name in classes]
        files = [file for images in found for file in images]
        lines = (f"{os.path.relpath(file, root)}\0{os.stat(file).st_size}\n" for file in files)
        inventory = os.fsencode("".join(lines))
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
    for name, images in zip(classes, found, strict=True):
        if not images:
            raise UserError(f"{root / part / name} has no images ({', '.join(SUFFIXES)})")
    labels = np.repeat(np.arange(len(classes)), [len(images) for images in found])
    return Listing(tuple(classes), np.array([os.fsencode(file) for file in files]), labels, inventory)


def _is_class(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _images(folder: Path) -> list[str]:
    """The paths of all images below ``folder``, in an order that every machine has."""
    return sorted(
        os.path.join(where, name)
        for where, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )
