"""``autowu replay``: what AutoWU would have done on a recorded loss curve."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from autowu.arrays import Array
from autowu.extras import install
from autowu.offline import arguments, range_test_text, text, what_if
from autowu.offline.decide import Decided, decide
from autowu.offline.replay import Replay
from autowu.text import columns, printable, wrapped

WIDEST: Final = 100  # characters: longer lines are hard to read, and wider plots show no more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``autowu replay``."""
    parser.description = "What AutoWU would have done on a recorded loss curve."
    parser.add_argument(
        "losses",
        metavar="LOSSES.csv",
        help="a CSV file with a column loss, one row for each update (an empty or nan cell is a missing "
        "loss), and maybe columns step (steps left out are missing losses, unless only every k-th update was "
        "logged) and lr; or the same as JSON or JSON lines, an export of Weights & Biases, a folder or file "
        "of TensorBoard's events, a folder of Lightning's CSVLogger or of Hugging Face's Trainer, a run "
        "folder of `autowu train` or of log=…; - for standard input",
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
        help="also replay with other values of confidence, patience, test spacing, length-scale and, where "
        "there are subsets, their size",
    )

    arguments.add_arguments(parser)


class Pages(Protocol):
    """As :mod:`autowu.report.replay_page`, which writes pages, and stands above: it is handed in."""

    def check(self, path: Path) -> None:
        """Raises UserError where ``path`` cannot be written, or its suffix stands for no form."""
        ...

    def write(self, path: Path, decided: Decided, cases: Sequence[what_if.Case]) -> None:
        """Write ``path``, in the form that its suffix says."""
        ...


def run(args: argparse.Namespace) -> int:
    """Replay a record as ``args`` says, and print the outcome; the exit status, 0.

    Args:
        args: of :func:`add_arguments`, and ``pages``, which gives what writes ``-o``.

    Raises:
        UserError: the settings or the file cannot be used, or the output cannot be written.
    """
    asked = arguments.asked(args)
    output: Path | None = args.output
    pages: Pages | None = None if output is None else args.pages()
    if pages is not None and output is not None:
        pages.check(output)  # before a file is read
    decided = decide(args.losses, asked)
    if decided.range_test is not None:
        asked.refuse_for_sweep()
    cases = decided.cases() if args.what_if else []
    if args.json:
        print(json.dumps(_as_json(decided, cases if args.what_if else None), allow_nan=False))
    else:
        _print(decided, cases)
    if pages is not None and output is not None:
        pages.write(output, decided, cases)
        if not args.json:
            print(f"\n{args.output}")
    return 0


def _as_json(decided: Decided, cases: list[what_if.Case] | None) -> dict[str, Any]:
    of, caveats = decided.range_test, decided.caveats()
    extra = {"sweep": of.to_json()} if of else dict[str, Any]()
    extra |= {"what_if": [case.to_json() for case in cases]} if cases is not None else {}
    extra |= {"caveats": list(caveats)} if caveats else {}
    return decided.replay.to_json() | extra


def _print(decided: Decided, cases: list[what_if.Case]) -> None:
    width = min(columns(), WIDEST)
    name = printable("standard input" if decided.path == "-" else decided.path)
    record, outcome, of = decided.record, decided.replay, decided.range_test
    if of is not None:
        told = [
            range_test_text.premise(name, of, record, decided.asked.sweep is None),
            range_test_text.verdict(of),
        ]
    else:
        assumed = decided.assumed()
        told = [
            text.premise(name, record, outcome, decided.asked.preset),
            *([] if assumed is None else [f"{assumed}."]),
            text.decision(record, outcome),
        ]
    for paragraph in (*(f"{caveat}." for caveat in decided.caveats()), *told):
        print(*wrapped(paragraph, width), "", sep="\n")
    title, *rows = text.table(outcome)
    print(*wrapped(title, width), *rows, "", sep="\n")
    if cases:
        title = "The same losses with other settings, one at a time (> marks the chosen value):"
        print(*wrapped(title, width), *what_if.table(cases, width), "", sep="\n")
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
