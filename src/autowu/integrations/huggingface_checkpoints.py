"""What the Trainer's checkpoints hold of AutoWU's schedule, and whether a run can go on from it."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from transformers import TrainerState

from autowu.integrations.saved import check_keys
from autowu.integrations.sharded import PerRank

FILE: Final = "scheduler.pt"  # the Trainer's own, in its checkpoints
FIRST_STEP: Final = "first_step"


class Checkpoint(PerRank):
    """With the step that the run was planned at, without which its length could not be told again."""

    def __init__(self, first_step: int, *args: Any) -> None:
        super().__init__(*args)
        self._first_step = first_step
        self.loaded = False
        """Whether the Trainer has loaded it."""

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's, and that step."""
        return super().state_dict() | {FIRST_STEP: self._first_step}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse."""
        self.loaded = True
        super().load_state_dict({key: value for key, value in state_dict.items() if key != FIRST_STEP})


@contextmanager
def standing_in(trainer: Any, other: Any) -> Generator[None]:
    """Have ``trainer`` save or load ``other`` in place of its scheduler."""
    scheduler, trainer.lr_scheduler = trainer.lr_scheduler, other
    try:
        yield
    finally:
        trainer.lr_scheduler = scheduler


class Nothing:
    """In place of a scheduler whose state is of no use."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Leave it."""


def saved_in(checkpoint: str) -> Any:
    """What the checkpoint has of the scheduler, without reading its tensors; None if it has nothing."""
    path = os.path.join(checkpoint, FILE)
    if not os.path.isfile(path):
        return None
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def why_anew(saved: object) -> str | None:
    """Why no run can go on with the LR of ``saved``; None if it is a state of AutoWU."""
    if saved is None:
        return f"the checkpoint has no {FILE} to go on with the LR from, as with save_only_model"
    try:
        check_keys(saved, "version", "config")
    except ValueError:
        return f"{FILE} in the checkpoint is of another scheduler, whose LR cannot be gone on with"
    return None


def updates_done(checkpoint: str) -> int:
    """The Trainer's ``global_step`` when it saved; 0 if that is not known."""
    path = os.path.join(checkpoint, "trainer_state.json")
    return TrainerState.load_from_json(path).global_step if os.path.isfile(path) else 0
