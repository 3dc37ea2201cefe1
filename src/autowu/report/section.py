"""One section of the page."""

from __future__ import annotations

from dataclasses import dataclass

from autowu.report.figures import Figure


@dataclass(frozen=True)
class Section:
    """A figure with its heading and the words that explain it."""

    heading: str
    words: str
    figure: Figure
    height: str = "medium"  # a class in page.css
    html: str = ""  # below the figure; whoever makes it escapes it
    controls: str = ""  # above it, likewise
    run: int | None = None  # the only run that it is of
    folded: bool = False  # until the reader opens it
