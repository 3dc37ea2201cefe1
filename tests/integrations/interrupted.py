"""Ctrl-C, or another signal, at a line of a step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any


def press() -> None:
    raise KeyboardInterrupt


def lines_of(
    run: Callable[[], object], parts: Collection[str], at: Any = None, then: Callable[[], object] = press
) -> list[Any]:
    """The lines of ``run`` in files of these names, in order; if ``at`` is one, a signal comes there."""
    seen = dict[Any, None]()

    def trace(frame: Any, event: str, _: Any) -> Any:
        file = Path(frame.f_code.co_filename)
        if "integrations" not in file.parts or file.name not in parts:
            return None
        line = (file.name, frame.f_lineno)
        if event == "line" and line not in seen:
            seen[line] = None
            if line == at:
                then()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        assert at is not None
    finally:
        sys.settrace(before)
    return list(seen)
