"""How long a warm-up is, in updates."""

from __future__ import annotations

from autowu.errors import UserError
from autowu.train.options import Settings


def warmup_steps(
    settings: Settings,
    total_steps: int,
    steps_per_epoch: int | None,
    *,
    epochs: int | None = None,
    fraction: float = 0.0,
) -> int:
    """``--warmup-steps``, or ``--warmup-epochs`` in updates, or else the schedule's own choice.

    Args:
        settings: the run's.
        total_steps: updates of the whole run.
        steps_per_epoch: None where the data have no epochs.
        epochs: the schedule's own choice in epochs, where there are any.
        fraction: the schedule's own choice as a fraction of ``total_steps``, where ``epochs`` does not apply.

    Raises:
        UserError: the warm-up would not end before the run does.
    """
    if settings.warmup_steps is not None:
        steps, told = settings.warmup_steps, f"--warmup-steps {settings.warmup_steps}"
    elif settings.warmup_epochs is not None and steps_per_epoch is not None:
        epochs = settings.warmup_epochs
        steps, told = epochs * steps_per_epoch, f"--warmup-epochs {epochs}"
    elif epochs is not None and steps_per_epoch is not None:
        steps = epochs * steps_per_epoch
        told = f"the {epochs} epochs of warm-up that --schedule {settings.schedule} has by default"
    else:
        steps, told = int(fraction * total_steps), f"{fraction:.0%} of warm-up"
    if steps >= total_steps:
        raise UserError(
            f"{told}: the warm-up must be shorter than the run of {total_steps:,} updates, not {steps:,}; "
            "set --warmup-epochs or --warmup-steps"
        )
    return steps
