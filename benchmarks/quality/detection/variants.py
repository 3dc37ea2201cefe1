"""What is compared: the two presets, the default with one constant changed, and with a remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.quality.ablations import OF_THE_DETECTOR
from benchmarks.quality.detection.remedies import REMEDIES


@dataclass(frozen=True)
class Variant:
    """A preset and what is changed in it."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    preset: str = "default"
    remedy: str | None = None
    """One of `remedies`, if it is tried."""

    @property
    def replays(self) -> bool:
        """Whether it makes sense for a record, whose growth cannot be changed any more."""
        return not {"growth", "sweep_fraction", "warmup_fraction"} & set(self.settings)


VARIANTS = (
    Variant("default"),
    Variant("paper", preset="paper"),
    *(Variant(name, settings) for name, settings in OF_THE_DETECTOR.items()),
    *(Variant(name, remedy=name) for name in REMEDIES),
    Variant("sixth freeze"),  # the default of before November 2026, of which only the counts are left
)
