"""A cell: one training run of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Schedule:
    """How the LR is set in a row of a table.

    Args:
        name: as tables and legends call it.
        slug: in a cell's name.
        flags: settings of the trainer, as pairs.
        peak: of a baseline, the peak LR; None: η_base √(B / 256).
        warmup_epochs: of a baseline, of the paper's epochs; None: its 5.
    """

    name: str
    slug: str
    flags: tuple[tuple[str, Any], ...]
    peak: float | None = None
    warmup_epochs: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """``flags``, with the fields of :class:`autowu.Config` under ``set``."""
        own = {name: value for name, value in self.flags if not name.startswith("set.")}
        fields = {name[4:]: value for name, value in self.flags if name.startswith("set.")}
        return own | ({"set": fields} if fields else {})


PAPER: Final = ("schedule", "paper")
COSINE: Final = ("decay", "cosine")

BASELINE: Final = Schedule("Baseline", "baseline", (("schedule", "baseline"),))
CONST_COS: Final = Schedule("AutoWU + const-cos", "const-cos", (PAPER, ("decay", "constant-cosine")))
COS: Final = Schedule("AutoWU + cos", "cos", (PAPER, COSINE))
DEFAULT: Final = Schedule("AutoWU, default preset", "default", (("schedule", "autowu"),))
"""Not in the paper."""


def slower(rho: float) -> Schedule:
    """AutoWU + cos with ρ_w = ``rho`` (Table 4); 0.5 is :data:`COS` itself."""
    if rho == 0.5:
        return COS
    return Schedule(
        f"AutoWU + cos, ρ_w {rho:g}", f"rho{rho:g}", (PAPER, COSINE, ("set.warmup_fraction", rho))
    )


def linear(max_lr: float) -> Schedule:
    """AutoWU + cos with linear growth to ``max_lr`` (Eq. 6, Figure 6)."""
    flags = (PAPER, COSINE, ("growth", "linear"), ("set.max_lr", max_lr))
    return Schedule(f"linear, η_max {max_lr:g}", f"linear{max_lr:g}", flags)


def tuned(peak: float, warmup_epochs: int) -> Schedule:
    """The baseline with a peak LR and a warm-up of its own (Figure 5)."""
    name = f"peak {peak:g}, warm-up {warmup_epochs}"
    return Schedule(name, f"peak{peak:g}-warmup{warmup_epochs}", BASELINE.flags, peak, warmup_epochs)


@dataclass(frozen=True)
class Cell:
    """One run.

    Args:
        task: the recipe of the paper's task.
        batch_size: the paper's; at a smaller scale it stands for a smaller one.
        schedule: how the LR is set.
        seed: of the run.
    """

    task: str
    batch_size: int
    schedule: Schedule
    seed: int = 0

    @property
    def name(self) -> str:
        """What ``--only`` knows it by."""
        return f"{self.task}-{self.batch_size}-{self.schedule.slug}-seed{self.seed}"
