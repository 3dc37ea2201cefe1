"""The networks one can choose with ``--model``: a few of this package's own, and all of timm's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from autowu.errors import UserError
from autowu.train.models.gpt import GPT
from autowu.train.models.resnet import resnet18
from autowu.train.models.small import CNN, MLP
from autowu.train.models.timm import timm_model
from autowu.train.models.vit import ViT
from autowu.train.models.wide_resnet import wide_resnet_28_10
from autowu.train.settings.options import Settings

if TYPE_CHECKING:
    from autowu.train.data.task import Task

IMAGES: Final[dict[str, Callable[..., nn.Module]]] = {
    "cnn": CNN,
    "mlp": MLP,
    "vit": ViT,
    "resnet18-cifar": resnet18,
    "wide-resnet-28-10": wide_resnet_28_10,
}
"""This package's models for images. timm's names have no hyphen, so that the two never meet."""

TEXT: Final = "gpt"
"""This package's model for text."""

SIZE: Final = ("blocks", "width", "heads")
"""Settings of the size of this package's Transformers."""


def build(settings: Settings, task: Task) -> nn.Module:
    """The network ``settings.model`` for ``task``, untrained.

    Images of shape (n, channels, height, width) give logits of shape (n, classes), tokens of shape
    (n, context) give logits of shape (n, context, classes). Initial weights come from PyTorch's global
    generator.

    Raises:
        UserError: there is no such model, or it does not go with the task, ``--norm``, ``--drop-path`` or the
            size that is asked for.
    """
    name = settings.model_name
    if (name == TEXT) != (task.kind == "text"):
        raise UserError(
            f"--model {name} is for {'a text' if name == TEXT else 'images'}, but the data are "
            f"{'a text: the model is gpt' if task.kind == 'text' else 'images'}"
        )
    if name == TEXT:
        (context,) = task.input_shape
        return GPT(task.classes, context, **_options(name, GPT, settings))
    channels, height, width = task.input_shape
    if name in IMAGES:
        model = IMAGES[name]
        return model((channels, height, width), task.classes, **_options(name, model, settings))
    if settings.norm != "batch":
        raise UserError(f"--norm {settings.norm} is for --model cnn or mlp, not {name}")
    _size(name, (), settings)
    return timm_model(name, (channels, height, width), task.classes, settings.drop_path, own=(*IMAGES, TEXT))


def _options(name: str, model: Callable[..., nn.Module], settings: Settings) -> dict[str, Any]:
    """What ``model`` lets one choose of norm, stochastic depth and size; for another choice, an error."""
    takes = inspect.signature(model).parameters
    options: dict[str, Any] = {}
    if "norm" in takes:
        options["norm"] = settings.norm
    elif settings.norm != "batch":
        raise UserError(f"--norm {settings.norm} is for --model cnn or mlp, not {name}")
    if "drop_path" in takes:
        options["drop_path"] = settings.drop_path
    elif settings.drop_path:
        raise UserError(f"--drop-path is for models of residual blocks; {name} has none")
    return options | _size(name, takes, settings)


def _size(name: str, takes: Container[str], settings: Settings) -> dict[str, int]:
    """Blocks, width and heads, as far as they are chosen."""
    chosen = {key: value for key in SIZE if (value := getattr(settings, key)) is not None}
    for key in chosen:
        if key not in takes:
            raise UserError(f"--{key} is for --model vit or gpt, not {name}")
    return chosen
