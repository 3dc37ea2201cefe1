"""How the values of flags are read that argparse has no type for."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from typing import Any, get_args

from autowu.arguments import meant
from autowu.config import Config
from autowu.train.settings.options import Logger


class SetField(argparse.Action):
    """Collects FIELD=VALUE in a dict."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read one, over those before."""
        name, equals, text = str(values).partition("=")
        known = [field.name for field in fields(Config)]
        if not equals and name in known:
            parser.error(f"--set must be FIELD=VALUE, such as patience=3, not {values!r}: there is no value")
        if not equals or name not in known:
            hint = meant(name, known) or f" (fields: {', '.join(known)})"
            parser.error(f"--set must be FIELD=VALUE with a field of autowu.Config, not {values!r}{hint}")
        try:
            value = json.loads(text.lower() if text in ("None", "True", "False") else text)
        except ValueError:
            value = None if text == "None" else text
        collected = dict(getattr(namespace, self.dest, {}))
        setattr(namespace, self.dest, {**collected, name: value})


def loggers(text: str) -> tuple[str, ...]:
    """The names in ``text``, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in get_args(Logger):
            raise argparse.ArgumentTypeError(
                f"must be of {', '.join(get_args(Logger))}, not {name!r}{meant(name, get_args(Logger))}"
            )
    return names
