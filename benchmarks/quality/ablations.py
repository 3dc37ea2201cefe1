"""One change at a time from the default preset, tried in training and on the detector alone.

Both use these names, so that what a change does to training and to the rates of the detector's mistakes can
be read side by side.
"""

from __future__ import annotations

from typing import Any, Final


def _each(name: str, *values: Any) -> dict[str, dict[str, Any]]:
    return {f"{name} {value}": {name: value} for value in values}


OF_THE_DETECTOR: Final[dict[str, dict[str, Any]]] = (
    _each("ceiling", None, 1e4)
    | _each("patience", 1, 2, 5)
    | _each("test_growth", 1.05, 1.2, 1.5)
    | _each("subsets", 1, 3, 9)
    | _each("subset_size", 200, None)
    | _each("lift_off", 2.0, 3.0, 6.0)
    | _each("sweep_fraction", 0.02, 0.1)
    | _each("length_scale", 0.1, 0.3)
    | _each("confidence", 0.9, 0.99)
    | _each("growth", "exponential")
    | _each("warmup_fraction", 0.25)
    | _each("standardize", False)
    | _each("spike", None)
)
"""They change when the switch comes, and to which LR."""

OF_TRAINING: Final[dict[str, dict[str, Any]]] = (
    _each("min_lr", 1e-4, 1e-6)
    | _each("max_lr", 10.0)
    | _each("rewind", False)
    | _each("decay", "cosine", "constant-cosine", "1-sqrt")
    | _each("watch", None)
)
"""They also need a network that is trained."""

SETTLED: Final = (
    "sweep, back, short growth",
    "slow rate fixed per update",
    "reopen None",
    "probe None",
    "probe 3.0",
    "probe 100.0",
    "stall None",
    "stall 0.05",
    "stall 0.1",
    "stall 0.4",
    "ceiling 1.0",
)
"""Of these the results are there, but no code any more: commit 6fabf07 runs two of them, 2c9fd93 the rest. (A
ceiling of 1 is the default now.)"""

TRIED: Final[dict[str, dict[str, Any]]] = {
    name: {"tried": name}
    for name in (
        "peak × 0.5",
        "peak × 0.7",
        "peak × 1.4",
        "peak × 2",
        "re-warm after the rewind",
        "average of the weights",
        "average, constant LR",
        "steepest fall, not least loss",
        "growth slows as the loss bends",
        "fast rate fixed per update",
        "copy of lift-off",
        "copy before the first detection",
        *SETTLED,
    )
}
"""Those that no setting makes: functions of `tried` stand in for the library's."""
