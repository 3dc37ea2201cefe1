"""Tables of a page that are made of records: between ``<!-- table: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping


def filled(page: str, text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """``text`` of ``page`` with its ``tables``.

    Raises:
        SystemExit: the page has not one place for each.
    """
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        rows = table()
        text, found = pattern.subn(lambda match, rows=rows: f"{match[1]}\n{rows}\n{match[2]}", text)
        if found != 1:
            raise SystemExit(f"{page} has {found} places for the table {name!r}, not one")
    return text
