"""What may be printed of a string that a stranger wrote."""

from __future__ import annotations


def printable(text: object) -> str:
    """``text`` on one line, without what would steer a terminal or not encode."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))
