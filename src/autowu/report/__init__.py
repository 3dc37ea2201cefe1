"""`autowu report`: one HTML page that shows what AutoWU decided in one or several runs, and why."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from autowu import runlog
from autowu.errors import UserError
from autowu.report import page, summary
from autowu.runlog import Run

MOST_RUNS: Final = 32  # more do not fit in one figure, nor in 6 MB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `autowu report`."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN_DIR", help="folder written by `autowu train`"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="page to write or replace (default: report.html in the current folder)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page of ``args.runs`` to ``args.output``; print a table and, on the last line, its path."""
    write(args.runs, args.output)
    return 0


def write(folders: Sequence[Path], output: Path) -> None:
    """See :func:`run`.

    Raises:
        UserError: a folder holds no run, the page cannot be written, or plotly is not installed.
    """
    if len(folders) > MOST_RUNS:
        raise UserError(f"a report shows at most {MOST_RUNS} runs, not {len(folders)}")
    plotly_js = _plotly_js()
    with _replacing(output) as file:
        runs = read(folders)
        file.write(page.page(runs, plotly_js))
    print(table(runs))
    print(output)


def read(folders: Sequence[Path]) -> list[Run]:
    """The runs, each named after its folder; folders of one name are told apart by their paths."""
    names = Counter(folder.resolve().name for folder in folders)
    return [
        runlog.read(folder, name=str(folder) if names[folder.resolve().name] > 1 else None)
        for folder in folders
    ]


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


def _plotly_js() -> str:
    try:
        from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise UserError("the report needs plotly: pip install 'autowu[report]'") from error
    return str(get_plotlyjs())


@contextmanager
def _replacing(output: Path) -> Generator[TextIO]:
    """A file that takes the place of ``output`` once it is complete; otherwise nothing is left behind."""
    if output.exists() and not output.is_file():
        raise UserError(f"{output}: not a file; -o takes the path of the page")
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        file = partial.open("x", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({(error.strerror or str(error)).lower()})") from error
    try:
        with file:
            yield file
        os.replace(partial, output)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
