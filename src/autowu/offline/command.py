"""``autowu replay``: what AutoWU would have done on a recorded loss curve."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, get_args

from autowu.arrays import Array
from autowu.config import Config, Decay, Preset
from autowu.errors import UserError
from autowu.extras import install
from autowu.offline import range_test_text, text, what_if
from autowu.offline.logs import Choice, Record, read
from autowu.offline.range_test import RangeTest, decision, is_sweep, sweep
from autowu.offline.replay import Replay
from autowu.offline.strided import replay_record
from autowu.text import columns, printable, wrapped

WIDEST: Final = 100  # characters: longer lines are hard to read, and wider plots show no more

SETTINGS: Final = (
    "steps_per_epoch",
    "seed",
    "min_lr",
    "max_lr",
    "warmup_fraction",
    "confidence",
    "patience",
    "decay",
    "test_growth",
    "subset_size",
    "length_scale",
)
"""Fields of Config with a flag of their own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``autowu replay``."""
    parser.description = "What AutoWU would have done on a recorded loss curve."
    parser.add_argument(
        "losses",
        metavar="LOSSES.csv",
        help="a CSV file with a column loss, one row for each update (an empty or nan cell is a missing "
        "loss), and maybe columns step (steps left out are missing losses, unless only every k-th update was "
        "logged) and lr; or the same as JSON or JSON lines, an export of Weights & Biases, a folder or file "
        "of TensorBoard's events, a run folder of `autowu train`; - for standard input",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="also write a page (.html) or a picture (.png, .svg)",
    )
    parser.add_argument(
        "--what-if",
        action="store_true",
        help="also replay with other values of confidence, patience, test spacing, subset size and "
        "length-scale",
    )

    group = parser.add_argument_group("record")
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

    group = parser.add_argument_group("run")
    group.add_argument(
        "--total-steps", type=int, metavar="N", help="updates of the whole run (default: of the record)"
    )
    group.add_argument(
        "--steps-per-epoch", type=int, metavar="N", help="updates in an epoch; the paper's preset needs it"
    )

    group = parser.add_argument_group("settings (default: the preset's)")
    group.add_argument("--preset", choices=get_args(Preset), default="default", help="(default: %(default)s)")
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the subsets (default: %(default)s)"
    )
    group.add_argument("--min-lr", type=float, metavar="X", help="learning rate of the first update")
    group.add_argument("--max-lr", type=float, metavar="X", help="learning rate that warm-up never exceeds")
    group.add_argument(
        "--warmup-fraction", type=float, metavar="X", help="of the whole run: the most that warm-up takes"
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


class Pages(Protocol):
    """As :mod:`autowu.report.replay_page`, which writes pages, and stands above: it is handed in."""

    def form_of(self, path: Path) -> object:
        """Raises UserError where the suffix of ``path`` stands for no form."""
        ...

    def write(
        self,
        path: Path,
        name: str,
        record: Record,
        outcome: Replay,
        preset: str,
        of: RangeTest | None,
        cases: Sequence[what_if.Case],
    ) -> None:
        """Write ``path``, in the form that its suffix says."""
        ...


def run(args: argparse.Namespace) -> int:
    """Replay a record as ``args`` says, and print the outcome; the exit status, 0.

    Args:
        args: of :func:`add_arguments`, and ``pages``, which gives what writes ``-o``.

    Raises:
        UserError: the settings or the file cannot be used, or the output cannot be written.
    """
    settings = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    _check(args, settings)
    output: Path | None = args.output
    pages: Pages | None = None if output is None else args.pages()
    if pages is not None and output is not None:
        pages.form_of(output)  # before a file is read
    settings |= {"preset": args.preset}
    record = read(args.losses, args.total_steps, Choice(args.loss_column, args.lr_column))
    of = _sweep(args, record, settings)
    outcome = of.replay if of else replay_record(record, args.total_steps, **settings)
    again = (
        partial(decision, record.losses, of.lrs) if of else partial(replay_record, record, args.total_steps)
    )
    cases = what_if.cases(outcome, again, **settings) if args.what_if else []
    if args.json:
        extra = {"sweep": of.to_json()} if of else dict[str, Any]()
        extra |= {"what_if": [case.to_json() for case in cases]} if args.what_if else {}
        print(json.dumps(outcome.to_json() | extra, allow_nan=False))
    else:
        _print(args, record, outcome, of, cases)
    if pages is not None and output is not None:
        pages.write(output, args.losses, record, outcome, args.preset, of, cases)
        if not args.json:
            print(f"\n{args.output}")
    return 0


def _check(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Refuse wrong settings before a file is read."""
    total_steps = 1 if args.total_steps is None else args.total_steps
    try:
        Config.preset(args.preset, total_steps=total_steps, **settings)
    except ValueError as error:
        name, rest = str(error).split(" ", 1)
        raise UserError(f"--{name.replace('_', '-')} {rest}") from error


def _sweep(args: argparse.Namespace, record: Record, settings: dict[str, Any]) -> RangeTest | None:
    """The record as a sweep: where the user says so, or its LRs do and no other run is spoken of."""
    if args.sweep is False or (args.sweep is None and (args.total_steps or args.preset != "default")):
        return None
    if record.lrs is not None and is_sweep(record.lrs):
        return sweep(record.losses, record.lrs, **settings)
    if args.sweep:
        raise UserError(
            f"{args.losses}: --sweep needs 20 or more rows with learning rates above 0 (a column lr) that "
            "grow by a factor of ten or more"
        )
    return None


def _print(
    args: argparse.Namespace, record: Record, outcome: Replay, of: RangeTest | None, cases: list[what_if.Case]
) -> None:
    width = min(columns(), WIDEST)
    name = printable("standard input" if args.losses == "-" else args.losses)
    if of is not None:
        paragraphs = [range_test_text.premise(name, of, record), range_test_text.verdict(of)]
    else:
        paragraphs = [
            text.premise(name, record, outcome, args.preset),
            text.decision(record, outcome),
        ]
    for paragraph in paragraphs:
        print(*wrapped(paragraph, width), "", sep="\n")
    print(*text.table(outcome), "", sep="\n")
    if cases:
        print("The same losses with other settings, one at a time (> marks the chosen value):")
        print(*what_if.table(cases), "", sep="\n")
    print(_plot(outcome, record.at_updates(), width))


def _plot(outcome: Replay, losses: Array, width: int) -> str:
    from autowu.offline.terminal_plot import draw

    terminal = sys.stdout.isatty()
    unicode = terminal and (sys.stdout.encoding or "").lower().startswith("utf")
    color = unicode and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        return draw(outcome, losses, width, color=color, unicode=unicode)
    except ImportError:
        return f"For a plot of it: {install('report')}"
