"""Settings under one name: the paper's tasks (Section 3, Appendices A and B), and quick ones for a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from autowu.errors import UserError
from autowu.train.settings.options import AUTOWU, Peer

EXCLUSIVE: Final = (("epochs", "steps", "until_plateau"), ("warmup_epochs", "warmup_steps"))
"""Settings that say the same: the stronger source's is taken, whichever of them it is."""

OF_OPTIMIZER: Final = ("lr", "weight_decay")
"""Settings of a recipe that hold for its optimizer only."""

OF_WARMUP: Final = ("baseline", "wsd")
"""Schedules that a recipe's warm-up is for."""


@dataclass(frozen=True)
class Recipe:
    """Some of the settings of a run."""

    about: str
    settings: Mapping[str, Any]
    batch_sizes: tuple[int, ...] = ()
    """Those of the paper; the first is the recipe's."""
    needs: str | None = None
    """What ``--data`` has to be, where the recipe cannot know it."""


CIFAR: Final = {"augment": "cifar", "label_smoothing": 0.1, "epochs": 200, "batch_size": 256}
IMAGENET: Final = {"augment": "imagenet-pca", "label_smoothing": 0.0, "epochs": 120, "batch_size": 1024}
ADAMP: Final = {"optimizer": "adamp", "lr": 0.001, "weight_decay": 0.1}
LAMB: Final = {"optimizer": "lamb", "lr": 0.01, "weight_decay": 0.1}

RESNET: Final = {"data": "cifar10", "model": "resnet18-cifar", **CIFAR}
WIDE_RESNET: Final = {"data": "cifar100", "model": "wide-resnet-28-10", **CIFAR}

OF_CIFAR: Final = (256, 1024, 8192, 16384)
OF_IMAGENET: Final = (1024, 4096, 16384, 32768)
FOLDER: Final = "a DIR with ImageNet's images in train/ and val/, a folder for each class"

RECIPES: Final[dict[str, Recipe]] = {
    "cifar10-resnet18": Recipe("Table 1", RESNET | ADAMP, OF_CIFAR),
    "cifar10-resnet18-lamb": Recipe("Table 2", RESNET | LAMB, OF_CIFAR),
    "cifar100-wrn28-10": Recipe("Table 1", WIDE_RESNET | ADAMP, OF_CIFAR),
    "cifar100-wrn28-10-lamb": Recipe("Table 2", WIDE_RESNET | LAMB, OF_CIFAR),
    "imagenet-resnet50": Recipe("Table 1", {"model": "resnet50"} | IMAGENET | ADAMP, OF_IMAGENET, FOLDER),
    "imagenet-efficientnet-b0": Recipe(
        "Table 3",
        {"model": "efficientnet_b0"} | IMAGENET | ADAMP | {"label_smoothing": 0.1},
        OF_IMAGENET,
        FOLDER,
    ),
    # Touvron et al., 2020, whose augmentation the paper takes, smooth labels and drop paths with 0.1.
    "imagenet-vit-s16": Recipe(
        "Table 3",
        {"model": "vit_small_patch16_224", **IMAGENET, **ADAMP, "lr": 0.0005, "epochs": 300}
        | {"augment": "deit", "label_smoothing": 0.1, "drop_path": 0.1},
        OF_IMAGENET,
        FOLDER,
    ),
    "digits-cnn": Recipe(
        "quick", {"data": "digits", "model": "cnn", **ADAMP, "epochs": 60, "batch_size": 128}
    ),
    "fashion-mnist-mlp": Recipe(
        "quick", {"data": "fashion-mnist", "model": "mlp", **ADAMP, "epochs": 20, "batch_size": 1024}
    ),
    "fashion-mnist-cnn": Recipe(
        "quick",
        {
            "data": "fashion-mnist",
            "model": "cnn",
            **ADAMP,
            "epochs": 5,
            "batch_size": 256,
            "warmup_epochs": 1,
        },
    ),
    "cifar10-cnn": Recipe(
        "quick",
        {
            "data": "cifar10",
            "model": "cnn",
            **ADAMP,
            "epochs": 10,
            "batch_size": 256,
            "augment": "crop-flip",
        },
    ),
    "shakespeare-gpt": Recipe(
        "quick",
        {"model": "gpt", "optimizer": "adamw", "lr": 0.001, "weight_decay": 0.1, "label_smoothing": 0.0}
        | {"tokens": "char", "context": 128, "steps": 1000, "batch_size": 64},
        needs="a FILE.txt, such as Shakespeare's plays",
    ),
}


def over(stronger: Mapping[str, Any], weaker: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of both, those of ``stronger`` where both have one; ``set`` is merged field by field."""
    kept = dict(weaker)
    for pair in EXCLUSIVE:
        # A number that is 0 is given, and a flag that is False is not.
        if any(stronger.get(name) is not None and stronger[name] is not False for name in pair):
            for name in pair:
                kept.pop(name, None)
    both = {**kept.get("set", {}), **stronger.get("set", {})}
    return kept | dict(stronger) | ({"set": both} if both else {})


def apply(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` over the settings of the recipe ``name``.

    The recipe's LR and weight decay are its optimizer's, and are left out with another one. Its LR is also
    left out with schedules that find it. With a peer all three are left out: it is an optimizer itself, or
    has its own settings. A recipe's warm-up is for the schedules that have one of 5 epochs by default.

    Raises:
        UserError: the recipe needs something that ``given`` does not have.
    """
    recipe = RECIPES[name]
    if recipe.needs is not None and given.get("data") is None:
        raise UserError(f"--recipe {name} needs --data: {recipe.needs}")
    chosen = dict(recipe.settings)
    if given.get("optimizer", chosen["optimizer"]) != chosen["optimizer"]:
        for of_optimizer in OF_OPTIMIZER:
            del chosen[of_optimizer]
    schedule = given.get("schedule", AUTOWU[0])
    if schedule not in OF_WARMUP:
        chosen.pop("warmup_epochs", None)
    if schedule in get_args(Peer):
        for name_of in ("optimizer", *OF_OPTIMIZER):
            chosen.pop(name_of, None)
    elif schedule in AUTOWU:
        chosen.pop("lr", None)
    return over(given, chosen)
