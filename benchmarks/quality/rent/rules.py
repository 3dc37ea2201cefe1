"""The rules of the default preset, and how each is taken away: a setting, or a function that stands in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final
from unittest import mock

import numpy as np

from autowu.config import Config
from autowu.controller import anew, ending
from autowu.controller.phases import growth, sweep, watch
from autowu.controller.rate import grown
from autowu.controller.state import Growth, Search, State
from autowu.detector import trend
from autowu.detector.detect import Verdict

CONTROLLER: Final = "autowu.controller"


@dataclass(frozen=True)
class Rule:
    """What is to be done to be without it."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of :class:`autowu.Config`."""
    stand_ins: Mapping[str, Any] = field(default_factory=dict)
    """Functions of the library, by their dotted names, and what stands in for them."""


def _never(*_: Any, **__: Any) -> bool:
    return False


def _always(*_: Any, **__: Any) -> bool:
    return True


# --- before lift-off -----------------------------------------------------------------------------------

_hidden = anew.hidden


def no_first_rise(config: Config, state: State[Any]) -> State[Any]:
    """A rise in the sweep says nothing; at its end growth begins anew, as where nothing was seen."""
    if state.nonfinite_reads >= config.patience:
        return _hidden(config, state)
    over = isinstance(state.phase, Search) or state.step < ending.last_step(config, state)
    return state if over else anew.slower(config, state, config.min_lr, None)


def from_the_bottom(config: Config, state: State[Any]) -> State[Any]:
    """After a rise growth begins at η_min."""
    lr = grown(config, state.phase.growth, state.step)
    found = _hidden(config, state)
    slow = Growth(found.phase.growth.start, config.min_lr, config.growth_steps)
    return found.replace(phase=replace(found.phase, growth=slow, too_large=lr))


# --- growth --------------------------------------------------------------------------------------------


def from_here(config: Config, fast: Growth, step: int) -> tuple[Growth, int]:
    """The slow growth begins at the LR of lift-off."""
    return Growth(step, grown(config, fast, step), config.growth_steps), 0


def tests_at_once(config: Config, fast: Growth, step: int) -> tuple[Growth, int]:
    """It begins further back, and tests at once."""
    return _slowed(config, fast, step)[0], 0


_slowed, _resting = sweep.slowed, growth._resting


def always_forgotten(config: Config, state: State[Any]) -> State[Any]:
    """What the loss did on the way back is forgotten, though it has risen."""
    found = _resting(config, state)
    back = found.step >= found.phase.tests_from
    return found.replace(losses=found.since(found.read)) if back else found


def closed(config: Config, state: State[Any]) -> State[Any]:
    """The LR stays at 1 once it has come to that."""
    return state


def least_alone(self: Verdict, basin: float | None) -> float | None:
    """The flat part, without what is within a standard error."""
    return _peak_at(self if self.sd is None else replace(self, sd=np.zeros_like(self.sd)), basin)


def no_middle(self: Verdict, basin: float | None) -> float | None:
    """The peak is the LR of the least, though the loss is flat before it."""
    return self.t_star


_peak_at = Verdict.peak_at

# --- after the switch ----------------------------------------------------------------------------------

_cut, _cut_or_not = watch._cut, watch._cut_or_not


def least_stays(state: State[Any], now: trend.Stretch) -> State[Any]:
    """After a cut the loss counts as risen until it is below the least ever."""
    found = _cut(state, now)
    return found.replace(phase=replace(found.phase, least=state.phase.least))


def never_the_data(state: State[Any], now: trend.Stretch, *, dead: bool) -> State[Any]:
    """A rise is always the learning rate's fault."""
    return _cut(state, now) if len(state.phase.cuts) < watch.MOST else state


_least_level = ending.least_level


def least_before(before: Any, seen: Any, kept: Any) -> Any:
    """The least level is that before t*, whatever warm-up saw elsewhere."""
    return _least_level(before, None, kept)


