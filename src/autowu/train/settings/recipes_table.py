"""The recipes as a table: on a terminal for ``--list-recipes``, and as the page docs/recipes.md.

``python -m autowu.train.settings.recipes_table > docs/recipes.md`` writes the page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

from autowu.config import Config
from autowu.text import columns
from autowu.train.settings.recipes import RECIPES, Recipe

COLUMNS: Final = (
    "recipe",
    "from",
    "data",
    "model",
    "optimizer",
    "η_base",
    "weight decay",
    "length",
    "batch size",
    "augmentation",
    "label smoothing",
    "drop path",
)

COMMON: Final = (
    ("AdamP", "β₁ 0.9, β₂ 0.999, ε 1e-8, δ 0.1 (Appendix A)"),
    ("LAMB", "β₁ 0.9, β₂ 0.999, ε 1e-6 (Appendix A)"),
    ("--schedule baseline", "5 epochs from 0 to η_base √(batch size / 256), then a cosine to 0 (Section 3)"),
    ("augmentation cifar", "AutoAugment, crop and flip, Cutout (Appendix A)"),
    ("augmentation imagenet-pca", "random crop and flip, and AlexNet's colour noise (Appendix A)"),
    ("augmentation deit", "as Touvron et al., 2020 (Appendix B)"),
    ("seeds", "three for CIFAR, one for ImageNet (Appendix A): --seed 0, 1, 2"),
)

OPEN: Final = (
    (
        "which parameters the weight decay applies to",
        "all but biases and the gains of norms; --weight-decay-on all is the other choice",
    ),
    ("the precision", "float32"),
    ("for ViT-S/16 how much stochastic depth there is", "0.1, as in Touvron et al., 2020"),
)
"""What the paper leaves open, and what is taken."""


def rows() -> list[tuple[str, ...]]:
    """A row of :data:`COLUMNS` for each recipe."""
    return [_row(name, recipe) for name, recipe in RECIPES.items()]


def _row(name: str, recipe: Recipe) -> tuple[str, ...]:
    chosen: dict[str, Any] = {"label_smoothing": 0.1, "drop_path": 0.0, "augment": "none", **recipe.settings}
    needs = "FILE.txt" if chosen["model"] == "gpt" else "DIR"
    length = f"{chosen['steps']:,} updates" if "steps" in chosen else f"{chosen['epochs']} epochs"
    sizes = recipe.batch_sizes or (chosen["batch_size"],)
    return (
        name,
        recipe.about,
        chosen.get("data", needs),
        chosen["model"],
        chosen["optimizer"],
        f"{chosen['lr']:g}",
        f"{chosen['weight_decay']:g}",
        length,
        " ".join(map(str, sizes)),
        chosen["augment"],
        f"{chosen['label_smoothing']:g}",
        f"{chosen['drop_path']:g}",
    )


def common() -> list[tuple[str, str]]:
    """What all of the paper's recipes share, AutoWU's hyperparameters as the preset has them."""
    paper = Config.paper(total_steps=1000, steps_per_epoch=10)
    autowu = (
        f"η_min {paper.min_lr:g}, η_max {paper.max_lr:g}, ρ_w {paper.warmup_fraction:g}, n_test "
        f"{paper.subsets}, confidence {paper.confidence:g}, patience {paper.patience}, a test at each epoch's"
        f" end; GP: length-scale {paper.length_scale:g}, fit to {paper.fit_size} losses by 100 steps of Adam "
        f"with LR 0.01, inferred from {paper.subset_size}, P_min over 500 points (Section 2.1)"
    )
    decay = (
        f"cosine; or --decay constant-cosine, a cosine in the last {paper.cooldown_fraction:.0%} of the run "
        "(Section 2.2)"
    )
    return [*COMMON, ("--schedule paper", autowu), ("its decay", decay)]


NOTE: Final = (
    "The batch size of a recipe is the first of those that the paper has; --batch-size chooses another. "
    "Flags and --config override any setting. η_base is for the schedules baseline, one-cycle, constant and "
    "wsd. AutoWU finds its LR, and peers have their own."
)


ELSEWHERE: Final = (
    "`autowu train --list-recipes` prints this page. [train.md](train.md) says what else can be chosen."
)


def show() -> None:
    """Print the recipes: as a table, or one by one where that is too wide."""
    print(text(columns()))


def text(width: int | None) -> str:
    """The recipes for a terminal of ``width`` columns; None for any number of them."""
    table = [COLUMNS, *rows()]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    if width is not None and max(map(len, lines)) > width:
        lines = [line for row in rows() for line in _block(row, width)]
    rest = [f"{name}: {value}" for name, value in common()]
    return "\n".join([*lines, "", *(_wrapped(line, width) for line in [*rest, "", NOTE])])


def _block(row: Sequence[str], width: int) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in zip(COLUMNS[1:], row[1:], strict=True))
    return [row[0], *textwrap.wrap(facts, width, initial_indent="    ", subsequent_indent="    ")]


def _wrapped(line: str, width: int | None) -> str:
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return line if width is None else textwrap.fill(line, width, subsequent_indent="    ", **options)


def markdown() -> str:
    """The page docs/recipes.md."""
    return (
        "# Recipes\n\n"
        "    autowu train --recipe cifar10-resnet18 --schedule paper --batch-size 8192 --devices 4\n\n"
        f"{textwrap.fill(f'{_words(NOTE)} {ELSEWHERE}', 110)}\n\n"
        f"{_table(COLUMNS, rows())}\n"
        "What the paper's recipes share:\n\n"
        f"{_table(('', ''), common())}\n"
        "The paper leaves three things open:\n\n"
        f"{_table(('what', 'here'), OPEN)}"
    )


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(map(_words, line))} |\n" for line in lines)


def _words(text: str) -> str:
    """Flags in code quotes."""
    words = (
        f"`{word.rstrip(',;')}`{word[len(word.rstrip(',;')) :]}"
        if word.startswith("--") and len(word) > 3
        else word
        for word in text.split(" ")
    )
    return " ".join(words).replace("_", "\\_")


if __name__ == "__main__":
    print(markdown(), end="")
