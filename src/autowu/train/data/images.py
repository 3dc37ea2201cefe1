"""What a worker does: read an image file, and transform the image, with random numbers of its own."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from autowu.integrations import torchvision_shim
from autowu.train.run.randomness import seed_for
from autowu.train.settings.options import Augment

Transform = Callable[[Image.Image], Tensor]

_DEEP: Final = ("I", "F")  # of one channel, with 16 or 32 bits a pixel
_CLIPPED: Final = "its pixels have more than 8 bits, and all above 255 would be white; scale them to 8 bits"


class Key(NamedTuple):
    """Which image, and what its random numbers are for."""

    image: int
    epoch: int = 0
    copy: int = 0
    """Of the image, within the epoch: 0, or with repeated augmentation 0, 1, 2."""


class Unreadable(NamedTuple):
    """In place of a sample: an exception that a worker raised would reach the user as two tracebacks."""

    path: str
    reason: str


class ImageFiles(Dataset[Any]):
    """Image files with their labels; ``[key]`` reads one and transforms it.

    Args:
        paths: of shape (images,), encoded. An array, because workers that touch a list of strings copy it.
        labels: int64 of shape (images,).
        make_transform: gives the transform of an RGB image; called in the process that decodes, since timm
            can be imported there only after :mod:`torchvision_shim`.
        seed: of the run.
    """

    def __init__(
        self,
        paths: NDArray[np.bytes_],
        labels: NDArray[np.int64],
        make_transform: Callable[[], Transform],
        seed: int,
    ) -> None:
        self.paths, self.labels = paths, labels
        self._make_transform, self._seed = make_transform, seed
        self._transform: Transform | None = None

    def __getitem__(self, key: Key) -> tuple[Tensor, int] | Unreadable:
        self._transform = self._transform or self._make_transform()
        path = os.fsdecode(bytes(self.paths[key.image]))
        try:
            with Image.open(path) as file:
                if file.mode.startswith(_DEEP):
                    return Unreadable(path, f"{_CLIPPED} (it is of Pillow's mode {file.mode})")
                image = file.convert("RGB")
        except Exception as error:  # Pillow's decoders raise many kinds
            return Unreadable(path, " ".join(str(error).split()) or type(error).__name__)
        with seeded(seed_for(self._seed, "augment", key.epoch, key.image, key.copy)):
            return self._transform(image), int(self.labels[key.image])


def collate(samples: Sequence[tuple[Tensor, int] | Unreadable]) -> tuple[Tensor, Tensor] | Unreadable:
    """A batch: float32 of shape (n, 3, size, size) and int64 of shape (n,); or the first unreadable file."""
    images, labels = list[Tensor](), list[int]()
    for sample in samples:
        if isinstance(sample, Unreadable):
            return sample
        images.append(sample[0])
        labels.append(sample[1])
    return torch.stack(images), torch.tensor(labels)


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Within, the global generators of Python, NumPy and PyTorch (CPU) follow ``seed``; after it, as before.

    timm's transforms draw from all three.
    """
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs as well
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.default_generator.set_state(before[2])


class ColourNoise:
    """x + E (α ∘ λ) for each pixel x, RGB in [0, 1], with one α ~ N(0, 0.1² I) for the image.

    AlexNet's (Krizhevsky et al., 2012, Section 4.1), along the principal components of ImageNet's colours. λ
    and the columns of E are those of fb.resnet.torch.
    """

    SIGMA = 0.1
    EIGENVALUES = torch.tensor([0.2175, 0.0188, 0.0045])
    EIGENVECTORS = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )

    def __call__(self, image: Tensor) -> Tensor:
        """``image`` of shape (3, height, width); α is drawn from PyTorch's global generator."""
        shift = self.EIGENVECTORS @ (self.SIGMA * torch.randn(3) * self.EIGENVALUES)
        return image + shift[:, None, None]


def transform(augment: Augment, size: int, *, training: bool) -> Transform:
    """timm's transform to a standardised image of shape (3, size, size).

    For ``imagenet`` a random part of 8 to 100 % of the image, resized, and a random flip; ``imagenet-pca``
    adds :class:`ColourNoise`; ``deit`` adds RandAugment and random erasing (Touvron et al., 2021, Table 9).
    For ``none``, and in the test set, the middle square of 87.5 % of the shorter side.
    """
    torchvision_shim.install()
    create: Any = import_module("timm.data").create_transform
    interpolation = "bicubic" if augment == "deit" else "bilinear"
    if not training or augment == "none":
        return create(size, is_training=False, interpolation=interpolation, crop_pct=0.875)
    chosen: dict[str, Any] = {"color_jitter": None}
    if augment == "deit":
        chosen = {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel"}
    made = create(size, is_training=True, interpolation=interpolation, **chosen)
    if augment == "imagenet-pca":
        made.transforms.insert(-1, ColourNoise())  # before the images are standardised
    return made
