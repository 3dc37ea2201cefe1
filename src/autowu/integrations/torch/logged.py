"""The run log of the PyTorch scheduler: what it says of the optimizer, and which process writes it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

import torch.distributed as dist
from torch.optim import Optimizer

from autowu.config import Config
from autowu.integrations.logged import Folder, RunLog
from autowu.integrations.torch.nested import class_names, parameters, within

HOSTS: Final = ("transformers", "lightning", "pytorch_lightning", "accelerate", "timm")
"""Packages whose version is of interest where they are in use."""


def run_log(
    folder: Folder | None, config: Config, optimizers: Sequence[Optimizer], group: dist.ProcessGroup | None
) -> RunLog | None:
    """The log in ``folder``, if there is to be one.

    Raises:
        TypeError, ValueError: as :class:`autowu.integrations.logged.RunLog`.
    """
    if folder is None:
        return None
    devices = {str(parameter.device) for parameter in parameters(within(optimizers))}
    about = {
        "host": "PyTorch",
        "packages": ("torch", *(name for name in HOSTS if name in sys.modules)),
        "config": {"optimizer": " + ".join(class_names(optimizers))},
        "machine": {"device": ", ".join(sorted(devices))},
    }
    return RunLog(folder, config, about, partial(_is_first, group))


def _is_first(group: dist.ProcessGroup | None) -> bool:
    """Whether this process is rank 0 of the group, by default of all."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank(group) == 0
