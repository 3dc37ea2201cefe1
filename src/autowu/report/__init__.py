"""`autowu report`: what AutoWU decided in one or several runs, and why; as a page, a picture, or live.

sections, page     the page, of the figures in figures, against_lr, decision, speed, *_figure
controls, units    what the reader chooses of the first figure, and what a step is in epochs and time
picture*           static figures for papers
watch, progress    the page of a run that goes on, and how far that has come
output             writing, whole or not at all
names, replayed    what runs are called; logs of others, with the decisions of a replay
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from autowu import text
from autowu.errors import UserError
from autowu.offline import arguments
from autowu.offline.arguments import Asked
from autowu.offline.decide import decide
from autowu.report import output, summary
from autowu.report.names import in_order, names
from autowu.report.output import Form
from autowu.report.replayed import Replayed, run_of
from autowu.runlog import run as runlog
from autowu.runlog.run import Run
from autowu.runlog.writer import ABOUT, LOG

MOST_RUNS: Final = 32  # more do not fit in one figure, nor in 6 MB
FORMATS: Final = ("html", "png", "svg", "tensorboard")
SUFFIXES: Final = (".html", ".png", ".svg")
LAYOUTS: Final = ("main", "figure1", "figure2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `autowu report`."""
    parser.description = "A page with pictures of runs: what AutoWU decided, and why."
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN_DIR",
        help="folder written by `autowu train` or log=…, or any log that `autowu replay` reads: CSV, JSON, "
        "a folder of TensorBoard's, of Lightning's CSVLogger or of Hugging Face's Trainer",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="page or picture to write or replace (default: report.html in this folder, or as --format)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="a page, a picture for a paper, or a folder of events for TensorBoard (default: as the suffix "
        "of -o says)",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        help="of a picture: the runs over their steps, or Figure 1 or 2 of the paper (default: main)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="serve the page to this machine alone while the runs go on"
    )
    parser.add_argument("--port", type=int, metavar="N", help="of --watch (default: one that is free)")
    arguments.add_arguments(parser, " of a log that is replayed")


def run(args: argparse.Namespace) -> int:
    """Do as ``args`` say; print a table of the runs and, on the last line, what was written."""
    if len(args.runs) > MOST_RUNS:
        raise UserError(f"a report shows at most {MOST_RUNS} runs, not {len(args.runs)}")
    asked = arguments.asked(args)
    form = _form(args)
    if args.watch:
        from autowu.report.watch import watch

        return watch(args.runs, args.port or 0, asked)
    layout = args.layout or "main"
    path = args.output or Path("report.html" if form == "html" else f"{layout}.{form}")
    if form == "tensorboard":
        from autowu.report import tensorboard

        path = args.output or Path("tensorboard")
        tensorboard.check(path)
        runs = tensorboard.export(read(args.runs, asked), path)
    elif form == "html":
        runs = output.write_page(path, lambda: read(args.runs, asked))
    else:
        from autowu.report import picture

        output.check(path, form)
        runs = read(args.runs, asked)
        output.write_picture(path, form, lambda: picture.draw(layout, runs))
        if left := picture.left_out(layout, runs):
            print(f"Not in the picture: {', '.join(left)}")
    for line in told_of_logs(runs):
        print(*text.wrapped(text.printable(line), text.columns()), "", sep="\n")
    print(table(runs))
    print(path)
    return 0


def _form(args: argparse.Namespace) -> Form | Literal["tensorboard"]:
    """What is to be written.

    Raises:
        UserError: flags contradict each other, or one would change nothing.
    """
    path: Path | None = args.output
    if args.watch:
        given = {"-o": path, "--format": args.format, "--layout": args.layout}
        if unused := [flag for flag, value in given.items() if value is not None]:
            raise UserError(f"{unused[0]}: is of what is written, and --watch writes nothing")
        return "html"
    if args.port is not None:
        raise UserError(f"--port {args.port}: is of --watch, which is not given")
    said = output.form_of(path) if path and (args.format is None or path.name == "-") else "html"
    form = args.format or said
    of_another = path and path.suffix.lower() in SUFFIXES and path.suffix.lower() != f".{form}"
    if of_another and form != "tensorboard":
        raise UserError(f"-o {path}: the suffix must be .{form}, as --format says")
    if args.layout is not None and form not in ("png", "svg"):
        raise UserError(f"--layout {args.layout}: is of a picture; give --format png or svg, or such a -o")
    return form


def read(folders: Sequence[Path], asked: Asked | None = None) -> list[Run]:
    """The runs, with names that tell them apart, in natural order.

    ``asked`` says how logs of others are to be replayed.

    Raises:
        UserError: one of them does not exist, or cannot be read; or settings are given, and all of the runs
            are autowu's own, which were decided long ago.
    """
    ordered = in_order(folders)
    runs = [_read(path, name, asked) for path, name in zip(ordered, names(ordered), strict=True)]
    if asked is not None and (given := " ".join(asked.flags())) and not any(run.replayed for run in runs):
        raise UserError(
            f"{given}: is of logs that are replayed, and each of these runs has its own decisions"
        )
    sweeps = [isinstance(run, Replayed) and run.range_test is not None for run in runs if run.replayed]
    if asked is not None and sweeps and all(sweeps):
        asked.refuse_for_sweep()
    return runs


def _read(path: Path, name: str, asked: Asked | None) -> Run:
    """A run folder; or else a log of somebody else's, with the decisions of a replay."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    return runlog.read(path, name) if _is_run(path) else run_of(decide(str(path), asked), name)


def _is_run(folder: Path) -> bool:
    return (folder / ABOUT).exists() or (folder / LOG).exists()


def told_of_logs(runs: Sequence[Run]) -> list[str]:
    """What is assumed of logs that are replayed, and what they cannot tell: each once, with their names."""
    found = dict[str, list[str]]()
    for run in runs:
        for note in run.notes if run.replayed else ():
            found.setdefault(note, []).append(run.name)
    return [f"{', '.join(names)}: {note}." for note, names in found.items()]


def table(runs: Sequence[Run]) -> str:
    """The runs as plain text, one a line; where a terminal is too narrow for that, under their names."""
    columns = {name: cells for name, cells in summary.columns(runs).items() if name in summary.SHORT}
    aligned = list[list[str]]()
    for name, cells in columns.items():
        longest = max(map(len, (name, *cells)))
        to = "<" if name in summary.WORDS else ">"
        aligned.append([f"{cell:{to}{longest}}" for cell in (name, *cells)])
    rows = list(zip(*aligned, strict=True))
    lines = ["  ".join(row).rstrip() for row in rows]
    if max(map(len, lines)) > text.columns():
        lines = [f"{name.rstrip()}\n  {'  '.join(rest)}".rstrip() for name, *rest in rows]
    return "\n".join(lines)
