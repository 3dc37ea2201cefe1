"""``autowu replay``: what AutoWU would have done on a recorded loss curve."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from typing import Any, Final, get_args

from autowu import replay_text
from autowu.config import Config, Decay, Preset
from autowu.errors import UserError
from autowu.gp import Array
from autowu.losses import read_losses
from autowu.replay import Replay, replay

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
)
"""Fields of Config with a flag of their own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``autowu replay``."""
    parser.description = "What AutoWU would have done on a recorded loss curve."
    parser.add_argument(
        "losses",
        metavar="LOSSES.csv",
        help="a CSV file with a column loss, one row for each update (an empty or nan cell is a missing "
        "loss), and maybe a column step (steps left out are missing losses); - for standard input",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

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
    group.add_argument("--decay", choices=get_args(Decay), help="shape of the decay phase")


def run(args: argparse.Namespace) -> int:
    """Replay a record as ``args`` says, and print the outcome; the exit status, 0.

    Raises:
        UserError: the settings or the file cannot be used.
    """
    settings = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    _check(args, settings)
    losses = read_losses(args.losses, args.total_steps)
    outcome = replay(losses, args.total_steps, preset=args.preset, **settings)
    if args.json:
        print(json.dumps(outcome.to_json(), allow_nan=False))
    else:
        _print(args, losses, outcome)
    return 0


def _check(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Refuse wrong settings before a file is read, in the names of the flags."""
    total_steps = 1 if args.total_steps is None else args.total_steps
    try:
        Config.preset(args.preset, total_steps=total_steps, **settings)
    except ValueError as error:
        name, rest = str(error).split(" ", 1)
        raise UserError(f"--{name.replace('_', '-')} {rest}") from error


def _print(args: argparse.Namespace, losses: Array, outcome: Replay) -> None:
    width = min(shutil.get_terminal_size().columns, WIDEST)
    name = "standard input" if args.losses == "-" else args.losses
    for paragraph in (
        replay_text.premise(name, losses, outcome, args.preset),
        replay_text.decision(outcome),
    ):
        print(textwrap.fill(paragraph, width, break_on_hyphens=False, break_long_words=False), end="\n\n")
    print(*replay_text.table(outcome), "", sep="\n")
    print(_plot(outcome, losses, width))


def _plot(outcome: Replay, losses: Array, width: int) -> str:
    from autowu.replay_plot import draw

    terminal = sys.stdout.isatty()
    unicode = terminal and (sys.stdout.encoding or "").lower().startswith("utf")
    color = unicode and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        return draw(outcome, losses, width, color=color, unicode=unicode)
    except ImportError:
        return "For a plot of it: pip install 'autowu[report]'"
