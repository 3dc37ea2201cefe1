"""Writing pages and pictures: whole or not at all."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, cast, get_args

from autowu.errors import UserError
from autowu.extras import install
from autowu.report import page
from autowu.report.picture_style import style
from autowu.report.section import Section
from autowu.runlog.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Form = Literal["html", "png", "svg"]
DOTS_PER_INCH: Final = 200


def form_of(path: Path) -> Form:
    """The form that the suffix of ``path`` stands for; a page where there is none.

    Raises:
        UserError: the suffix stands for no form.
    """
    if str(path) == "-":
        raise UserError("-o -: must be the path of a file; nothing is written to standard output")
    form, known = path.suffix.lower().removeprefix(".") or "html", get_args(Form)
    if form not in known:
        allowed = f"{', '.join(f'.{each}' for each in known[:-1])} or .{known[-1]}"
        raise UserError(f"-o {path}: the suffix must be {allowed}, not {path.suffix}")
    return cast("Form", form)


def check(path: Path, form: Form) -> None:
    """See before any work that ``path`` can be written, in that form.

    Raises:
        UserError: it cannot, or Plotly is not installed.
        ImportError: matplotlib is not installed.
    """
    if form == "html":
        plotly_source()
    else:
        import_module("matplotlib")
    partial, file = _opened(path)
    file.close()
    partial.unlink()


def write_page(path: Path, runs: Callable[[], Sequence[Run]], more: Sequence[Section] = ()) -> Sequence[Run]:
    """Write the page of ``runs()``, which is called once ``path`` is open; returns the runs."""
    plotly_js = plotly_source()
    with _replacing(path) as file:
        shown = runs()
        file.write(page.page(shown, plotly_js, more).encode("utf-8"))
    return shown


def write_picture(path: Path, form: Literal["png", "svg"], draw: Callable[[], Figure]) -> None:
    """Write the figure that ``draw`` makes; without a display, and without a date: the same each time."""
    about = {"Date": None} if form == "svg" else None
    with _replacing(path) as file, style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a box in the place of a letter says enough
        draw().savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=about)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``."""
    with _replacing(path) as file:
        file.write(text.encode("utf-8"))


def plotly_source() -> str:
    """The source of plotly.js.

    Raises:
        UserError: Plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise UserError(f"the report needs plotly: {install('report')}") from error
    return str(get_plotlyjs())


@contextmanager
def _replacing(output: Path) -> Generator[BinaryIO]:
    """A file that takes the place of ``output`` once it is complete; otherwise nothing is left behind."""
    partial, file = _opened(output)
    try:
        with file:
            yield file
        os.replace(partial, os.path.realpath(output))
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # One of writing names no file, or this one; another is of a run that is read meanwhile.
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            raise _unwritten(output, error) from error
        raise


def _opened(output: Path) -> tuple[Path, BinaryIO]:
    try:
        if output.exists() and not output.is_file():
            raise UserError(f"{output}: not a file; -o takes the path of the page")
        place = Path(os.path.realpath(output))  # a link stays one; `resolve` refuses one that leads to itself
        partial = place.with_name(f".{place.name[:40]}.{os.getpid()}.partial")  # a name may not be too long
        return partial, partial.open("xb")
    except OSError as error:
        raise _unwritten(output, error) from error


def _unwritten(output: Path, error: OSError) -> UserError:
    return UserError(f"{output}: cannot be written ({(error.strerror or str(error)).lower()})")
