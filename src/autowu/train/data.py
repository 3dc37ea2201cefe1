"""Image data sets in memory, and the batches of an epoch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autowu.errors import UserError

KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Split:
    """Images and their labels."""

    images: Tensor
    """float32 of shape (images, channels, height, width), standardised by the training images."""
    labels: Tensor
    """int64 of shape (images,), each in 0 … classes - 1."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """A data set for classification."""

    name: str
    train: Split
    test: Split
    classes: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def epoch_batches(
    split: Split, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of ``⌊n / batch_size⌋`` batches, in an order drawn from ``generator``.

    The n mod batch_size images left over sit this epoch out: every update then has the same batch size, so
    that the losses of all updates have the same noise and one LR means the same throughout.
    """
    order = torch.randperm(len(split), generator=generator)
    for index in order[: len(split) - len(split) % batch_size].view(-1, batch_size):
        yield split.images[index], split.labels[index]


def load(name: str) -> Data:
    """The data set ``digits``, or one read from a file ``….npz`` in Keras' layout.

    ``digits`` is part of this package: 1,797 handwritten digits of 8 × 8 pixels (see digits.LICENSE.txt).
    A file holds ``x_train`` and ``x_test``, images of shape (images, height, width) or (images, height,
    width, channels), and ``y_train`` and ``y_test``, labels 0, 1, … of shape (images,) or (images, 1).

    Raises:
        UserError: there is no such data set or file, or an array is missing or unfit.
    """
    if name == "digits":
        with resources.files("autowu.train").joinpath("digits.npz").open("rb") as file:
            return _from_arrays(name, _read(file))
    if not name.endswith(".npz"):
        raise UserError(f"--data must be 'digits' or a FILE.npz in Keras' layout, not {name!r}")
    try:
        with open(name, "rb") as file:
            return _from_arrays(Path(name).stem, _read(file))
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def _read(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """The four arrays of an open file."""
    try:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("not an .npz file but a single array")
        missing = [key for key in KEYS if key not in archive]
        if missing:
            found = ", ".join(archive.files) or "nothing"
            raise ValueError(f"no array {', '.join(missing)}; the file holds {found}")
        return {key: archive[key] for key in KEYS}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"not an .npz file ({error})") from error


def _from_arrays(name: str, arrays: dict[str, NDArray[Any]]) -> Data:
    """Check the arrays of a file in Keras' layout, and make tensors of them.

    Raises:
        ValueError: naming the array, what it must be and what it is.
    """
    labels = {part: _labels(f"y_{part}", arrays[f"y_{part}"]) for part in ("train", "test")}
    images = {part: _images(f"x_{part}", arrays[f"x_{part}"]) for part in ("train", "test")}
    for part in ("train", "test"):
        if len(images[part]) != len(labels[part]):
            raise ValueError(
                f"x_{part} has {len(images[part]):,} images but y_{part} has {len(labels[part]):,} labels"
            )
    if images["test"].shape[1:] != images["train"].shape[1:]:
        shapes = [tuple(images[part].shape[1:]) for part in ("test", "train")]
        raise ValueError(
            f"x_test must have images like x_train's, {shapes[1]} (channels, height, width), not {shapes[0]}"
        )
    classes = int(labels["train"].max()) + 1
    if not 2 <= classes <= len(labels["train"]):
        raise ValueError(f"y_train must hold labels 0, 1, … of two classes or more, not 0 to {classes - 1:,}")
    if int(labels["test"].max()) >= classes:
        highest = int(labels["test"].max())
        raise ValueError(f"y_test must hold labels that y_train has, 0 to {classes - 1}, not {highest:,}")

    mean = images["train"].mean((0, 2, 3), keepdim=True)
    deviation = images["train"].std((0, 2, 3), keepdim=True).clamp_min(1e-8)  # a blank channel stays blank
    splits = {part: Split((images[part] - mean) / deviation, labels[part]) for part in ("train", "test")}
    return Data(name, splits["train"], splits["test"], classes)


def _images(key: str, array: NDArray[Any]) -> Tensor:
    """(n, height, width) or (n, height, width, channels) -> float32 of (n, channels, height, width)."""
    if array.dtype.kind not in "uif" or array.ndim not in (3, 4) or array.size == 0:
        raise ValueError(
            f"{key} must be numbers of shape (images, height, width) or (images, height, width, channels), "
            f"not {array.dtype} of shape {array.shape}"
        )
    tensor = torch.from_numpy(array.astype(np.float32))
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{key} must be finite float32 values, but holds NaN or infinity")
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def _labels(key: str, array: NDArray[Any]) -> Tensor:
    """(n,) or (n, 1) of integers ≥ 0 -> int64 of (n,)."""
    if array.dtype.kind not in "ui" or array.size == 0 or array.shape not in ((array.size,), (array.size, 1)):
        raise ValueError(
            f"{key} must be integers of shape (images,) or (images, 1), "
            f"not {array.dtype} of shape {array.shape}"
        )
    if array.min() < 0:
        raise ValueError(f"{key} must hold labels ≥ 0, not {array.min()}")
    return torch.from_numpy(array.astype(np.int64).reshape(-1))
