"""AutoWU, in its two presets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from autowu import AutoWU
from autowu.errors import UserError
from autowu.train import optimizers
from autowu.train.options import Settings
from autowu.train.schedules.method import Method


def autowu(settings: Settings, model: nn.Module, total_steps: int, steps_per_epoch: int | None) -> Method:
    """:class:`autowu.AutoWU` with the default preset, or with the paper's for ``--schedule paper``.

    ``--growth``, ``--decay`` and ``--set`` replace fields of the preset; the seed is the run's.
    """
    preset = "paper" if settings.schedule == "paper" else "default"
    optimizer = optimizers.build(settings, model)
    chosen: dict[str, Any] = {"seed": settings.seed, "steps_per_epoch": steps_per_epoch}
    chosen |= {name: value for name in ("growth", "decay") if (value := getattr(settings, name)) is not None}
    if taken := sorted(({"total_steps"} | chosen.keys()) & settings.set.keys() - {"steps_per_epoch"}):
        raise UserError(f"--set {taken[0]} is not needed: another flag or the data say it")
    try:
        schedule = AutoWU(optimizer, total_steps, preset=preset, model=model, **chosen | settings.set)
    except (TypeError, ValueError) as error:
        raise UserError(f"--schedule {settings.schedule}: {error}") from error
    return Method(optimizer, schedule, {"preset": preset, **asdict(schedule.config)})
