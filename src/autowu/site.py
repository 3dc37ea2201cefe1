"""Where the pages are that a message points to: who installs the package has no folder of them."""

from __future__ import annotations

from typing import Final

SITE: Final = "https://autowu.github.io/autowu/"


def page(name: str, part: str = "") -> str:
    """The address of a page of docs/, without its ``.md``, and of a part of it."""
    return f"{SITE}{name}/{'#' if part else ''}{part}"
