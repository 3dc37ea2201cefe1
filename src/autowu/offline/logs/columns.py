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
EPOCH: Final = ("epoch",)
KIND: Final = ("split", "mode", "phase", "stage", "subset")
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
    epoch: int | None = None
    """Where nothing else numbers the rows: each may be of an epoch."""
    kinds: tuple[int, ...] = ()
    """Where a row may say that it is of an evaluation, not of training."""
    of_epochs: bool = False
    """Whether the loss is called one of an epoch, as Keras' loggers call it: `epoch_loss`."""
    own: bool = False
    """Whether AutoWU's callbacks have logged there."""
    notes: tuple[str, ...] = ()
    """What is not used, since its name leaves it open."""


def choose(columns: Sequence[str], name: str, choice: Choice) -> Columns:
    """The places of loss, step and LR among ``columns`` of the file ``name``.

    Raises:
        UserError: no column is the loss, or several could be; the message lists them and names the flag.
    """
    for column in ("loss", "step"):
        if columns.count(column) > 1:
            raise UserError(f"{name}: {columns.count(column)} columns {column}; there must be one")
    step, lrs = _first(columns, STEP), _lrs(columns, name, choice.lr)
    epoch = [] if step else _first(columns, EPOCH)
    loss = _loss(columns, name, choice.loss)
    return Columns(
        loss=loss,
        step=step[0] if step else None,
        lr=lrs[0] if len(lrs) == 1 else None,
        epoch=epoch[0] if epoch else None,
        kinds=tuple(i for i, column in enumerate(columns) if _plain(column) in KIND),
        of_epochs=_plain(columns[loss]).startswith("epoch/"),
        own=any(_plain(column).startswith("autowu/") for column in columns),
        notes=_open(columns, lrs),
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
        raise UserError(f"{name}: no column loss among {listed(columns)}; {_remedy(columns)}")
    return found[0]


def _remedy(columns: Sequence[str]) -> str:
    """What to do about ``columns`` of which none is the loss."""
    if len(columns) == 1 and re.search(r"[;\t|]| .*loss|loss .", columns[0]):
        return "the cells of a line must be separated by commas"
    numbers = [
        re.fullmatch(r"[-+\d.eE]*\d[-+\d.eE]*|nan|inf", word) for column in columns for word in column.split()
    ]
    if all(numbers):
        commas = ", and commas separate their cells" if len(numbers) > len(columns) else ""
        return f"the first line must name the columns, one of them loss{commas}"
    return "name it with --loss-column"


def _lrs(columns: Sequence[str], name: str, wanted: str | None) -> list[int]:
    """The columns that could be the learning rate."""
    if wanted is not None:
        return [_named(columns, name, wanted, "--lr-column")]
    return _first(columns, LR) or [
        i for i, column in enumerate(columns) if _plain(column).startswith(("lr/", "autowu/lr"))
    ]


def _open(columns: Sequence[str], lrs: Sequence[int]) -> tuple[str, ...]:
    """What is to be said of several columns ``lrs`` that could be the learning rate."""
    if len(lrs) < 2:
        return ()
    which = listed([columns[i] for i in lrs])
    return (f"the recorded learning rates are not used: they could be {which}; name one with --lr-column",)


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
