"""What is compared: the two presets, the default with one constant changed, and with a remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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


def _one(**settings: Any) -> Variant:
    ((name, value),) = settings.items()
    return Variant(f"{name} {value}", settings)


VARIANTS = (
    Variant("default"),
    Variant("paper", preset="paper"),
    *(_one(patience=value) for value in (1, 2, 5)),
    *(_one(test_growth=value) for value in (1.05, 1.2, 1.5)),
    *(_one(subsets=value) for value in (1, 3, 9)),
    *(_one(subset_size=value) for value in (200, None)),
    *(_one(lift_off=value) for value in (2.0, 3.0, 6.0)),
    *(_one(sweep_fraction=value) for value in (0.02, 0.1)),
    *(_one(length_scale=value) for value in (0.1, 0.3)),
    *(_one(confidence=value) for value in (0.9, 0.99)),
    _one(growth="exponential"),
    _one(warmup_fraction=0.25),
    _one(standardize=False),
    _one(spike=None),
    *(Variant(name, remedy=name) for name in REMEDIES),
)
