"""What other settings would have decided on the same losses: one setting at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from autowu.offline.replay import Replay

VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "confidence": (0.8, 0.9, 0.95, 0.99, 0.999),
    "patience": (1, 2, 3, 5, 8),
    "test_growth": (1.02, 1.05, 1.1, 1.2, 1.5),
    "subset_size": (50, 100, 250, 500, 1000),
    "length_scale": (0.1, 0.15, 0.2, 0.3, 0.4),
}
"""The settings that are varied, and to what."""

EPOCHS: Final = (0.25, 0.5, 1, 2, 4)
"""The same for a test at each epoch's end: epochs from one test to the next."""

NAMES: Final = {
    "confidence": "confidence",
    "patience": "patience, tests in a row",
    "test_growth": "test spacing, LR growth",
    "steps_per_epoch": "test spacing, updates",
    "subset_size": "subset size, losses",
    "length_scale": "length-scale",
}


WIDTH: Final = 80  # characters


@dataclass(frozen=True, eq=False)
class Case:
    """One setting at one value."""

    setting: str
    value: Any
    replay: Replay
    chosen: bool
    """Whether this is the value that all the other settings' cases have."""

    @property
    def peak_lr(self) -> float | None:
        """First LR of the decay phase."""
        return self.replay.peak_lr

    def to_json(self) -> dict[str, Any]:
        """What ``autowu replay --what-if --json`` prints of it."""
        outcome = {key: value for key, value in self.replay.to_json().items() if key != "tests"}
        return {"setting": self.setting, "value": self.value, "chosen": self.chosen, **outcome}


def cases(outcome: Replay, again: Callable[..., Replay], **settings: Any) -> list[Case]:
    """The cases around ``outcome``.

    Args:
        outcome: the replay of a record with the chosen settings.
        again: replays the same record with the settings that it is called with.
        settings: the chosen settings.
    """
    found = list[Case]()
    for setting, values in _variations(outcome):
        now = getattr(outcome.config, setting)
        for value in sorted({*values, now} - {None}):
            same = value == now
            found.append(
                Case(setting, value, outcome if same else again(**settings | {setting: value}), same)
            )
    return found


def _variations(outcome: Replay) -> Iterator[tuple[str, tuple[Any, ...]]]:
    epoch = outcome.config.steps_per_epoch
    for setting, values in VALUES.items():
        if setting == "subset_size" and outcome.config.subset_size is None:
            continue  # there are none, all losses are looked at
        if setting == "test_growth" and outcome.config.test_growth is None and epoch is not None:
            yield "steps_per_epoch", tuple(max(1, round(share * epoch)) for share in EPOCHS)
        else:
            yield setting, values


def table(found: list[Case], width: int = WIDTH) -> list[str]:
    """The cases as lines of text; ``>`` marks the chosen value.

    Where ``width`` is less than the table's, a setting's name stands above its values.
    """
    beside = width >= WIDTH
    head = f" {'value':>6}  {'switch at':>9}  {'peak step':>9}  {'peak LR':>8}  against chosen"
    lines = [f"{'setting':<24}{head}" if beside else head]
    before = ""
    for case in found:
        name = NAMES[case.setting] if case.setting != before else ""
        before = case.setting
        row = f"{'>' if case.chosen else ' '}{case.value:>6g}  {_outcome(case, found)}"
        lines += [f"{name:<24}{row}"] if beside else [*filter(None, [name]), row]
    return lines


def _outcome(case: Case, found: list[Case]) -> str:
    outcome = case.replay
    if outcome.switch_step is None or outcome.peak_lr is None:
        return f"{'no switch':>9}  {'-':>9}  {'-':>8}"
    star = "-" if outcome.t_star is None else f"{outcome.t_star:,.1f}"
    ratio = against(case, found)
    cap = "  (cap)" if outcome.capped else ""
    return (
        f"{outcome.switch_step:>9,}  {star:>9}  {outcome.peak_lr:>8.3g}  "
        f"{'' if ratio is None else f'× {ratio:.2f}'}{cap}"
    ).rstrip()


def against(case: Case, found: list[Case]) -> float | None:
    """The case's peak LR over that of the chosen settings; None where either has none."""
    chosen = next(other for other in found if other.chosen)
    if not case.peak_lr or not chosen.peak_lr:
        return None
    return case.peak_lr / chosen.peak_lr
