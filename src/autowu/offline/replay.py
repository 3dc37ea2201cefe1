"""A recorded loss curve: what would AutoWU have done?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller import display, machine
from autowu.controller.state import Cut, Phase, State
from autowu.detector.detect import Verdict


@dataclass(frozen=True, eq=False)
class Replay:
    """The decisions of AutoWU on a recorded loss curve."""

    config: Config
    state: State[Phase]
    learning_rates: Array
    """η of each recorded update [n]."""

    @property
    def switched(self) -> bool:
        """Whether the decay phase began within the record."""
        return self.state.switch is not None

    @property
    def capped(self) -> bool | None:
        """Whether it began at the cap rather than by detection; None if it did not begin."""
        return self.state.switch.capped if self.state.switch else None

    @property
    def switch_step(self) -> int | None:
        """Updates done when the decay phase began."""
        return self.state.switch.step if self.state.switch else None

    @property
    def t_star(self) -> float | None:
        """The step whose LR is the peak: t* of Eq. 5, or the middle of a flat part before it."""
        return self.state.switch.t_star if self.state.switch else None

    @property
    def peak_lr(self) -> float | None:
        """First LR of the decay phase."""
        return self.state.switch.peak_lr if self.state.switch else None

    @property
    def tests(self) -> tuple[Verdict, ...]:
        """The tests, in order."""
        return self.state.verdicts

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The changes of the LR after the switch."""
        return self.state.cuts

    def plot(self, losses: Array | None = None) -> Any:
        """A Plotly figure of LR, smoothed loss and votes; with ``losses``, those replayed, beside them."""
        from autowu.report import notebook  # upward, for a picture of itself: only when it is asked for

        return notebook.plot(self.config, self.state, len(self.learning_rates), losses)

    def records(self) -> list[dict[str, Any]]:
        """The tests as plain values, a row for each."""
        return display.records(self.config, self.tests)

    def to_frame(self) -> Any:
        """:meth:`records` as a pandas DataFrame."""
        return display.to_frame(self.config, self.tests)

    def __repr__(self) -> str:
        """The outcome in one line: the fields hold thousands of numbers."""
        peak_lr = "None" if self.peak_lr is None else f"{self.peak_lr:.3g}"
        return (
            f"{type(self).__name__}(switch_step={self.switch_step}, peak_lr={peak_lr}, "
            f"losses={len(self.learning_rates)}, tests={len(self.tests)})"
        )

    def _repr_html_(self) -> str:
        return display.html("autowu replay", self.config, self.state, len(self.learning_rates))

    def to_json(self) -> dict[str, Any]:
        """What ``autowu replay --json`` prints; ``cuts`` is there only if there were any."""
        cuts = [
            {"step": cut.step, "factor": cut.factor, "level": _known(cut.level), "least": _known(cut.least)}
            for cut in self.cuts
        ]
        return {
            "switched": self.switched,
            "capped": self.capped,
            "switch_step": self.switch_step,
            "t_star": self.t_star,
            "peak_lr": self.peak_lr,
            "tests": [
                {
                    "step": test.step,
                    "p_min": list(test.p_min),
                    "detected": test.detected,
                    "argmin": test.argmin,
                    "streak": test.streak,
                    "no_evidence": test.no_evidence,
                }
                for test in self.tests
            ],
            **({"cuts": cuts} if cuts else {}),
        }


def _known(number: float) -> float | None:
    """What JSON can hold."""
    return number if math.isfinite(number) else None


def replay(
    losses: Sequence[float] | Array,
    total_steps: float | None = None,
    steps_per_epoch: int | None = None,
    preset: str = "default",
    seed: int = 0,
    **settings: Any,
) -> Replay:
    """Run the controller over a recorded loss curve.

    Args:
        losses: the training loss of each update [n], in order; NaN or None where it is missing.
        total_steps: T of the run that the record is from; without it, n. ``math.inf``: a run without a known
            end.
        steps_per_epoch: updates in an epoch; the paper's preset needs it.
        preset: 'default' or 'paper'.
        seed: of the subsets, where a test looks at such.
        settings: fields of :class:`autowu.Config` in place of the preset's.

    Nothing is rewound, of course: losses after the decision are the record's, not what AutoWU would have got.
    Whether the LR is cut after it is judged by them all the same.

    Raises:
        TypeError: an unknown setting, a value of the wrong type, or ``losses`` are not real numbers.
        ValueError: ``losses`` are texts other than numbers, or beyond floating point, not one-dimensional,
            empty, or longer than ``total_steps``; or a setting is out of range.
    """
    try:
        curve = np.asarray(losses, dtype=np.float64)
    except OverflowError as error:
        raise ValueError(f"losses must be numbers that floating point holds ({error})") from error
    if curve.ndim != 1 or not len(curve):
        raise ValueError(f"losses must be a sequence of one or more numbers, not of shape {curve.shape}")
    if total_steps is None:
        total_steps = len(curve)
    length: Any = None if total_steps == math.inf else total_steps  # Config sees to it that it is an integer
    config = Config.preset(preset, total_steps=length, steps_per_epoch=steps_per_epoch, seed=seed, **settings)
    if len(curve) > total_steps:
        raise ValueError(f"losses must be at most total_steps = {total_steps}, not {len(curve)}")
    state, lrs = machine.start(config), np.empty(len(curve))
    step = 0
    while step < len(curve):
        due, lr = machine.next_read(config, state), machine.lr_function(config, state)
        end = len(curve) if due is None else min(due, len(curve))
        lrs[step:end] = [lr(s) for s in range(step, end)]
        state = machine.observe(config, state, curve[step:end])
        step = end
    return Replay(config, state, lrs)
