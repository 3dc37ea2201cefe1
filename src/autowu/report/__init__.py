"""`autowu report`: what AutoWU decided in one or several runs, and why; as a page, a picture, or live.

sections, page     the page, of the figures in figures, decision, speed, *_figure
picture*           static figures for papers
watch              the page of a run that goes on
output             writing, whole or not at all
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from autowu.errors import UserError
from autowu.offline import logs as record
from autowu.offline.strided import replay_record
from autowu.report import output, summary
from autowu.report.replayed import run_of
from autowu.runlog import run as runlog
from autowu.runlog.run import Run

MOST_RUNS: Final = 32  # more do not fit in one figure, nor in 6 MB
FORMATS: Final = ("html", "png", "svg", "tensorboard")
LAYOUTS: Final = ("main", "figure1", "figure2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `autowu report`."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN_DIR",
        help="folder written by `autowu train`, or any log that `autowu replay` reads",
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
        default="main",
        help="of a picture: the runs over their steps, or Figure 1 or 2 of the paper (default: %(default)s)",
    )
    parser.add_argument(
        "--watch", action="store_true", help="serve the page to this machine alone while the runs go on"
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="of --watch (default: one that is free)"
    )


def run(args: argparse.Namespace) -> int:
    """Do as ``args`` say; print a table of the runs and, on the last line, what was written."""
    if len(args.runs) > MOST_RUNS:
        raise UserError(f"a report shows at most {MOST_RUNS} runs, not {len(args.runs)}")
    if args.watch:
        from autowu.report.watch import watch

        return watch(args.runs, args.port)
    form = args.format or (output.form_of(args.output) if args.output else "html")
    path = args.output or Path("report.html" if form == "html" else f"{args.layout}.{form}")
    if form == "tensorboard":
        from autowu.report.tensorboard import export

        runs = export(read(args.runs), args.output or Path("tensorboard"))
        path = args.output or Path("tensorboard")
    elif form == "html":
        runs = output.write_page(path, lambda: read(args.runs))
    else:
        from autowu.report import picture

        runs = read(args.runs)
        output.write_picture(path, form, lambda: picture.draw(args.layout, runs))
    print(table(runs))
    print(path)
    return 0


def read(folders: Sequence[Path]) -> list[Run]:
    """The runs, each named after its folder or file, and as many folders above it as tell it from the others.

    Raises:
        UserError: one of them does not exist, or cannot be read.
    """
    parts = [folder.resolve().parts for folder in folders]
    return [_read(folder, _name(own, parts)) for folder, own in zip(folders, parts, strict=True)]


def _name(own: Sequence[str], all_parts: Sequence[Sequence[str]]) -> str:
    """The last of the parts of a path, as many as no other of the paths has."""
    others = [parts for parts in all_parts if parts != own]
    count = next((n for n in range(1, len(own)) if all(parts[-n:] != own[-n:] for parts in others)), len(own))
    return str(Path(*own[-count:]))


def _read(path: Path, name: str) -> Run:
    """A run folder; or else a log of somebody else's, with the decisions of a replay."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_file() or (path.is_dir() and not _is_run(path) and record.is_events(path)):
        found = record.read(str(path))
        return run_of(str(path), found, replay_record(found), name=name)
    return runlog.read(path, name)


def _is_run(folder: Path) -> bool:
    return (folder / "run.json").exists() or (folder / "log.jsonl").exists()


def table(runs: Sequence[Run]) -> str:
    """The runs as plain text, one a line."""
    rows = [list(summary.SHORT), *([summary.COLUMNS[name](run) for name in summary.SHORT] for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = 3  # the first columns; numbers follow, aligned to the right
    lines = (
        "  ".join(f"{cell:{'<' if i < words else '>'}{widths[i]}}" for i, cell in enumerate(row))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
