"""Docstrings as the site shows them: roles as code, and literal blocks without their two colons."""

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Turns the little reStructuredText of the docstrings into Markdown."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object, once it is there."""
        if obj.docstring is not None:
            text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
            text = re.sub(r"(?m)^ *::\n", "", text)
            obj.docstring.value = re.sub(r"::\n", ":\n", text)
