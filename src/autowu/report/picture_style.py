"""How static figures look: small, on white, told apart by dash and marker as well as by colour."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from autowu.report.figures import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

DARK: Final = "#1c2024"
GREY: Final = "#808080"
ORANGE: Final = "#d55e00"
DASHES: Final = ("-", "--", ":", "-.", (0, (8, 2)), (0, (8, 2, 1, 2)))
UNDOTTED: Final = tuple(dash for dash in DASHES if dash != ":")
"""Where dots mean that a run has not finished."""
MARKERS: Final = ("o", "s", "D", "^", "P", "*")

STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": "#e3e6e9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fontsize": 8,
    "legend.handlelength": 3,  # so that the longest dash shows whole
    "legend.title_fontsize": 8,
    "savefig.bbox": "tight",
    "svg.hashsalt": "autowu",  # the same figure, the same file
}


@contextmanager
def style() -> Generator[None]:
    """Within it matplotlib draws and saves in this style, whatever the user's own settings are."""
    import matplotlib as mpl

    with mpl.rc_context({**mpl.rcParamsDefault, "backend": "agg", **STYLE}):
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Let ``draw`` work in this style."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return draw(*args, **kwargs)

    return wrapped


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, whose parts do not overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def colour(i: int) -> str:
    """The colour of the i-th run, the same as on the page."""
    return COLOURS[i % len(COLOURS)]


def dash(i: int) -> Any:
    """The dash of the i-th run."""
    return DASHES[i % len(DASHES)]


def plain(text: str, most: int = 40) -> str:
    """``text`` as matplotlib shows it: no formulae between dollar signs, and visible with a leading `_`."""
    short = text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2 - 1) :]}"
    return (" " if short.startswith("_") else "") + short.replace("\\", "\\\\").replace("$", r"\$")
