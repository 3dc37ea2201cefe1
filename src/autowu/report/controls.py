"""What a reader can choose of the first figure; page.js does as chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

X: Final = {"step": "steps", "epoch": "epochs", "time": "time"}
SCALE: Final = {"own": "as it fits", "log": "log", "linear": "linear"}
SMOOTHING: Final = {"usual": "usual", "none": "none", "strong": "strong"}


def of(units: Sequence[str]) -> str:
    """The controls as HTML; ``units`` are those that the x-axis can be in beside steps."""
    axis = {name: words for name, words in X.items() if name == "step" or name in units}
    chosen = [_select("x", "x-axis", axis)] if len(axis) > 1 else []
    chosen += [_select("lr", "learning rate", {"log": "log", "linear": "linear"})]
    chosen += [_select("loss", "loss", SCALE), _select("smoothing", "smoothing", SMOOTHING)]
    return f'<p class="controls">{" ".join(chosen)}</p>\n'


def _select(name: str, words: str, options: Mapping[str, str]) -> str:
    inner = "".join(f'<option value="{value}">{text}</option>' for value, text in options.items())
    return f'<label>{words} <select data-control="{name}">{inner}</select></label>'
