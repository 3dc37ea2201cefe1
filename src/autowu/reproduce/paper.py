"""The cells of the paper's tables and figures, as one table, and the numbers that it reports for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from autowu.reproduce.cells import BASELINE, CONST_COS, COS, DEFAULT, Cell, Schedule, linear, slower, tuned

OF_CIFAR: Final = (256, 1024, 8192, 16384)
OF_IMAGENET: Final = (1024, 4096, 16384, 32768)
LARGE: Final = 16384
"""The batch size of Figures 5 and 6."""

TITLES: Final = {
    "cifar10-resnet18": "CIFAR-10 (ResNet-18)",
    "cifar100-wrn28-10": "CIFAR-100 (Wide-ResNet28-10)",
    "cifar10-resnet18-lamb": "CIFAR-10 (ResNet-18), LAMB",
    "cifar100-wrn28-10-lamb": "CIFAR-100 (Wide-ResNet28-10), LAMB",
    "imagenet-resnet50": "ImageNet (ResNet-50)",
    "imagenet-efficientnet-b0": "ImageNet (EfficientNet-B0)",
    "imagenet-vit-s16": "ImageNet (ViT-S/16)",
}
"""Tasks by their recipe."""


@dataclass(frozen=True)
class Number:
    """An accuracy in %, as a mean with its standard deviation where there are several seeds."""

    mean: float
    sd: float | None = None


@dataclass(frozen=True)
class Row:
    """One schedule on one task: a cell for each batch size (and seed).

    Args:
        task: the recipe.
        schedule: the row's.
        batch_sizes: its columns.
        numbers: the paper's; empty where it has none.
    """

    task: str
    schedule: Schedule
    batch_sizes: tuple[int, ...]
    numbers: tuple[Number, ...] = ()

    def number(self, batch_size: int) -> Number | None:
        """The paper's, of a column."""
        return self.numbers[self.batch_sizes.index(batch_size)] if self.numbers else None


