"""What the runs of a report are called, and their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

LONGEST: Final = 40  # characters that a figure shows of a name


def names(paths: Sequence[Path]) -> list[str]:
    """A name for each path: its last part, and as many before it as tell it from the others.

    Long names lose what all of them have in common; a path that is given twice is counted.
    """
    parts = [path.resolve().parts for path in paths]
    found = _shortened([_tail(own, parts) for own in parts])
    return [
        name if name not in found[:i] else f"{name} ({found[: i + 1].count(name)})"
        for i, name in enumerate(found)
    ]


def _tail(own: Sequence[str], all_parts: Sequence[Sequence[str]]) -> str:
    """The last of the parts of a path, as many as no other of the paths has."""
    others = [parts for parts in all_parts if parts != own]
    count = next((n for n in range(1, len(own)) if all(parts[-n:] != own[-n:] for parts in others)), len(own))
    return str(Path(*own[-count:]))


def _shortened(found: list[str]) -> list[str]:
    """``found`` without a long beginning and end that all have, where some would be cut."""
    if max(map(len, found)) <= LONGEST or len(set(found)) < 2:
        return found
    start = _edge(_common(found))
    rest = [name[start:] for name in found]
    end = _edge(_common([name[::-1] for name in rest]))
    ends = [name[: len(name) - end] for name in rest]
    if start + end < 4 or not all(ends):
        return found
    return [f"{'…' if start else ''}{name}{'…' if end else ''}" for name in ends]


def _common(texts: Sequence[str]) -> str:
    """The longest beginning that all have; the least and the greatest of them have no longer one."""
    low, high = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:same]


def _edge(common: str) -> int:
    """How much of ``common`` can go, so that no word or number is cut."""
    return max((match.end() for match in re.finditer(r"[-_/.,\s]", common)), default=0)


def in_order(paths: Sequence[Path]) -> list[Path]:
    """``paths`` with run2 before run10, where they come as a shell lists them; else as they come."""
    names = [str(path) for path in paths]
    return sorted(paths, key=lambda path: natural(str(path))) if names == sorted(names) else list(paths)


def natural(text: str) -> list[tuple[int, float, str]]:
    """A key that sorts numbers in a text by their value."""
    pieces = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", text.lower())
    return [(0, float(piece), "") if i % 2 else (1, 0.0, piece) for i, piece in enumerate(pieces)]
