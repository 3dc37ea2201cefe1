"""The workloads: real data, each a few seconds a run on one core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

SHAKESPEARE: Final = "shakespeare.txt"


@dataclass(frozen=True)
class Workload:
    """A task on which every method is run."""

    name: str
    source: str
    """The full set: a file of the data folder, or 'digits'."""
    train: int
    """Images to learn from, or characters."""
    validation: int
    """Images, or characters, that choose between trials; taken from the full set's training part."""
    test: int
    """Images, or characters, that methods are compared on."""
    settings: dict[str, Any] = field(hash=False)
    """Of :class:`autowu.train.options.Settings`."""
    pool: int = 1
    """Images are averaged over squares of so many pixels a side."""
    held_out: bool = False
    """Never looked at while constants were chosen."""

    @property
    def file(self) -> str:
        """The data file that ``prepare`` writes; its test part is validation, then test."""
        return f"{self.name}.{'txt' if self.is_text else 'npz'}"

    @property
    def is_text(self) -> bool:
        """Whether the measure is the loss in nats a character (lower is better); else it is accuracy."""
        return self.source.endswith(".txt")

    @property
    def optimizer(self) -> str:
        """Its name."""
        return str(self.settings["optimizer"])


def _images(model: str, optimizer: str, batch_size: int, epochs: int, **more: Any) -> dict[str, Any]:
    chosen = {"model": model, "optimizer": optimizer, "batch_size": batch_size, "epochs": epochs}
    return chosen | more


def _text(optimizer: str, steps: int, **more: Any) -> dict[str, Any]:
    chosen = {"model": "gpt", "optimizer": optimizer, "batch_size": 8, "context": 64, "steps": steps}
    return chosen | {"label_smoothing": 0.0} | more


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload(
            "fashion-mlp-layernorm-adamw",
            "fashion-mnist.npz",
            *(10_000, 5_000, 10_000),
            _images("mlp", "adamw", 500, 20, norm="layer"),
        ),
        Workload(
            "fashion-mlp-batchnorm-adamp",
            "fashion-mnist.npz",
            *(10_000, 5_000, 10_000),
            _images("mlp", "adamp", 1000, 30),
        ),
        Workload(
            "cifar10-cnn-adamp",
            "cifar10.npz",
            *(8_000, 4_000, 8_000),
            _images("cnn", "adamp", 200, 8),
            pool=4,
        ),
        Workload("shakespeare-gpt-adamw", SHAKESPEARE, 540_000, 20_000, 40_000, _text("adamw", 500)),
        Workload("shakespeare-gpt-lamb", SHAKESPEARE, 540_000, 20_000, 40_000, _text("lamb", 500)),
        Workload("digits-cnn-adamw", "digits", 1_000, 397, 400, _images("cnn", "adamw", 100, 30)),
        Workload(
            "fashion-mlp-batchnorm-sgd",
            "fashion-mnist.npz",
            *(10_000, 5_000, 10_000),
            _images("mlp", "sgd", 500, 20),
            held_out=True,
        ),
        Workload(
            "cifar100-cnn-lamb",
            "cifar100.npz",
            *(8_000, 4_000, 8_000),
            _images("cnn", "lamb", 200, 8),
            pool=4,
            held_out=True,
        ),
        Workload(
            "digits-vit-adamw", "digits", 1_000, 397, 400, _images("vit", "adamw", 50, 12), held_out=True
        ),
    )
}
