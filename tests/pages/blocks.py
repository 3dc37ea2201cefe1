"""The blocks of code in a page, or in the docstrings of a module, and how they are run."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"(?ms)^(?: *<!-- not run: (?P<why>[^\n]*?) -->\n)?(?P<indent> *)```python\n(?P<code>.*?)\n *```$"
    r"(?:\n\n *```text\n(?P<prints>.*?)\n *```$)?"
)
LITERAL = re.compile(r"(?ms)^ *::\n\n(?P<code>(?:    [^\n]*\n|\n)+)")


@dataclass(frozen=True)
class Block:
    """Some lines of code, where they begin, what the page says that they print, and why they are not run."""

    code: str
    where: str
    prints: str | None = None
    not_run: str | None = None


def of_page(path: Path) -> Iterator[Block]:
    """The blocks of a page."""
    text = path.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        where = f"{path.relative_to(ROOT)}:{line}"
        yield Block(textwrap.dedent(found["code"]), where, found["prints"], found["why"])


def of_docstrings(path: Path) -> Iterator[Block]:
    """The literal blocks in the docstrings of a module."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        for found in LITERAL.finditer((text or "") + "\n"):
            name = getattr(node, "name", "module")
            yield Block(textwrap.dedent(found["code"]), f"{path.relative_to(ROOT)}:{name}")


def of(path: Path) -> list[Block]:
    """The blocks of a page or of a module."""
    return list(of_page(path) if path.suffix == ".md" else of_docstrings(path))


def run(blocks: list[Block], names: dict[str, Any]) -> None:
    """Run blocks in one namespace; what they print has to be what the page says, but for its numbers."""
    for block in blocks:
        if block.not_run is not None:
            compile(block.code, block.where, "exec")
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block.code, block.where, "exec", dont_inherit=True), names)
        if block.prints is not None:
            assert words(printed.getvalue()) == words(block.prints), block.where


def words(printed: str) -> list[str]:
    """What was printed, with a # for each number, since processors round differently."""
    return [re.sub(r"\d[\d.]*(?:e[+-]?\d+)?", "#", line).rstrip() for line in printed.strip().splitlines()]
