"""The peak LR, held for as long as nobody says where the run ends; watched like the decay."""

from __future__ import annotations

from collections.abc import Callable

from autowu.config import Config
from autowu.controller.phases import watch
from autowu.controller.rate import after_switch
from autowu.controller.state import Stable, State, no_losses


def law(config: Config, state: State[Stable]) -> Callable[[int], float]:
    """The peak, times the factor of the last cut."""
    return after_switch(config, state.phase)


def next_read(config: Config, state: State[Stable]) -> int | None:
    """The end of the stretch; None where nobody looks."""
    return None if config.watch is None else state.read + watch.stretch(config, state)


def decide(config: Config, state: State[Stable]) -> State[Stable]:
    """Whether the loss has risen for good."""
    return watch.watched(config, state).replace(losses=no_losses())
