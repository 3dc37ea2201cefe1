"""``--dry-run``: what would run, how long it is, and what memory it takes; nothing is written or fetched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import nn

from autowu.errors import UserError
from autowu.text import columns, wrapped
from autowu.train import data, models, schedules
from autowu.train.data import Share, order
from autowu.train.data.order import Epochs
from autowu.train.data.task import Task
from autowu.train.dry_run import memory
from autowu.train.output import progress
from autowu.train.run import before, engine, processes
from autowu.train.schedules import Method
from autowu.train.settings.options import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Rows = list[tuple[str, str]]

SETS: Final[dict[str, tuple[int, int, tuple[int, ...], int]]] = {
    "fashion-mnist": (60_000, 10_000, (1, 28, 28), 10),
    "cifar10": (50_000, 10_000, (3, 32, 32), 10),
    "cifar100": (50_000, 10_000, (3, 32, 32), 100),
}
"""Training and test images, (channels, height, width) and classes of the sets that would be downloaded."""


UNITS: Final = ("B", "kB", "MB", "GB")


@dataclass(frozen=True)
class KnownSet:
    """What there is to know of a data set without having it; a :class:`Task` but for its batches."""

    name: str
    epochs: Epochs
    test_size: int
    input_shape: tuple[int, ...]
    classes: int
    kind: Literal["images"] = "images"
    samples: Literal["images"] = "images"

    @property
    def steps_per_epoch(self) -> int:
        """Updates in an epoch."""
        return self.epochs.steps

    @property
    def train_size(self) -> int:
        """Training images."""
        return self.epochs.train_size

    @property
    def per_update(self) -> float:
        """Images in an update."""
        return self.epochs.per_update

    def size(self, update: int) -> int:
        """Images in ``update``."""
        return len(self.epochs.rows(update))

    @property
    def description(self) -> str:
        """One line for a person."""
        shape = " × ".join(map(str, self.input_shape))
        return (
            f"{self.name}: {self.train_size:,} training and {self.test_size:,} test images of {shape}, "
            f"{self.classes} classes"
        )


def show(settings: Settings, *, resume: bool = False) -> None:
    """Print what ``settings`` would run, and why it would be refused in its run folder, if it would.

    The model and its optimizer's state are made in the memory of this machine, and the data are read; nothing
    is learnt.

    Raises:
        UserError: the settings, the data or the machine do not allow the run.
    """
    fabric = processes.fabric_for(settings)
    task = _task(settings, Share(0, _world(fabric)))
    total = engine.updates(settings, task)
    model = models.build(settings, task)
    method = schedules.build(settings, model, total_steps=total, steps_per_epoch=task.steps_per_epoch)
    share = settings.batch_size // _world(fabric)
    rows = [
        *_what(settings, task, model, method),
        *_length(settings, task, total, share),
        *_machine(settings, fabric, share),
        *_memory(settings, task, model, method, _world(fabric)),
    ]
    if (reason := before.refusal(settings, resume=resume)) is not None:
        rows.append(("but nothing would run", reason))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(*wrapped(f"{name:{width}}  {value}".rstrip(), columns(), width + 2), sep="\n")
    print("nothing was run, and nothing written")


def _task(settings: Settings, share: Share) -> Any:
    """The data; of those that a run would download, what is known of them."""
    if settings.data not in SETS:
        return data.load(settings, share=share)
    if settings.augment not in data.AUGMENTS["images in memory"]:
        raise UserError(f"--augment {settings.augment} is not for {settings.data}")
    train_size, test_size, shape, classes = SETS[settings.data]
    epochs = order.epochs(train_size, settings, share)
    return KnownSet(settings.data, epochs, test_size, shape, classes)


def _what(settings: Settings, task: Task, model: nn.Module, method: Method) -> Rows:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    groups = method.optimizer.param_groups
    decays = sorted({f"{group.get('weight_decay', 0):g}" for group in groups}, reverse=True)
    optimizer = f"{type(method.optimizer).__name__}, weight decay {' and '.join(decays)}"
    names = ("preset", "growth", "base_lr", "peak_lr", "lr", "warmup_steps", "warmup_fraction", "decay")
    known = {name: method.settings[name] for name in names if name in method.settings}
    chosen = [f"{name.replace('_', ' ')} {_short(value)}" for name, value in known.items()]
    augment = "" if settings.augment == "none" else f"; augmentation {settings.augment}"
    return [
        ("data", f"{task.description}{augment}"),
        ("model", f"{settings.model_name}, {parameters:,} parameters"),
        ("optimizer", optimizer),
        ("schedule", f"{settings.schedule}: {', '.join(chosen)}" if chosen else settings.schedule),
    ]


def _length(settings: Settings, task: Task, total: int | None, share: int) -> Rows:
    per_epoch = task.steps_per_epoch
    epochs = f" ({progress.epochs(total, per_epoch)})" if per_epoch and total else ""
    updates = "until the loss has stopped falling" if total is None else f"{total:,}{epochs}"
    every = engine.evaluation_interval(settings, task, total)
    count = "" if total is None else f"{math.ceil(total / every):,}, "
    saved = settings.checkpoint_every
    micro = settings.micro_batch_size or share
    return [
        ("updates", f"{updates}, of {_samples(settings, task)}"),
        ("micro-batches", f"{math.ceil(share / micro):,} of at most {micro:,} samples, in each process"),
        ("evaluations", f"{count}one every {_every(every)}"),
        (
            "checkpoints",
            f"every {_every(saved)}"
            if saved
            else "at evaluations, at most one in 30 seconds, and at the end",
        ),
        ("run folder", f"{settings.folder}"),
    ]


def _every(count: int) -> str:
    return "update" if count == 1 else progress.updates(count)


def _samples(settings: Settings, task: Task) -> str:
    """Of an update: 16,384 images, the last of an epoch of 848."""
    if task.steps_per_epoch is None:
        return f"{task.per_update:,} {task.samples}"
    last = task.size(task.steps_per_epoch - 1)
    fewer = f", the last of an epoch of {last:,}" if last < settings.batch_size else ""
    return f"{settings.batch_size:,} {task.samples}{fewer}"


def _machine(settings: Settings, fabric: Fabric, share: int) -> Rows:
    world = _world(fabric)
    strategy = "" if world == 1 else f", {'ddp' if settings.strategy == 'auto' else settings.strategy}"
    device = fabric.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    count = f"{world:,} process{'es' if world > 1 else ''}{strategy}, {share:,} samples of an update each"
    return [("processes", f"{count}, on {name}, {settings.precision}")]


def _memory(settings: Settings, task: Task, model: nn.Module, method: Method, world: int) -> Rows:
    """The rows of the estimate. ``model`` is used up."""
    split = world if settings.strategy == "fsdp" else 1
    own, buffers = memory.bytes_of(*model.parameters()) // split, memory.bytes_of(*model.buffers())
    state = memory.optimizer_state(method) // split
    config = getattr(method.schedule, "config", None)
    rewinds = bool(getattr(config, "rewind", False))
    on_device = (
        (task.train_size + task.test_size) * math.prod(task.input_shape)
        if isinstance(task, KnownSet)
        else memory.bytes_of(vars(task))
    )
    micro = settings.micro_batch_size or settings.batch_size // world
    kept, back = memory.activations(
        model,
        (micro, *task.input_shape),
        text=task.kind == "text",
        half=settings.precision != "32-true",
    )
    parts: Mapping[str, int] = {
        "parameters and buffers": own + buffers,
        "gradients": own,
        "optimizer state": state,
        "copy for rewinding": own + state + buffers if rewinds else 0,
        "data": on_device,
        "activations of a micro-batch": kept,
        "their gradients": back,
    }
    total = sum(parts.values())
    rows = [(f"  {name}", f"{_size(size):>9}") for name, size in parts.items() if size]
    return [("memory", f"{_size(total)} on each device, estimated, PyTorch itself not counted:"), *rows]


def _world(fabric: Fabric) -> int:
    """Processes that would be started, or that a launcher has started."""
    strategy: Any = fabric.strategy
    return len(getattr(strategy, "parallel_devices", None) or [0]) * int(getattr(strategy, "num_nodes", 1))


def _size(size: int) -> str:
    """12.3 MB; units of 1,000."""
    power = next((power for power in range(3) if size < 1000 ** (power + 1)), 3)
    shown = size / 1000**power
    return f"{shown:,.0f} {UNITS[power]}" if shown >= 1000 else f"{shown:.3g} {UNITS[power]}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value or progress.NOTHING)
