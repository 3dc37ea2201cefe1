"""Growth and decay of the learning rate: closed forms of the step, pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

# --- growth: the LR of a step of warm-up, and the step of an LR ---------------------------------------


def exponential(step: float, span: float, low: float, high: float, start: float | None = None) -> float:
    """η_t = η_0 γ^t with γ = (η_max / η_min)^(1 / span): Eq. 1 of the paper.

    Args:
        step: t, updates since the growth began; a real number, since t* of Eq. 5 is one.
        span: updates in which the LR would grow from ``low`` to ``high``.
        low, high: η_min and η_max.
        start: η_0, the LR at t = 0, if it is not ``low``.
    """
    return (low if start is None else start) * (high / low) ** (step / span)


def exponential_step(lr: float, span: float, low: float, high: float, start: float | None = None) -> float:
    """The t at which :func:`exponential` reaches ``lr``."""
    return span * math.log(lr / (low if start is None else start)) / math.log(high / low)


def linear(step: float, span: float, low: float, high: float) -> float:
    """η_t = η_min + (η_max - η_min) t / span: Eq. 6 of the paper."""
    return low + (high - low) * (step / span)


def linear_step(lr: float, span: float, low: float, high: float) -> float:
    """The t at which :func:`linear` reaches ``lr``."""
    return span * (lr - low) / (high - low)


# --- decay: the share of the peak LR at a share u of the decay phase; 1 at u = 0, 0 at u = 1 -----------


def _cosine(u: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * u))


def _to_zero(u: float) -> float:
    return 1 - u


def _one_minus_sqrt(u: float) -> float:
    return 1 - math.sqrt(u)


SHAPES: Final[dict[str, Callable[[float], float]]] = {
    "cosine": _cosine,  # Loshchilov and Hutter, 2017; Section 2.2 of the paper
    "constant-cosine": _cosine,  # after a constant part, see `decay`
    "linear": _to_zero,
    "1-sqrt": _one_minus_sqrt,  # Hägele et al., 2024
}


def decay(shape: str, step: int, begin: int, end: int, peak: float, cooldown_fraction: float) -> float:
    """The LR at ``step`` of a decay from ``peak`` at step ``begin`` to zero at step ``end``.

    ``u = (step - begin) / (end - begin)`` for 'cosine', 'linear' and '1-sqrt'; 'constant-cosine' keeps the
    peak until the last ``cooldown_fraction`` of all ``end`` steps (Section 2.2). The last update, at step
    ``end - 1``, has an LR above zero; from ``end`` on the LR is zero.
    """
    if step >= end:
        return 0.0
    constant = end - cooldown_fraction * end if shape == "constant-cosine" else 0.0
    fall = max(begin, constant)
    return peak * SHAPES[shape](max(0.0, (step - fall) / (end - fall)))
