"""AutoWU, in its two presets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autowu import AutoWU
from autowu.errors import UserError
from autowu.integrations.exits import NEWEST
from autowu.train.optimizers import table
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan
from autowu.train.settings import preset


def autowu(plan: Plan) -> Method:
    """:class:`autowu.AutoWU` with the default preset, or with the paper's for ``--schedule paper``.

    ``--growth``, ``--decay`` and ``--set`` replace fields of the preset; the seed is the run's.

    Raises:
        UserError: a field is unknown, out of range, or given twice; or the paper's preset is asked for data
            without epochs, which its tests need.
    """
    settings = plan.settings
    chosen: dict[str, Any] = {"steps_per_epoch": plan.steps_per_epoch} | preset.fields(settings)
    optimizer = table.build(settings, plan.model)
    try:
        schedule = AutoWU(optimizer, plan.length, preset=preset.name(settings), model=plan.model, **chosen)
    except (TypeError, ValueError) as error:
        raise UserError(f"--schedule {settings.schedule}: {error}") from error
    NEWEST.seen(schedule)  # the trainer says itself how its run ended
    return Method(optimizer, schedule, {"preset": preset.name(settings), **asdict(schedule.config)})
