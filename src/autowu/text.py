"""What may be printed of a string that a stranger wrote, and how wide it may be."""

from __future__ import annotations

import shutil
import textwrap


def printable(text: object) -> str:
    """``text`` on one line, without what would steer a terminal or not encode."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers by three digits, or by as many as tell them apart."""
    digits = 3
    while digits < 17 and one != other and f"{one:.{digits}g}" == f"{other:.{digits}g}":
        digits += 1
    return f"{one:.{digits}g}", f"{other:.{digits}g}"


def columns() -> int:
    """Of the terminal that standard output is; 80 where it is none, such as a pipe or a file."""
    return shutil.get_terminal_size().columns


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """``text`` in lines of at most ``width``, all but the first indented; words are never broken.

    A line that fits is left as it is, columns of a table among them.
    """
    if len(text) <= width:
        return [text]
    below = " " * indent
    return textwrap.wrap(text, width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)
