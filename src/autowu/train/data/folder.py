"""Folders of images, decoded by worker processes."""

from __future__ import annotations

import torch

from autowu.errors import UserError
from autowu.train.data.task import Share, Task
from autowu.train.options import Settings


def load(settings: Settings, share: Share, device: torch.device) -> Task:
    """The folder ``settings.data``."""
    raise UserError("soon")
