"""The fields of :class:`autowu.Config` that a run replaces; they are tried before PyTorch is imported."""

from __future__ import annotations

from typing import Any, Final

from autowu.config import Config
from autowu.errors import UserError
from autowu.train.settings.options import Settings

FLAGS: Final = {"total_steps": "--steps", "seed": "--seed", "growth": "--growth", "decay": "--decay"}
"""Fields of Config that ``--set`` does not take."""

LENGTH: Final = {"total_steps": 1_000_000, "steps_per_epoch": 1_000}
"""In place of the run's, which the data decide: fields are checked, not their sum."""


def name(settings: Settings) -> str:
    """Of the preset."""
    return "paper" if settings.schedule == "paper" else "default"


def fields(settings: Settings) -> dict[str, Any]:
    """Those that ``--growth``, ``--decay`` and ``--set`` replace, and the run's seed.

    Raises:
        UserError: ``--set`` names a field that has a flag of its own.
    """
    for field in settings.set:
        if field in FLAGS:
            raise UserError(f"--set {field}: this has a flag of its own, {FLAGS[field]}")
    flags = {field: value for field in ("growth", "decay") if (value := getattr(settings, field)) is not None}
    return {"seed": settings.seed, **flags, **settings.set}


def check(settings: Settings) -> None:
    """See that they are in their ranges.

    Raises:
        UserError: one is not.
    """
    if settings.schedule not in ("autowu", "paper"):
        return
    replaced = fields(settings)
    try:
        Config.preset(name(settings), **LENGTH | replaced)
    except (TypeError, ValueError) as error:
        raise UserError(f"--schedule {settings.schedule}: {error}") from error
