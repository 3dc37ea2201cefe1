"""Command lines whose errors are for :func:`autowu.cli.main` to show, and say what may have been meant."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from autowu.errors import UserError


def meant(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'adamw'?``, or nothing where no name in ``known`` is like ``name``."""
    close = get_close_matches(name, list(known), 3)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a :class:`~autowu.errors.UserError`."""

    def flags(self) -> list[str]:
        """The flags that it takes, such as ``--seed``."""
        return [flag for action in self._actions for flag in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message} (see `{self.prog} --help`)")

    # argparse of Python 3.13 and older names all choices, and none that is like the one given.
    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        hint = meant(str(value), known) or f" (choose from {', '.join(known)})"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint}")
