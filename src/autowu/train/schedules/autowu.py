"""AutoWU, in its two presets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from autowu import AutoWU
from autowu.errors import UserError
from autowu.train.optimizers import table
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan

FLAGS: Final = {"total_steps": "--steps", "seed": "--seed", "growth": "--growth", "decay": "--decay"}
"""Fields of Config that ``--set`` does not take."""


def autowu(plan: Plan) -> Method:
    """:class:`autowu.AutoWU` with the default preset, or with the paper's for ``--schedule paper``.

    ``--growth``, ``--decay`` and ``--set`` replace fields of the preset; the seed is the run's.

    Raises:
        UserError: a field is unknown, out of range, or given twice; or the paper's preset is asked for data
            without epochs, which its tests need.
    """
    settings = plan.settings
    preset = "paper" if settings.schedule == "paper" else "default"
    chosen: dict[str, Any] = {"seed": settings.seed, "steps_per_epoch": plan.steps_per_epoch}
    chosen |= {name: value for name in ("growth", "decay") if (value := getattr(settings, name)) is not None}
    for name in settings.set:
        if name in FLAGS:
            raise UserError(f"--set {name}: this has a flag of its own, {FLAGS[name]}")
    optimizer = table.build(settings, plan.model)
    try:
        schedule = AutoWU(optimizer, plan.length, preset=preset, model=plan.model, **chosen | settings.set)
    except (TypeError, ValueError) as error:
        raise UserError(f"--schedule {settings.schedule}: {error}") from error
    return Method(optimizer, schedule, {"preset": preset, **asdict(schedule.config)})