RULES: Final[dict[str, Rule]] = {
    "two speeds": Rule({"growth": "exponential"}),
    "a rise before lift-off sends growth back": Rule(stand_ins={f"{CONTROLLER}.anew.hidden": no_first_rise}),
    "some decades, not to the bottom": Rule(stand_ins={f"{CONTROLLER}.anew.hidden": from_the_bottom}),
    "a rise in slow growth bounds the LR": Rule(stand_ins={f"{CONTROLLER}.phases.sweep._drifts": _always}),
    "the data may raise the loss": Rule(stand_ins={f"{CONTROLLER}.phases.sweep._drifts": _never}),
    "a mild rise or fall is none": Rule(stand_ins={f"{CONTROLLER}.phases.sweep.MILD": 0.0}),
    "slow growth begins further back": Rule(stand_ins={f"{CONTROLLER}.phases.sweep.slowed": from_here}),
    "weights of a late lift-off go back": Rule(stand_ins={f"{CONTROLLER}.phases.sweep.LATE": math.inf}),
    "the sweep begins anew below η_min": Rule(stand_ins={f"{CONTROLLER}.anew.exploded": _never}),
    "the same answer to all is no fall": Rule(stand_ins={"autowu.detector.trend.constant": _never}),
    "growth goes on beyond 1": Rule(stand_ins={f"{CONTROLLER}.phases.growth._further": closed}),
    "the sweep goes on beyond 1": Rule(stand_ins={f"{CONTROLLER}.ending.FURTHER": 1.0}),
    "one bad batch is no minimum": Rule(stand_ins={f"{CONTROLLER}.phases.growth._broke": _never}),
    "no test on the way back": Rule(stand_ins={f"{CONTROLLER}.phases.sweep.slowed": tests_at_once}),
    "a rise on the way back is kept": Rule(
        stand_ins={f"{CONTROLLER}.phases.growth._resting": always_forgotten}
    ),
    "lift-off has to be a fall": Rule(stand_ins={f"{CONTROLLER}.phases.growth._never_fallen": _never}),
    "screen": Rule({"screen": None}),
    "patience": Rule({"patience": 1}),
    "spike": Rule({"spike": None}),
    "a spike is rare": Rule(stand_ins={"autowu.detector.noise._rare": lambda found: found}),
    "a few losses may make the mean": Rule(stand_ins={"autowu.detector.trend.tail_above": _never}),
    "ceiling": Rule({"ceiling": None}),
    "logarithms after a tenfold fall": Rule(stand_ins={"autowu.detector.noise.fallen_tenfold": _never}),
    "a rise counts beyond the basin": Rule(
        stand_ins={"autowu.detector.detect._beyond": lambda rise, basin: rise}
    ),
    "the peak is the middle of the flat part": Rule(
        stand_ins={"autowu.detector.detect.Verdict.peak_at": no_middle}
    ),
    "the flat part has a standard error": Rule(
        stand_ins={"autowu.detector.detect.Verdict.peak_at": least_alone}
    ),
    "evidence counts at the cap": Rule({"return_at_cap": False}),
    "weights go back": Rule({"rewind": False}),
    "no copy while the loss rises": Rule(stand_ins={"autowu.detector.trend.rising": _never}),
    "no copy while a few losses make the mean grow": Rule(
        stand_ins={"autowu.detector.trend.tail_grows": _never}
    ),
    "watch": Rule({"watch": None}),
    "watch: the least level of all of warm-up": Rule(
        stand_ins={f"{CONTROLLER}.ending.least_level": least_before}
    ),
    "watch: a rise by decades": Rule(stand_ins={f"{CONTROLLER}.phases.watch.DECADES": math.inf}),
    "watch: the data are blamed": Rule(stand_ins={f"{CONTROLLER}.phases.watch._cut_or_not": never_the_data}),
    "watch: after a cut the loss falls anew": Rule(
        stand_ins={f"{CONTROLLER}.phases.watch._cut": least_stays}
    ),
    "watch: the copy is renewed": Rule(stand_ins={f"{CONTROLLER}.phases.watch.RENEWED": math.inf}),
    "watch: not while the last losses rise": Rule(stand_ins={f"{CONTROLLER}.phases.watch._doubtful": _never}),
}
"""By what each says."""


@contextmanager
def removed(name: str | None) -> Iterator[Mapping[str, Any]]:
    """Within it the library is without that rule, given the settings that it yields; None: as it is."""
    rule = Rule() if name is None else RULES[name]
    with ExitStack() as stack:
        for target, stand_in in rule.stand_ins.items():
            stack.enter_context(mock.patch(target, stand_in))
        yield rule.settings
