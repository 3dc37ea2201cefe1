"""Which column of a log is the loss, the step, the learning rate: by name, and never by a guess."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from autowu.errors import UserError

# In order of preference, in lower case, with `/` for every separator. Validation losses are never taken.
LOSS: Final = (
    *("loss", "train/loss", "training/loss", "loss/train", "loss/training", "train/loss/step"),
    *("batch/loss", "loss/step", "train/loss/epoch", "autowu/loss", "train/train/loss"),
)
STEP: Final = (
    "step",
    "/step",
    "global/step",
    "trainer/global/step",
    "train/global/step",
    "iteration",
    "iter",
)
LR: Final = ("lr", "learning/rate", "train/learning/rate", "train/lr", "autowu/learning/rate", "lr/train")


class Choice(NamedTuple):
    """Columns named by the user; None leaves it to their names."""

    loss: str | None = None
    lr: str | None = None


@dataclass(frozen=True)
class Columns:
    """Places of the columns in a row."""

    loss: int
    step: int | None
    lr: int | None


def choose(columns: Sequence[str], name: str, choice: Choice) -> Columns:
    """The places of loss, step and LR among ``columns`` of the file ``name``.

    Raises:
        UserError: no column is the loss, or several could be; the message lists them and names the flag.
    """
    for column in ("loss", "step"):
        if columns.count(column) > 1:
            raise UserError(f"{name}: {columns.count(column)} columns {column}; there must be one")
    step = _first(columns, STEP)
    return Columns(
        loss=_loss(columns, name, choice.loss),
        step=step[0] if step else None,
        lr=_lr(columns, name, choice.lr),
    )


def _loss(columns: Sequence[str], name: str, wanted: str | None) -> int:
    if wanted is not None:
        return _named(columns, name, wanted, "--loss-column")
    if "loss" in columns:
        return columns.index("loss")
    found = _first(columns, LOSS)
    if len(found) > 1:
        which = listed([columns[i] for i in found])
        raise UserError(f"{name}: several columns could be the loss: {which}; name one with --loss-column")
    if not found:
        raise UserError(f"{name}: no column loss among {listed(columns)}; name it with --loss-column")
    return found[0]


def _lr(columns: Sequence[str], name: str, wanted: str | None) -> int | None:
    if wanted is not None:
        return _named(columns, name, wanted, "--lr-column")
    found = _first(columns, LR) or [
        i for i, column in enumerate(columns) if _plain(column).startswith(("lr/", "autowu/lr"))
    ]
    return found[0] if len(found) == 1 else None


def _named(columns: Sequence[str], name: str, wanted: str, flag: str) -> int:
    if wanted not in columns:
        raise UserError(f"{name}: no column {shown(wanted)} ({flag}) among {listed(columns)}")
    return columns.index(wanted)


def _first(columns: Sequence[str], names: Sequence[str]) -> list[int]:
    """The columns that have the most preferred of ``names`` that occurs."""
    plain = [_plain(column) for column in columns]
    for wanted in names:
        if found := [i for i, column in enumerate(plain) if column == wanted]:
            return found
    return []


def _plain(column: str) -> str:
    """'my-run - train/Loss' (as Weights & Biases exports it) and 'train_loss' -> 'train/loss'."""
    return re.sub(r"[\s_/.:-]+", "/", column.rpartition(" - ")[2].strip().lower())


def shown(text: str) -> str:
    """``text`` in quotes, of bearable length."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def listed(names: Sequence[str]) -> str:
    """Some of ``names``, and how many there are more."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(shown, names[:20])) + more
