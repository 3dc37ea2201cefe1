"""The flags that say how a record is to be read and replayed: the same for `autowu replay` and `report`."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from autowu.config import Config, Decay, Preset
from autowu.errors import UserError
from autowu.offline.logs import Choice

SETTINGS: Final = (
    "steps_per_epoch",
    "seed",
    "min_lr",
    "max_lr",
    "warmup_fraction",
    "warmup_limit",
    "confidence",
    "patience",
    "decay",
    "test_growth",
    "subset_size",
    "length_scale",
)
"""Fields of Config with a flag of their own."""

OF_A_RUN: Final = ("total_steps", "min_lr", "max_lr", "warmup_fraction", "warmup_limit", "decay")
"""What a range test has no use for."""


@dataclass(frozen=True)
class Asked:
    """How a record is to be read and replayed."""

    total_steps: float | None = None
    """Updates of the whole run, or infinity; None: as the log says, or else those of the record."""
    preset: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of Config in place of the preset's."""
    sweep: bool | None = None
    """Whether the record is a range test; None: as its learning rates say."""
    choice: Choice = field(default_factory=Choice)

    def refuse_for_sweep(self) -> None:
        """Raises UserError where something is asked for that changes nothing of a range test's reading."""
        for flag in (*(["total_steps"] if self.total_steps is not None else []), *self.settings):
            if flag in OF_A_RUN:
                raise UserError(
                    f"--{flag.replace('_', '-')}: changes nothing of a learning-rate range test, which has "
                    "rates and a length of its own (--no-sweep if it is none)"
                )

    def flags(self) -> Iterator[str]:
        """The words of a command line that ask for the same."""
        if self.total_steps is not None:
            yield f"--total-steps {self.total_steps}"
        if self.preset != "default":
            yield f"--preset {self.preset}"
        for name, value in self.settings.items():
            yield f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        if self.sweep is not None:
            yield "--sweep" if self.sweep else "--no-sweep"
        for name, column in (("loss", self.choice.loss), ("lr", self.choice.lr)):
            if column is not None:
                yield f"--{name}-column {shlex.quote(column)}"


def add_arguments(parser: argparse.ArgumentParser, of: str = "") -> None:
    """Declare the flags; ``of`` ends the groups' headings, where they are not of all that is read."""
    group = parser.add_argument_group(f"record{of}")
    group.add_argument(
        "--loss-column", metavar="NAME", help="column or tag of the loss (default: by its name)"
    )
    group.add_argument("--lr-column", metavar="NAME", help="the same of the learning rate")
    group.add_argument(
        "--sweep",
        action=argparse.BooleanOptionalAction,
        help="whether the record is a learning-rate range test, whose peak LR is asked for (default: whether "
        "its learning rates only grow, by a factor of ten or more)",
    )

    group = parser.add_argument_group(f"run{of}")
    group.add_argument(
        "--total-steps",
        type=_length,
        metavar="N",
        help="updates of the whole run, or inf if no end is known (default: as the log says, or else those of"
        " the record)",
    )
    group.add_argument(
        "--steps-per-epoch", type=int, metavar="N", help="updates in an epoch; the paper's preset needs it"
    )

    group = parser.add_argument_group(f"settings{of} (default: the preset's)")
    group.add_argument(
        "--preset",
        choices=get_args(Preset),
        default="default",
        help="the default one, or Algorithm 1 of the paper (default: %(default)s)",
    )
    group.add_argument("--seed", type=int, metavar="N", help="of the subsets (default: 0)")
    group.add_argument("--min-lr", type=float, metavar="X", help="learning rate of the first update")
    group.add_argument("--max-lr", type=float, metavar="X", help="learning rate that warm-up never exceeds")
    group.add_argument(
        "--warmup-fraction", type=float, metavar="X", help="of the whole run: the most that warm-up takes"
    )
    group.add_argument(
        "--warmup-limit",
        type=int,
        metavar="N",
        help="updates in which the default's slow growth crosses the range of learning rates, at most; in a"
        " run without a known end those of warm-up",
    )
    group.add_argument(
        "--confidence", type=float, metavar="X", help="probability above which a minimum is detected"
    )
    group.add_argument(
        "--patience", type=int, metavar="N", help="tests in a row that must detect the minimum"
    )
    group.add_argument("--test-growth", type=float, metavar="X", help="growth of the LR from test to test")
    group.add_argument("--subset-size", type=int, metavar="N", help="the most losses in a subset that votes")
    group.add_argument(
        "--length-scale", type=float, metavar="X", help="of the kernel, as a share of the window"
    )
    group.add_argument("--decay", choices=get_args(Decay), help="shape of the decay phase")


def _length(text: str) -> float:
    try:
        return math.inf if text == "inf" else int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be an integer ≥ 1, or inf, not {text!r:.40}") from error


def asked(args: argparse.Namespace) -> Asked:
    """What ``args`` ask for.

    Raises:
        UserError: a setting is out of range; before any file is read.
    """
    settings = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    total_steps: Any = 1 if args.total_steps is None else args.total_steps
    total_steps = None if total_steps == math.inf else total_steps
    try:
        Config.preset(args.preset, total_steps=total_steps, **settings)
    except ValueError as error:
        name, rest = str(error).split(" ", 1)
        raise UserError(f"--{name.replace('_', '-')} {rest}") from error
    choice = Choice(args.loss_column, args.lr_column)
    return Asked(args.total_steps, args.preset, settings, args.sweep, choice)
