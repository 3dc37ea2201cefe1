"""Tasks of which single seeds are lost: what a mean over a few runs of each kind does not show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

from torch import nn

from benchmarks.quality.kinds import finetune, images, plateau, rare, registry, sequence, tables
from benchmarks.quality.kinds.task import Kind, Task, Unit
from benchmarks.quality.rent.rules import RULES

Record = dict[str, Any]

RESULTS: Final = Path(__file__).parent / "hard.jsonl"

HALF: Final = 0.5
"""Of the way from a constant answer to the default's median run, for a run that is measured in accuracy."""


def _rare(share: float, batch: int, steps: int) -> Kind:
    make = partial(rare.RareExamples, share=share, batch=batch)
    return Kind(f"rare-{100 * share:g}%-{batch}", make, steps, "adamw", 1e-2, "loss")


RARE: Final = {
    kind.name: kind
    for kind in (
        _rare(share, batch, steps)
        for share, (batch, steps) in product((0.03, 0.01, 0.003), ((16, 1_000), (32, 2_500), (64, 800)))
    )
}

RAW: Final = {
    kind.name: kind
    for kind in (
        Kind("raw-wine", tables.RawTable, 1_000, "adamw", 1e-2, "%"),
        Kind("raw-tumours", partial(tables.RawTable, name="breast_cancer"), 1_000, "adamw", 1e-2, "%"),
        Kind("raw-wine-sgd", partial(tables.RawTable, optimizer="sgd"), 1_000, "sgd", 1e-4, "%"),
        Kind(
            "raw-tumours-sgd",
            partial(tables.RawTable, name="breast_cancer", optimizer="sgd"),
            1_000,
            "sgd",
            1e-4,
            "%",
        ),
        Kind("raw-houses-sgd", tables.Houses, 1_000, "sgd", 1e-8, "dB"),
    )
}


def _like(name: str, task: type[Task], steps: int, unit: Unit = "%", **attributes: Any) -> Kind:
    """A ``task`` with other ``attributes``."""
    made = type(name, (task,), attributes)
    return Kind(name, made, steps, made.optimizer, 1e-2, unit)


_SGD: Final = {"optimizer": "sgd", "weight_decay": 0.0}

SMALL: Final = {
    kind.name: kind
    for kind in (
        _like("parity-30", plateau.Parity, 2_000, signs=30, batch=32),
        _like("parity-24", plateau.Parity, 2_500, batch=16, width=64),
        _like("parity-20-sgd", plateau.Parity, 1_500, signs=20, batch=32, **_SGD),
        _like("parity-24-sgd", plateau.Parity, 800, batch=256, width=256, **_SGD),
        _like("parity-4-of-14-sgd", plateau.Parity, 2_500, signs=14, of=4, width=256, **_SGD),
        _like("sigmoids-sgd", plateau.DeepTanh, 800, layers=2, activation=nn.Sigmoid, momentum=0.0),
        _like("lstm-sgd", sequence.Recurrent, 600, "loss", clip=0.25, momentum=0.0, **_SGD),
        _like("digits-1", images.BatchesOf2, 2_000, batch=1),
        _like("digits-1-sgd", images.BatchesOf2, 2_000, batch=1, noise=0.4, **_SGD),
        _like("digits-2-sgd", images.BatchesOf2, 1_200, **_SGD),
        _like("clothes-1", images.BatchesOf8, 1_500, batch=1, noise=0.2, optimizer="adamw"),
        _like("clothes-4", images.BatchesOf8, 800, batch=4, noise=0.5, optimizer="adamw"),
        _like("more-images", finetune.MoreImages, 500),
        _like("more-images-sgd", finetune.MoreImages, 500, **_SGD),
        _like("more-text", finetune.MoreText, 500, "loss"),
        _like("more-text-in-thirtieths", finetune.MoreText, 500, "loss", units=1 / 30),
        _like("more-text-sgd", finetune.MoreText, 500, "loss", **_SGD),
    )
}

KINDS: Final = {**registry.KINDS, **RARE, **RAW, **SMALL}
"""By their names: those of the suite, nine with rare examples, five with raw inputs, seventeen small ones."""

GROUPS: Final = {
    "rare examples": tuple(RARE),
    "raw targets": ("raw-diabetes", "raw-thousands"),
    "raw inputs": tuple(RAW),
    "small": tuple(name for name in SMALL if not name.startswith("more-")),
    "trained before": tuple(name for name in SMALL if name.startswith("more-")),
    "plateaus, noise, adapters": ("deep-tanh", "parity-sgd", "noise-batch-2", "lora-gpt"),
}
"""The tasks of each column."""

_SEEDS: Final[dict[str, Sequence[int]]] = {
    "rare examples": range(32),
    "raw targets": range(100),
    "raw inputs": range(20),
    "small": range(10),
    "trained before": range(10),
    "plateaus, noise, adapters": range(5, 20),  # those before are in other tables
}

SEEDS: Final = {task: _SEEDS[group] for group, tasks in GROUPS.items() for task in tasks}


def write(found: list[Record]) -> str:
    """Markdown: a row for each rule that changes a run, and the lost runs with it and without."""
    default = {_key(each): each for each in found if each["rule"] is None}
    usual = _usual(default.values())
    heads = [f"{name} ({sum(key[0] in tasks for key in default)})" for name, tasks in GROUPS.items()]
    lines = [f"| without | {' | '.join(heads)} | lost |", "|---" * (len(heads) + 2) + "|"]
    counts = [
        sum(_lost(run, usual) for key, run in default.items() if key[0] in GROUPS[name]) for name in GROUPS
    ]
    lines.append(f"| *nothing* | {' | '.join(f'{count} lost' for count in counts)} | {sum(counts)} |")
    for rule in RULES:
        others = {_key(each): each for each in found if each["rule"] == rule and not each["same"]}
        others = {key: run for key, run in others.items() if run["score"] != default[key]["score"]}
        if not others:
            continue
        cells, total = list[str](), 0
        for tasks, before in zip(GROUPS.values(), counts, strict=True):
            here = {key: run for key, run in others.items() if key[0] in tasks}
            change = sum(_lost(run, usual) - _lost(default[key], usual) for key, run in here.items())
            cells.append(f"{len(here)} differ, {before + change} lost" if here else "–")
            total += before + change
        lines.append(f"| {rule} | {' | '.join(cells)} | {total} |")
    return "\n".join(lines)


def _key(record: Record) -> tuple[str, int]:
    return record["task"], record["seed"]


def _usual(default: Any) -> dict[str, float]:
    """Each task's median score."""
    scores = defaultdict[str, list[float]](list)
    for each in default:
        scores[each["task"]].append(-float("inf") if each["score"] is None else each["score"])
    return {task: median(values) for task, values in scores.items()}


def _lost(record: Record, usual: dict[str, float]) -> bool:
    """Whether the run diverged, ends below a constant answer or, in accuracy, less than halfway above it."""
    score, constant = record["score"], record["trivial"]
    if KINDS[record["task"]].unit == "%":
        constant += HALF * (usual[record["task"]] - constant)
    return score is None or score < constant
