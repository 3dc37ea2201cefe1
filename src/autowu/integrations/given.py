"""Arguments of AutoWU that a host gives it: a user's own for these is an error, where it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def refuse(settings: Mapping[str, Any], given: Mapping[str, str], to: str) -> None:
    """See that ``settings`` has nothing of what is ``given``.

    Args:
        settings: the user's.
        given: by the host, each with where it has it from.
        to: what the settings are given to.

    Raises:
        TypeError: it has.
    """
    for name, instead in given.items():
        if name in settings:
            raise TypeError(
                f"{to} must be without {name!r}, which is the Trainer's ({instead}), not with"
                f" {settings[name]!r:.80}"
            )
