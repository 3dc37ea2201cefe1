"""Any model of timm's, untrained, fitted to the task."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from autowu.errors import UserError
from autowu.integrations import torchvision_shim


def timm_model(
    name: str,
    image_shape: tuple[int, int, int],
    classes: int,
    drop_path: float = 0.0,
    *,
    own: Sequence[str] = (),
) -> nn.Module:
    """timm's model ``name`` without pretrained weights, for images of shape (channels, height, width).

    The size of the images is passed to the models that need to know it, such as ViT, and stochastic depth to
    those that have it. One blank image is classified, since some models find out only then that theirs is too
    small.

    Raises:
        UserError: timm has no such model (``own`` are more names to suggest), it cannot be built for such
            images, or it has no stochastic depth.
    """
    torchvision_shim.install()
    import timm

    if not timm.is_model(name):
        close = get_close_matches(name, [*own, *timm.list_models()], 5, 0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UserError(
            f"--model must be {', '.join(own)} or a model of timm {timm.__version__}, not {name!r}{hint}"
        )
    options: dict[str, Any] = {"in_chans": image_shape[0], "num_classes": classes}
    if drop_path:
        options["drop_path_rate"] = drop_path
    try:
        model = _create(name, options, image_shape[1:])
        _check(model, image_shape, classes)
    except Exception as error:  # what a model raises at a size that it was not made for can be anything
        if "drop_path_rate" in str(error):
            raise UserError(
                f"--drop-path is for models of residual blocks; timm's {name} has none"
            ) from error
        shape = " × ".join(map(str, image_shape))
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"timm's {name} cannot be used for images of {shape}: {reason}") from error
    return model


def _create(name: str, options: dict[str, Any], size: tuple[int, ...]) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, pretrained=False, img_size=size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return timm.create_model(name, pretrained=False, **options)  # a network that takes any size


@torch.no_grad()
def _check(model: nn.Module, image_shape: tuple[int, int, int], classes: int) -> None:
    """Classify one image; in evaluation mode, so that it leaves no trace."""
    model.eval()
    logits: Tensor = model(torch.zeros(1, *image_shape))
    model.train()
    if logits.shape != (1, classes):
        raise ValueError(f"its output has shape {tuple(logits.shape)}, not (images, {classes})")
