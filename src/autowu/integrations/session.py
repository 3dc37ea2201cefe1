"""What every host shares: the controller's state, when it decides, and what follows for the weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Final, Protocol

import numpy as np

from autowu.arrays import Array
from autowu.config import Config
from autowu.controller import horizon, machine, plain
from autowu.controller.state import AfterSwitch, Grow, Phase, State
from autowu.integrations.logged import RunLog
from autowu.integrations.saved import check_count, check_origin
from autowu.integrations.warned import warnings_of

VERSION: Final = 4  # of the state

LATER_ENDS: Final = 3  # cooldowns asked for in a row, update by update, until it is told that this never ends


class Weights(Protocol):
    """What a host keeps for rewinding: at most one snapshot of all that training changes."""

    def kept(self) -> bool:
        """Whether there is a snapshot."""
        ...

    def take(self) -> bool:
        """Keep a snapshot of now in place of the one before; False, and nothing done, if it is worthless."""
        ...

    def restore(self) -> str | None:
        """Put the snapshot back, if there is one; if not all of it fits, nothing is done: why not."""
        ...

    def drop(self) -> None:
        """Forget it."""
        ...


class Session:
    """Holds the state of a run, and turns the losses between two decisions into the next state.

    A host counts its updates in ``step``, and hands the losses over when a decision is due.
    """

    def __init__(self, asked: Config, config: Config | None = None, *, log: RunLog | None = None) -> None:
        self.asked = asked  # by the host
        self.config = config or asked  # that the run began with
        self.log = log
        self.step = 0  # updates done
        self.loaded_at = 0  # of them, those of before the checkpoint that was loaded
        self.nonfinite = 0  # of them, those up to the last decision whose loss was not finite
        self._deciding = False
        self._later_ends, self._last_cooldown = 0, -1
        self._asked_meanwhile: list[Callable[[], None]] = []
        self.enter(machine.start(self.config))

    def enter(self, state: State[Phase], nonfinite: int | None = None) -> None:
        """From now on, until the next decision, this is the state; ``nonfinite`` as the attribute, if new."""
        lr_function = machine.lr_function(self.config, state)
        due = machine.next_read(self.config, state)  # the step of the next decision; None: never
        count = self.nonfinite if nonfinite is None else nonfinite
        # At once: Ctrl-C in between would leave the LR of one state with another. With ``logs_only`` nothing
        # is decided any more, and losses are logged alone.
        self.state, self.lr_function, self.nonfinite, self.due, self.logs_only = (
            state, lr_function, count, due, due is None
        )  # fmt: skip
        if self.log is not None:
            self.log.entered(self)
            self.due = self.log.next_read(self) if due is None else due

    @property
    def total_steps(self) -> int | None:
        """T, as it is planned by now; None: no end is known."""
        return self.state.horizon.end

    @property
    def learning_rate(self) -> float:
        """η of the next update."""
        return self.lr_function(self.step)

    def overrun(self) -> str | None:
        """What to warn of at the first update after the last, else None."""
        if self.total_steps is None or self.step != self.total_steps + 1:
            return None
        return (
            f"AutoWU was made for total_steps={self.total_steps} updates, and there are more: the LR"
            f" stays at {self.learning_rate:.3g}. It is the number of all updates of the run, not of epochs."
        )

    # --- the end of the run ---------------------------------------------------------------------------

    def extend(self, total_steps: int) -> None:
        """The run ends after ``total_steps`` updates: :func:`autowu.controller.horizon.extended`."""
        after = horizon.extended(self.config, self.state, self.step, total_steps)
        if self._deciding:  # by a signal's handler, or another thread
            self._asked_meanwhile.append(lambda: self.extend(total_steps))
        else:
            self.enter(after)

    def cooldown(self, steps: int, *, within_update: bool = False) -> None:
        """The LR falls to zero in ``steps`` updates: :func:`autowu.controller.horizon.cooled`.

        In warm-up that is a decision, which may be due at once.
        """
        before = self.state.horizon
        after = horizon.cooled(self.config, self.state, self.step, steps, within_update=within_update)
        if self._deciding:
            self._asked_meanwhile.append(lambda: self.cooldown(steps, within_update=within_update))
            return
        self.enter(after)
        under_way = self.state.switch is not None and before.ends and before.ends[-1].cooldown
        later = under_way and (self.total_steps or 0) > (before.end or 0)
        in_a_row, self._last_cooldown = self.step == self._last_cooldown + 1, self.step
        self._later_ends = self._later_ends + 1 if later and in_a_row else 0
        if self._later_ends == LATER_ENDS:
            warnings.warn(
                f"AutoWU: cooldown({steps}) was called at step {self.step}, in a cooldown that was to end at"
                f" step {before.end}: it ends at step {self.total_steps} now. A condition that stays true,"
                " asked at each update, moves the end on for ever.",
                stacklevel=3,
            )

    @property
    def deciding(self) -> bool:
        """Whether a decision is being taken just now."""
        return self._deciding

    def decide(
        self,
        losses: Array,
        weights: Weights,
        for_all: Callable[[Callable[[], State[Phase]]], State[Phase]] = lambda decide: decide(),
    ) -> Iterator[str]:
        """Let the controller decide, and see that the weights follow.

        Args:
            losses: of the updates since the last decision [n].
            weights: the host's.
            for_all: calls what it is given, in one of several processes, and returns the outcome in each.

        Returns:
            What to warn of.
        """
        self._deciding = True
        try:
            return self._decide(losses, weights, for_all)
        finally:
            self._deciding = False
            while self._asked_meanwhile:
                self._asked_meanwhile.pop(0)()

    def _decide(
        self,
        losses: Array,
        weights: Weights,
        for_all: Callable[[Callable[[], State[Phase]]], State[Phase]],
    ) -> Iterator[str]:
        nonfinite = self.nonfinite + len(losses) - int(np.count_nonzero(np.isfinite(losses)))
        before = self.state
        if before.read == 0 and before.snapshot_step is not None and not weights.kept():
            before = before.replace(snapshot_step=None)  # none was taken before the first update
        after = for_all(lambda: machine.observe(self.config, before, losses))
        obstacle = weights.restore() if after.restores > before.restores else None
        if obstacle:
            after = not_rewound(after).replace(restores=before.restores)
        if after.snapshot_step == after.step and not weights.take():
            # The loss was finite, but the update after it broke the weights: the snapshot before is better.
            after = after.replace(snapshot_step=before.snapshot_step)
        known_nonfinite = self.nonfinite
        self.enter(after, nonfinite)
        if after.snapshot_step is None:
            weights.drop()
        return warnings_of(self.config, before, after, known_nonfinite, nonfinite, obstacle)

    def write_log(self, losses: Array) -> Iterator[str]:
        """After a decision, and what followed: write it down, if there is a log.

        Args:
            losses: as :meth:`decide` had them [n].

        Returns:
            What to warn of.
        """
        return iter(()) if self.log is None else self.log.write(self, losses)

    # --- checkpoints ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain values and NumPy arrays."""
        return {
            "version": VERSION,
            "config": asdict(self.config),
            "asked": self.asked.total_steps,
            "step": self.step,
            "nonfinite": self.nonfinite,
            "controller": plain.to_plain(self.state),
        }

    def loaded(self, saved: Mapping[str, Any], pending: int) -> Session:
        """The session of :meth:`to_dict`, with so many losses that wait for the next decision.

        If the host asks for another ``total_steps`` than it did when the state was saved, the run is extended
        to that. Else an end that was set since, by :meth:`extend` or :meth:`cooldown`, stays.

        Raises:
            ValueError: it is of another version or configuration, or damaged; the message names what differs.
                Or the run is over, or beyond the ``total_steps`` asked for.
            LookupError, TypeError: it is not what it should be.
        """
        config = check_origin(saved, VERSION, self.asked)
        for name in ("step", "nonfinite"):
            check_count(saved, name)
        if saved["asked"] is not None:
            check_count(saved, "asked")
        state = plain.from_plain(saved["controller"], config)
        step, nonfinite, known = saved["step"], saved["nonfinite"], state.step + pending
        if nonfinite > state.step:
            raise ValueError(
                f"nonfinite of the saved state must be an integer in [0, {state.step}], not {nonfinite!r:.80}"
            )
        session = Session(self.asked, config)
        session.step, session.nonfinite, session.loaded_at = step, nonfinite, step
        session.enter(state)
        if session.due is not None and known != step:
            raise ValueError(f"the saved state is of step {step}, but its losses go to step {known}")
        if session.due is not None and step > session.due:  # at it, it was interrupted
            raise ValueError(
                f"the saved state is of step {step}, but its decision of step {session.due} is missing"
            )
        if self.log is not None:
            session.log = self.log.again()
            session.enter(session.state)
        here = self.asked.total_steps
        if here is not None and here not in (saved["asked"], session.total_steps):
            session.extend(here)
        return session


def lacks_snapshot(session: Session, kept: bool) -> bool:
    """Whether a saved snapshot is missing, or one too many.

    Before the first decision there may be none: not every host can take it before the first update.
    """
    wanted = session.state.snapshot_step is not None
    return kept != wanted and (kept or session.state.read > 0)


def not_rewound(state: State[Phase]) -> State[Phase]:
    """``state`` where the host could not put the snapshot back."""
    phase = state.phase
    if isinstance(phase, Grow) and phase.broke is not None:  # what is known of the snapshot's weights is void
        return state.replace(phase=replace(phase, broke=replace(phase.broke, kept=None)))
    if not isinstance(phase, AfterSwitch):
        return state
    if phase.cuts:
        *before, last = phase.cuts
        return state.replace(phase=replace(phase, cuts=(*before, replace(last, back_to=None))))
    return state.replace(phase=replace(phase, switch=replace(phase.switch, rewound_to=None)))
