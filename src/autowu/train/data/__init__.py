"""What is learnt: data sets, their order, and what is done to images on the way to the model.

    settings ─▶ load ─▶ Task ─▶ updates(first, last): the micro-batches of each update
                             └▶ evaluation(): the test set

Contents:
    task        Task, Batch, Share: what the loop sees of a data set
    order       which samples an update takes, and which of them a process takes
    arrays      `digits`, and files in Keras' layout
    vision      the sets that torchvision knows
    memory      images that fit in memory: they live on the device, and are augmented there
    augment     random crops, flips, AutoAugment and Cutout for whole batches on the device
    folder      folders of images, decoded by worker processes
    listing     which images a folder holds
    images      what a worker does
    mix         Mixup and CutMix
    text        characters or bytes of a text
"""

from __future__ import annotations

from pathlib import Path

import torch

from autowu.errors import UserError
from autowu.train.data.task import Batch, Share, Task
from autowu.train.settings import paths
from autowu.train.settings.options import IMAGE_SETS, Settings

__all__ = ["Batch", "Share", "Task", "load"]

CPU = torch.device("cpu")

# What each kind of data can be augmented with.
AUGMENTS = {
    "a text": ("none",),
    "images in memory": ("none", "crop-flip", "cifar"),
    "a folder of images": ("none", "imagenet", "imagenet-pca", "deit"),
}


def load(settings: Settings, *, share: Share | None = None, device: torch.device = CPU) -> Task:
    """The data of ``settings.data``, for a process that takes ``share`` of each batch (by default all of it).

    Raises:
        UserError: there are no such data, they are unfit, or the settings do not fit them.
    """
    name, share = settings.data, share or Share()
    paths.check_data(settings)
    if settings.is_text:
        _check_augment(settings, "a text")
        from autowu.train.data import text

        return text.load(settings, share, device)
    if name in IMAGE_SETS or name.endswith(".npz"):
        _check_augment(settings, "images in memory")
        from autowu.train.data import arrays, memory, vision

        if name == "digits":
            images = arrays.digits()
        elif name.endswith(".npz"):
            images = arrays.read(name)
        else:
            images = vision.read(name, Path(settings.data_dir))
        return memory.ImagesInMemory(images, settings, share, device)
    _check_augment(settings, "a folder of images")
    from autowu.train.data import folder

    return folder.load(settings, share, device)


def _check_augment(settings: Settings, kind: str) -> None:
    if settings.augment not in AUGMENTS[kind]:
        raise UserError(
            f"--augment must be one of {', '.join(AUGMENTS[kind])} for {kind}, not {settings.augment}"
        )