@dataclass(frozen=True)
class Target:
    """A table or a figure: its title and its rows."""

    title: str
    rows: tuple[Row, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """In order, each once."""
        return tuple(dict.fromkeys(row.task for row in self.rows))

    def of(self, task: str) -> list[Row]:
        """The rows of a task."""
        return [row for row in self.rows if row.task == task]


def _row(task: str, schedule: Schedule, *numbers: str) -> Row:
    """``numbers`` as the paper prints them: '96.58 (0.07)'; none for what it does not have."""
    sizes = OF_CIFAR if task.startswith("cifar") else OF_IMAGENET
    found = [number.rstrip(")").split(" (") for number in numbers]
    return Row(task, schedule, sizes, tuple(Number(*map(float, parts)) for parts in found))


TABLE1: Final = Target(
    "Table 1: test accuracy (%), AdamP",
    (
        _row("cifar10-resnet18", BASELINE, "96.58 (0.07)", "96.48 (0.02)", "96.05 (0.15)", "94.63 (0.06)"),
        _row("cifar10-resnet18", CONST_COS, "96.26 (0.12)", "96.20 (0.03)", "95.92 (0.22)", "94.80 (0.17)"),
        _row("cifar10-resnet18", COS, "96.43 (0.02)", "96.42 (0.05)", "95.77 (0.01)", "94.03 (0.26)"),
        _row("cifar10-resnet18", DEFAULT),
        _row("cifar100-wrn28-10", BASELINE, "83.36 (0.38)", "83.13 (0.14)", "81.08 (0.33)", "77.62 (0.36)"),
        _row("cifar100-wrn28-10", CONST_COS, "83.36 (0.21)", "83.21 (0.19)", "82.32 (0.42)", "81.42 (0.35)"),
        _row("cifar100-wrn28-10", COS, "83.59 (0.46)", "83.39 (0.20)", "82.26 (0.60)", "80.25 (0.36)"),
        _row("cifar100-wrn28-10", DEFAULT),
        _row("imagenet-resnet50", BASELINE, "76.28", "76.10", "75.02", "74.11"),
        _row("imagenet-resnet50", CONST_COS, "76.31", "76.33", "75.62", "74.84"),
        _row("imagenet-resnet50", COS, "76.19", "75.70", "75.22", "74.40"),
        _row("imagenet-resnet50", DEFAULT),
    ),
)

_LAMB10, _LAMB100 = "cifar10-resnet18-lamb", "cifar100-wrn28-10-lamb"

TABLE2: Final = Target(
    "Table 2: test accuracy (%), LAMB",
    (
        _row(_LAMB10, BASELINE, "96.37 (0.16)", "96.39 (0.14)", "95.92 (0.09)", "95.36 (0.08)"),
        _row(_LAMB10, CONST_COS, "96.26 (0.09)", "96.17 (0.07)", "95.53 (0.13)", "94.47 (0.23)"),
        _row(_LAMB10, COS, "96.23 (0.14)", "96.14 (0.09)", "95.37 (0.10)", "94.19 (0.22)"),
        _row(_LAMB10, DEFAULT),
        _row(_LAMB100, BASELINE, "83.38 (0.15)", "83.61 (0.01)", "82.16 (0.19)", "79.99 (0.30)"),
        _row(_LAMB100, CONST_COS, "82.86 (0.16)", "83.11 (0.32)", "82.44 (0.11)", "79.36 (0.47)"),
        _row(_LAMB100, COS, "82.92 (0.33)", "82.88 (0.38)", "81.31 (0.06)", "77.57 (0.50)"),
        _row(_LAMB100, DEFAULT),
    ),
)

TABLE3: Final = Target(
    "Table 3: validation accuracy (%) on ImageNet, AdamP",
    (
        _row("imagenet-efficientnet-b0", BASELINE, "75.03", "76.00", "74.23", "75.17"),
        _row("imagenet-efficientnet-b0", CONST_COS, "74.58", "75.43", "75.01", "73.99"),
        _row("imagenet-efficientnet-b0", COS, "74.90", "75.81", "75.44", "74.34"),
        _row("imagenet-efficientnet-b0", DEFAULT),
        _row("imagenet-vit-s16", BASELINE, "79.37", "79.34", "77.39", "73.92"),
        _row("imagenet-vit-s16", CONST_COS, "77.65", "78.14", "75.67", "72.73"),
        _row("imagenet-vit-s16", COS, "79.01", "79.15", "76.95", "72.38"),
        _row("imagenet-vit-s16", DEFAULT),
    ),
)

_RHO: Final = (
    _row("imagenet-resnet50", slower(0.125), "75.89", "75.59", "74.52", "73.40"),
    _row("imagenet-resnet50", slower(0.25), "76.60", "76.04", "75.28", "73.89"),
    _row("imagenet-resnet50", slower(0.5), "76.19", "75.70", "75.22", "74.40"),
)

TABLE4: Final = Target("Table 4: validation accuracy (%) by ρ_w, AutoWU + cos", (*_RHO, TABLE1.rows[-1]))

PEAKS: Final = (0.002, 0.004, 0.008, 0.016, 0.032)
WARMUPS: Final = (5, 20, 40, 60)


def grid(peak: float, warmup_epochs: int) -> Schedule:
    """A cell of Figure 5; that of 0.008 and 5 epochs is the baseline of Table 1."""
    return BASELINE if (peak, warmup_epochs) == (0.008, 5) else tuned(peak, warmup_epochs)


def _of_figure5(schedule: Schedule) -> Row:
    known = {BASELINE: 75.02, CONST_COS: 75.62, COS: 75.22, tuned(0.016, 60): 75.84}
    numbers = (Number(known[schedule]),) if schedule in known else ()
    return Row("imagenet-resnet50", schedule, (LARGE,), numbers)


FIGURE5: Final = Target(
    "Figure 5: validation accuracy (%) by peak LR and warm-up of the baseline",
    tuple(
        map(_of_figure5, (*(grid(peak, n) for n in WARMUPS for peak in PEAKS), CONST_COS, COS, DEFAULT)),
    ),
)

FIGURE6: Final = Target(
    "Figure 6: linear and exponential growth",
    (
        Row("imagenet-resnet50", BASELINE, (LARGE,), (Number(75.02),)),
        Row("imagenet-resnet50", COS, (LARGE,), (Number(75.22),)),
        Row("imagenet-resnet50", linear(1.0), (LARGE,), (Number(29.65),)),
        Row("imagenet-resnet50", linear(0.1), (LARGE,), (Number(73.56),)),
    ),
)


def _curves(title: str, of: Target) -> Target:
    """The rows of Figures 2 to 4: the baseline and AutoWU with cosine decay."""
    return Target(title, tuple(row for row in of.rows if row.schedule in (BASELINE, COS)))


TARGETS: Final[dict[str, Target]] = {
    "table1": TABLE1,
    "table2": TABLE2,
    "table3": TABLE3,
    "table4": TABLE4,
    "figure2": _curves("Figure 2: LR and training loss, AdamP", TABLE1),
    "figure3": _curves("Figure 3: LR and training loss, LAMB", TABLE2),
    "figure4": _curves("Figure 4: LR and training loss on ImageNet", TABLE3),
    "figure5": FIGURE5,
    "figure6": FIGURE6,
    "figure7": Target("Figure 7: the peak LR by batch size and ρ_w", TABLE4.rows),
}


def cells(target: Target, seeds: dict[str, int]) -> Iterator[Cell]:
    """The cells of ``target``, one seed of all before the next.

    Args:
        target: a table or a figure.
        seeds: how many, of each task; a task that is not there has no cells.
    """
    for seed in range(max(seeds.values(), default=0)):
        for row in target.rows:
            if seed < seeds.get(row.task, 0):
                for size in row.batch_sizes:
                    yield Cell(row.task, size, row.schedule, seed)
