"""What ``autowu train`` lets one choose, and the checks of it. Imports no framework until a run starts."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from autowu.config import Decay
from autowu.errors import UserError

Model = Literal["cnn", "mlp"]
Norm = Literal["batch", "layer"]
OptimizerName = Literal["adamp", "lamb", "adamw", "sgd"]
WeightDecayOn = Literal["matrices", "all"]
ScheduleName = Literal["autowu", "paper", "baseline"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field for each flag of ``autowu train``; ``None`` leaves the choice to what it belongs to.

    Raises:
        UserError: a value is out of range, or does not go with the schedule.
    """

    data: str = "digits"
    model: Model = "cnn"
    norm: Norm = "batch"

    epochs: int = 60
    batch_size: int = 128
    label_smoothing: float = 0.1
    seed: int = 0

    optimizer: OptimizerName = "adamp"
    weight_decay: float | None = None
    weight_decay_on: WeightDecayOn = "matrices"

    schedule: ScheduleName = "autowu"
    decay: Decay | None = None
    lr: float | None = None
    warmup_epochs: int | None = None

    out: str | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        _at_least(1, epochs=self.epochs, batch_size=self.batch_size, threads=self.threads)
        _at_least(0, seed=self.seed, weight_decay=self.weight_decay, warmup_epochs=self.warmup_epochs)
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"--label-smoothing must be in [0, 1), not {self.label_smoothing}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise UserError(f"--lr must be a number above 0, not {self.lr}")
        if self.norm == "batch" and self.batch_size == 1:
            raise UserError("--batch-size must be at least 2 with --norm batch, not 1")
        if self.seed >= 2**63:
            raise UserError(f"--seed must be below 2^63, not {self.seed}")
        if self.schedule == "baseline":
            if self.decay is not None:
                raise UserError("--decay is for --schedule autowu or paper; the baseline's decay is a cosine")
            if self.warmup >= self.epochs:
                raise UserError(
                    f"--epochs must be above the baseline's {self.warmup} epochs of warm-up "
                    f"(--warmup-epochs), not {self.epochs}"
                )
        else:
            for name in ("lr", "warmup_epochs"):
                if getattr(self, name) is not None:
                    raise UserError(f"{_flag(name)} is for --schedule baseline; AutoWU finds it by itself")

    @property
    def warmup(self) -> int:
        """Epochs of the baseline's warm-up: 5 in the paper."""
        return 5 if self.warmup_epochs is None else self.warmup_epochs

    @property
    def folder(self) -> Path:
        """The run folder."""
        return (
            Path(self.out)
            if self.out is not None
            else Path("runs", f"{Path(self.data).stem}-{self.schedule}")
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``autowu train``."""
    parser.description = "Train an image classifier, with the learning rate set by AutoWU or by a baseline."

    group = parser.add_argument_group("task")
    group.add_argument(
        "--data",
        metavar="digits|FILE.npz",
        help="digits, which is built in, or a file of the arrays x_train, y_train, x_test and y_test "
        "(default: %(default)s)",
    )
    group.add_argument("--model", choices=get_args(Model), help="(default: %(default)s)")
    group.add_argument("--norm", choices=get_args(Norm), help="BatchNorm or LayerNorm (default: %(default)s)")

    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, metavar="N", help="(default: %(default)s)")
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="B",
        help="images in an update; those left over at an epoch's end sit it out (default: %(default)s)",
    )
    group.add_argument("--label-smoothing", type=float, metavar="X", help="in [0, 1) (default: %(default)s)")
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of weights, order of the data and AutoWU's subsets (default: %(default)s)",
    )

    group = parser.add_argument_group("optimizer")
    group.add_argument("--optimizer", choices=get_args(OptimizerName), help="(default: %(default)s)")
    group.add_argument("--weight-decay", type=float, metavar="X", help="(default: 0.1; sgd: 0.0005)")
    group.add_argument(
        "--weight-decay-on",
        choices=get_args(WeightDecayOn),
        help="matrices leaves out biases and the gains of norms (default: %(default)s)",
    )

    group = parser.add_argument_group("schedule")
    group.add_argument(
        "--schedule",
        choices=get_args(ScheduleName),
        help="AutoWU's default preset, AutoWU exactly as in the paper, or the paper's baseline: linear "
        "warm-up to lr × √(batch size / 256), then a cosine to 0 (default: %(default)s)",
    )
    group.add_argument(
        "--decay",
        choices=get_args(Decay),
        help="shape of AutoWU's decay phase (default: autowu: linear; paper: cosine)",
    )
    group.add_argument(
        "--lr",
        type=float,
        metavar="X",
        help="the baseline's LR at batch size 256 (default: adamp and adamw: 0.001; lamb: 0.01; sgd: 0.1)",
    )
    group.add_argument("--warmup-epochs", type=int, metavar="N", help="of the baseline (default: 5)")

    group = parser.add_argument_group("run")
    group.add_argument(
        "--out",
        metavar="DIR",
        help="the run folder, for run.json and log.jsonl (default: runs/DATA-SCHEDULE)",
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads; a result can depend on their number in its last digits (default: %(default)s)",
    )

    parser.set_defaults(**{field.name: field.default for field in fields(Settings)})


def run(args: argparse.Namespace) -> int:
    """Train as ``args`` says; the exit status, 0.

    Raises:
        UserError: the settings, the data or the run folder cannot be used. Nothing has been written then.
    """
    settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
    from autowu.train.loop import train

    train(settings)
    return 0


def _at_least(low: int, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not low <= value < math.inf:
            raise UserError(f"{_flag(name)} must be at least {low}, not {value}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
