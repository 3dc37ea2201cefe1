"""A replay drawn in the terminal: the losses, the curve of the deciding test, the minimum and the switch."""

from __future__ import annotations

import importlib
import math
from typing import Any, Final

import numpy as np

from autowu.arrays import Array
from autowu.controller.cuts import taken_back
from autowu.offline.replay import Replay

HEIGHT: Final = 18
MOST_POINTS: Final = 4000  # of the losses; more only blacken the plot
LOG_FROM: Final = 100.0  # the scale is logarithmic if the largest loss is that many times the least

LOSS, SMOOTHED, MINIMUM, SWITCH, CUT = "loss", "smoothed", "minimum", "switch", "LR cut"
_COLORS: Final = {LOSS: "blue+", SMOOTHED: "orange+", MINIMUM: "green+", SWITCH: "red+", CUT: "magenta+"}
_UNICODE: Final = {LOSS: "⠢", SMOOTHED: "▄", MINIMUM: "┊", SWITCH: "│", CUT: "╎"}
_ASCII: Final = {LOSS: ".", SMOOTHED: "#", MINIMUM: ":", SWITCH: "|", CUT: "!"}
_TO_ASCII: Final = str.maketrans("─│┊╎┌┐└┘├┤┬┴┼", "-|:!+++++++++")


def draw(replay: Replay, losses: Array, width: int, *, color: bool, unicode: bool) -> str:
    """The plot, ``width`` characters wide, and a line that explains its marks.

    Args:
        replay: the decisions on ``losses``.
        losses: the record [n], one of them finite at least.
        width: of the terminal, in characters.
        color: whether to use colours.
        unicode: whether to use characters beyond ASCII.

    Raises:
        ImportError: plotext, of the extra ``report``, is not installed.
    """
    plotext: Any = importlib.import_module("plotext")
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    plotext.terminal.limit(False, False)  # `width` rules, also where the output is no terminal
    figure.plot_size(width, HEIGHT)

    steps = np.flatnonzero(np.isfinite(losses))
    low, high = _range(losses[steps])
    log = low > 0 and high > LOG_FROM * low
    beyond = int(((losses[steps] < low) | (losses[steps] > high)).sum())
    marks = _UNICODE if unicode else _ASCII
    keys = [LOSS]

    # plotext's own logarithmic scale goes wrong with given ticks, and its linear one with huge numbers.
    unit = max(abs(low), abs(high), 1e-300)

    def place(y: Any) -> Any:
        return np.log10(y) if log else np.divide(y, unit)

    def line(x: Any, y: Array, kind: str, fine: str) -> Any:
        inside = (y >= low) & (y <= high)
        marker = plotext.marker(fine if unicode else marks[kind], pixel=_COLORS[kind])
        return figure.signal(x[inside].tolist(), place(y[inside]).tolist(), marker=marker)

    drawn = [(replay.t_star, MINIMUM), (replay.switch_step, SWITCH)]
    drawn += [(cut.step, CUT) for at, cut in enumerate(replay.cuts) if not taken_back(replay.cuts, at)]
    for step, kind in drawn:
        if step is not None:
            figure.draw(line(np.array([step, step]), np.array([low, high]), kind, marks[kind]).lines())
            keys += [kind] if kind not in keys else []
    steps = steps[:: math.ceil(len(steps) / MOST_POINTS)]
    figure.draw(line(steps, losses[steps], LOSS, "braille"))
    test = next((test for test in reversed(replay.tests) if test.mean is not None), None)
    if test is not None and test.mean is not None:
        at = np.linspace(test.start, test.step, len(test.mean))
        figure.draw(line(at, test.mean, SMOOTHED, "hd").lines())
        keys.insert(1, SMOOTHED)
    at = _round_numbers(0, len(losses), least=1)
    figure.ruler("x").ticks(at, [f"{tick:,.0f}" for tick in at])
    figure.ruler("x").lim(0, len(losses))
    at = _powers_of_ten(low, high) if log else _round_numbers(low, high)
    figure.ruler("y").ticks([float(place(tick)) for tick in at], [f"{tick:g}" for tick in at])
    figure.ruler("y").lim(float(place(low)), float(place(high)))

    rows = str(figure.build().string(colorless=not color)).rstrip("\n").split("\n")
    explained = [f"{_painted(plotext, marks[key], key) if color else marks[key]} {key}" for key in keys]
    if beyond:
        explained.append(f"({beyond:,} off the plot)")
    text = "\n".join([*(row.rstrip() for row in rows), f" {'   '.join(explained)}"])
    return text if unicode else text.translate(_TO_ASCII)


def _range(losses: Array) -> tuple[float, float]:
    """What to show of the losses: all but the few that would flatten the others."""
    order = np.sort(losses).tolist()
    few = len(order) // 50
    low, high = order[few], order[-1 - few]
    margin = high - low
    if margin == 0:
        low, high, margin = order[0], order[-1], math.inf
    if low == high:
        return low - abs(low) / 2 - 1e-300, high + abs(high) / 2 + 1e-300
    return max(order[0], low - margin), min(order[-1], high + margin)


def _powers_of_ten(low: float, high: float) -> list[float]:
    """Six of them or so."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [10.0**exponent for exponent in range(first, last + 1, 1 + (last - first) // 5)]


def _round_numbers(low: float, high: float, least: float = 0) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, six or so of them, no closer than ``least``."""
    apart = max((high - low) / 6, least)
    if not 1e-300 < apart < 1e300:
        return [low, high]
    power = 10.0 ** math.floor(math.log10(apart))
    apart = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= apart)
    return [count * apart for count in range(math.ceil(low / apart), math.floor(high / apart) + 1)]


def _painted(plotext: Any, text: str, kind: str) -> str:
    return str(plotext.colorize(text, pixel=_COLORS[kind]).string())
