"""What an extra brings, and what to write to get it."""

from __future__ import annotations

from typing import Final

REPOSITORY: Final = "https://github.com/autowu/autowu"

MODULES: Final = {
    "torch": "train",
    "timm": "train",
    "rich": "train",
    "lightning_fabric": "train",
    "torchvision": "train",
    "yaml": "train",
    "schedulefree": "peers",
    "prodigyopt": "peers",
    "dadaptation": "peers",
    "mechanic_pytorch": "peers",
    "dog": "peers",
    "momo": "peers",
    "GeN": "peers",
    "torch_lr_finder": "peers",
    "statopt": "peers",
    "transformers": "peers",
    "scipy": "peers",
    "sklearn": "peers",
    "plotly": "report",
    "plotext": "report",
    "matplotlib": "report",
    "tensorboard": "tensorboard",
    "submitit": "cluster",
}
"""The extra that brings a module which the command needs."""


def install(extra: str) -> str:
    """The command that installs ``extra``, and the one for a clone: the package is on no index yet."""
    return f'pip install "autowu[{extra}] @ git+{REPOSITORY}" (in a clone of it: pip install -e ".[{extra}]")'
