"""What ``autowu train`` lets one choose, and the checks of it. Imports no framework."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from autowu.arguments import meant
from autowu.config import Decay, Growth
from autowu.errors import UserError

Norm = Literal["batch", "layer"]
Tokens = Literal["char", "byte"]
Augment = Literal["none", "crop-flip", "cifar", "imagenet", "imagenet-pca", "deit"]
OptimizerName = Literal["adamp", "lamb", "adamw", "sgd", "muon"]
WeightDecayOn = Literal["matrices", "all"]
OwnSchedule = Literal["autowu", "paper", "baseline", "one-cycle", "constant", "wsd"]
Peer = Literal[
    "nadamw",
    "schedule-free",
    "prodigy",
    "d-adaptation",
    "mechanic",
    "l-dog",
    "momo",
    "gen",
    "lr-finder",
    "greedy",
    "salsa",
]
Accelerator = Literal["auto", "cpu", "gpu"]
Strategy = Literal["auto", "ddp", "fsdp"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Logger = Literal["tensorboard", "wandb", "mlflow"]

SCHEDULES: tuple[str, ...] = (*get_args(OwnSchedule), *get_args(Peer))
AUTOWU: tuple[str, ...] = ("autowu", "paper")
UNSHARDED: tuple[str, ...] = tuple(name for name in get_args(Peer) if name != "nadamw")
EPOCHS = 60  # of a data set that has epochs, if neither --epochs nor --steps is given
LARGEST: Final = 2**31 - 1
"""Of all whole numbers but the seed: more than anybody has of anything, and PyTorch can count so far."""
STRONGEST: Final = 1e30
"""Of all other numbers: beyond, an LR times its scale is no number of 32 bits."""
MOST: Final[dict[str, int]] = {"threads": 1_024, "workers": 1_024}
"""More of them than a machine has, it cannot start."""
IMAGE_SETS = ("digits", "fashion-mnist", "cifar10", "cifar100")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field for each flag of ``autowu train``; ``None`` leaves the choice to what it belongs to.

    Raises:
        UserError: a value is out of range, or does not go with another.
    """

    data: str = "digits"
    data_dir: str = "data"
    """Where the sets that torchvision knows are kept, and downloaded to."""
    workers: int = 2
    """Processes that decode images, for a folder of images; 0 decodes in the training process."""
    image_size: int = 224
    """Pixels; for a folder of images."""
    tokens: Tokens = "char"
    context: int = 128
    """Tokens; for a text."""
    augment: Augment = "none"
    label_smoothing: float = 0.1

    model: str | None = None
    """None: 'cnn' for images, 'gpt' for a text."""
    norm: Norm = "batch"
    drop_path: float = 0.0
    """Stochastic depth: the probability with which the last block is left out; earlier ones linearly less."""
    blocks: int | None = None
    """Depth of vit and gpt; None: the model's own, as for ``width`` and ``heads``."""
    width: int | None = None
    """Of the residual stream of vit and gpt, a multiple of the heads."""
    heads: int | None = None
    """Of the attention of vit and gpt."""

    epochs: int | None = None
    steps: int | None = None
    """Updates of the whole run, in place of ``epochs``; a text has no epochs."""
    until_plateau: bool = False
    """Train until the loss has stopped falling, in place of a length."""
    max_time: float | None = None
    """Minutes in which the command is to be done; the LR falls to zero in time."""
    batch_size: int = 128
    """Samples in an update, over all processes and micro-batches."""
    micro_batch_size: int | None = None
    """Samples that one process takes at a time; None: its whole share of the batch."""
    keep_last_batch: bool = False
    """Whether an epoch's last batch, of the n mod B images left over, is an update; else they sit it out."""
    clip_norm: float | None = None
    seed: int = 0
    eval_every: int | None = None
    """Epochs (for a text: updates) from one evaluation to the next."""

    optimizer: OptimizerName | None = None
    """None: 'adamp', but for a peer that is an optimizer itself, or that has another by default."""
    weight_decay: float | None = None
    weight_decay_on: WeightDecayOn = "matrices"
    lamb_clip: bool = True
    """Whether LAMB clips the gradient's global norm at 1, as timm and FusedLAMB do."""

    schedule: str = "autowu"
    growth: Growth | None = None
    decay: Decay | None = None
    set: dict[str, Any] = field(default_factory=dict[str, Any])
    """Other fields of :class:`autowu.Config` in place of the preset's."""
    lr: float | None = None
    warmup_epochs: int | None = None
    warmup_steps: int | None = None

    accelerator: Accelerator = "auto"
    devices: int | None = None
    """Processes on each node, one to a device; None: 1, or as many as the launcher has started."""
    nodes: int = 1
    strategy: Strategy = "auto"
    precision: Precision = "32-true"
    compile: bool = False
    channels_last: bool = False
    threads: int = 1

    out: str | None = None
    checkpoint_every: int | None = None
    """Updates from one checkpoint to the next; None: one at each evaluation."""
    logger: tuple[Logger, ...] = ()

    def __post_init__(self) -> None:
        _at_least(
            1,
            image_size=self.image_size,
            context=self.context,
            blocks=self.blocks,
            width=self.width,
            heads=self.heads,
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            micro_batch_size=self.micro_batch_size,
            eval_every=self.eval_every,
            devices=self.devices,
            nodes=self.nodes,
            threads=self.threads,
            checkpoint_every=self.checkpoint_every,
        )
        _at_least(
            0,
            workers=self.workers,
            seed=self.seed,
            weight_decay=self.weight_decay,
            warmup_epochs=self.warmup_epochs,
            warmup_steps=self.warmup_steps,
        )
        _above_zero(lr=self.lr, clip_norm=self.clip_norm, max_time=self.max_time)
        for name in ("label_smoothing", "drop_path"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UserError(f"{flag(name)} must be in [0, 1), not {value}")
        if self.seed >= 2**63:
            raise UserError(f"--seed must be below 2^63, not {self.seed}")
        for each in fields(self):
            value = getattr(self, each.name)
            most = MOST.get(each.name, LARGEST if isinstance(value, int) else STRONGEST)
            if each.name != "seed" and isinstance(value, (int, float)) and value > most:
                raise UserError(f"{flag(each.name)} must be at most {most:,}, not {value:,}")
        _one_of("schedule", self.schedule, SCHEDULES)
        if self.optimizer is None and self.schedule not in get_args(Peer):
            object.__setattr__(self, "optimizer", "adamp")
        if not self.lamb_clip and self.optimizer != "lamb":
            raise UserError(f"--no-lamb-clip is for --optimizer lamb, not {self.optimizer}")
        if self.strategy == "fsdp" and (self.optimizer == "muon" or self.schedule in UNSHARDED):
            name = "--optimizer muon" if self.optimizer == "muon" else f"--schedule {self.schedule}"
            raise UserError(
                f"--strategy fsdp does not go with {name}, which was never tried on parts of a model"
            )
        self._check_length()
        self._check_schedule()

    def _check_length(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise UserError("--epochs and --steps exclude each other: both say how long the run is")
        if self.epochs is not None and self.is_text:
            raise UserError("--epochs is for images; the length of a run over a text is --steps")
        if self.keep_last_batch and self.is_text:
            raise UserError("--keep-last-batch is for images; a text has no epochs")
        if self.until_plateau and (self.epochs is not None or self.steps is not None):
            given = "--epochs" if self.epochs is not None else "--steps"
            raise UserError(f"--until-plateau and {given} exclude each other: both say how long the run is")
        if self.until_plateau and self.decay == "plateau":
            raise UserError("--until-plateau cools the LR down, which --decay plateau does by itself")
        for name in ("until_plateau", "max_time"):
            if getattr(self, name) and self.schedule not in AUTOWU:
                raise UserError(f"{flag(name)} is for --schedule autowu or paper, not {self.schedule}")
        if self.norm == "batch" and self.batch_size == 1:
            raise UserError("--batch-size must be at least 2 with --norm batch, not 1")
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise UserError(
                f"--micro-batch-size must be at most --batch-size, {self.batch_size}, "
                f"not {self.micro_batch_size}"
            )

    def _check_schedule(self) -> None:
        if self.schedule not in AUTOWU:
            for name in ("growth", "decay", "set"):
                if getattr(self, name):
                    raise UserError(f"{flag(name)} is for --schedule autowu or paper, not {self.schedule}")
        else:
            for name in ("lr", "warmup_epochs", "warmup_steps"):
                if getattr(self, name) is not None:
                    raise UserError(f"{flag(name)} is not for --schedule {self.schedule}, which finds it")
        if self.warmup_epochs is not None and self.warmup_steps is not None:
            raise UserError("--warmup-epochs and --warmup-steps exclude each other")
        if self.warmup_epochs is not None and self.is_text:
            raise UserError("--warmup-epochs is for images; a text's warm-up is --warmup-steps")

    @property
    def is_text(self) -> bool:
        """Whether the data are a text, which has no epochs."""
        return self.data.endswith(".txt")

    @property
    def model_name(self) -> str:
        """The model, with the default resolved."""
        return self.model or ("gpt" if self.is_text else "cnn")

    @property
    def folder(self) -> Path:
        """The run folder."""
        if self.out is not None:
            return Path(self.out)
        name = re.sub(r"[^\w.-]+", "-", Path(self.data).stem).strip("-.") or "data"
        return Path("runs", f"{name}-{self.schedule}")


def flag(name: str) -> str:
    """The command-line flag of a field of :class:`Settings`."""
    return f"--{name.replace('_', '-')}"


def _at_least(low: int, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not low <= value < math.inf:
            raise UserError(f"{flag(name)} must be at least {low}, not {value}")


def _above_zero(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{flag(name)} must be a number above 0, not {value}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(
            f"{flag(name)} must be one of {', '.join(choices)}, not {value!r}{meant(value, choices)}"
        )
