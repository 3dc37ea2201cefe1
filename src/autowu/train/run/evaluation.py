"""What an evaluation says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evaluation:
    """What is known after an evaluation, as ``log.jsonl`` has it."""

    step: int
    """Updates done."""
    epoch: int | None
    """Epochs done; None where the data have none."""
    train_loss: float
    """Mean over the updates since the last evaluation, label smoothing and augmentation included."""
    test_loss: float
    """Mean cross-entropy of a test sample, without label smoothing."""
    test_accuracy: float
    """A fraction."""
    lr: float
    """LR of the last update."""
    phase: str
    """Phase of the last update."""
    samples_per_second: float
    """Images or tokens, in training alone, without evaluations and checkpoints."""
