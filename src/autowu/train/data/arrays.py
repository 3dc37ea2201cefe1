"""Images in arrays: the set ``digits``, and files in Keras' layout."""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autowu.errors import UserError
from autowu.text import printable
from autowu.train.run.ranks import says

KEYS = ("x_train", "y_train", "x_test", "y_test")

_BEGINNINGS: Final = (b"PK", b"\x93NUMPY")  # of files .npz and .npy


class Split(NamedTuple):
    """Images and their labels."""

    images: Tensor
    """uint8, or else float32, of shape (images, channels, height, width)."""
    labels: Tensor
    """int64 of shape (images,), each in 0 … classes - 1."""

    def to(self, device: torch.device) -> Split:
        """The same on ``device``."""
        return Split(self.images.to(device), self.labels.to(device))


class Images(NamedTuple):
    """A data set for classification, on the CPU."""

    name: str
    train: Split
    test: Split
    classes: int


def digits() -> Images:
    """1,797 handwritten digits of 8 × 8 pixels, part of this package (see digits.LICENSE.txt)."""
    with resources.files("autowu.train").joinpath("digits.npz").open("rb") as file:
        return from_arrays("digits", _read(file))


def read(path: str) -> Images:
    """A file ``….npz`` in Keras' layout.

    It holds ``x_train`` and ``x_test``, images of shape (images, height, width) or (images, height, width,
    channels), and ``y_train`` and ``y_test``, labels 0, 1, … of shape (images,) or (images, 1).

    Raises:
        UserError: the file cannot be read, or an array is missing or unfit.
    """
    try:
        with open(path, "rb") as file:
            images = from_arrays(Path(path).stem, _read(file))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    except MemoryError as error:
        raise UserError(f"{path}: its arrays do not fit in memory") from error
    for doubt in _doubts(images) if says() else ():
        warnings.warn(f"{path}: {doubt}", stacklevel=2)
    return images


def _doubts(images: Images) -> Iterator[str]:
    """What to warn of: it can be trained on, and is hardly what was meant."""
    _, channels, height, width = images.train.images.shape
    if height in (1, 3, 4) and min(width, channels) > 4:
        yield (
            f"its images have {height} × {width} pixels and {channels} channels, for channels come last in"
            " Keras' layout; if they are first here, x.transpose(0, 2, 3, 1) puts them last"
        )
    train, test = (tuple(map(float, part.images.aminmax())) for part in (images.train, images.test))
    spans = train[1] - train[0], test[1] - test[0]
    if max(spans) > 10 * min(spans) > 0:
        yield (
            f"x_train goes from {train[0]:g} to {train[1]:g}, and x_test from {test[0]:g} to {test[1]:g}; has"
            " one of them been divided by 255, and the other not? The accuracy on x_test may mean nothing"
        )


def _read(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """The four arrays of an open file."""
    beginning = file.read(20)
    if beginning and not beginning.startswith(_BEGINNINGS):  # NumPy would take it for pickled objects
        raise ValueError(f"not an .npz file; it begins with {beginning!r}")
    file.seek(0)
    try:
        archive: Any = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("not an .npz file but a single array")
        missing = [key for key in KEYS if key not in archive]
        if missing:
            found = printable(", ".join(archive.files)) or "nothing"
            raise ValueError(f"no array {', '.join(missing)}; the file holds {found}")
        _check_sizes(archive)
        return {key: archive[key] for key in KEYS}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # RuntimeError: zipfile's word for what it cannot unpack (an encryption, a compression, a version).
        raise ValueError(f"not an .npz file ({error})") from error


def _check_sizes(archive: np.lib.npyio.NpzFile[Any]) -> None:
    """Compare what each array's header announces with what there is, before memory is taken for it.

    Raises:
        ValueError: naming the array.
    """
    for key in KEYS:
        if f"{key}.npy" not in archive.zip.namelist():
            raise ValueError(f"{key} is not an array")
        with archive.zip.open(f"{key}.npy") as member:
            shape, dtype = _header(member)
            there = archive.zip.getinfo(f"{key}.npy").file_size - member.tell()
        if dtype.hasobject:
            raise ValueError(f"{key} must be numbers, not Python objects")
        announced = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or announced != there:
            raise ValueError(
                f"{key} is damaged: {dtype} of shape {shape} takes {announced:,} bytes, but it has {there:,}"
            )


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and kind of the numbers of a file ``.npy`` that is open at its beginning."""
    form: Any = np.lib.format  # has no types
    first = form.read_magic(member) == (1, 0)
    shape, _, dtype = (form.read_array_header_1_0 if first else form.read_array_header_2_0)(member)
    return shape, dtype


def from_arrays(name: str, arrays: dict[str, NDArray[Any]]) -> Images:
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

    train, test = (Split(images[part], labels[part]) for part in ("train", "test"))
    return Images(name, train, test, classes)


def _images(key: str, array: NDArray[Any]) -> Tensor:
    """(n, height, width[, channels]) -> uint8 or float32 of shape (n, channels, height, width)."""
    if array.dtype.kind not in "uif" or array.ndim not in (3, 4) or array.size == 0:
        raise ValueError(
            f"{key} must be numbers of shape (images, height, width) or (images, height, width, channels), "
            f"not {array.dtype} of shape {array.shape}"
        )
    tensor = torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.float32))
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise ValueError(f"{key} must be finite float32 values, but holds NaN or infinity")
    return (tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)).contiguous()


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
