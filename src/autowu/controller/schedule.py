"""Growth and decay of the learning rate: closed forms of the step, pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

# --- growth: the LR of a step of warm-up, and the step of an LR ---------------------------------------


def exponential(begin: float, span: float, ratio: float, start: float, most: float, step: float) -> float:
    """η_t = η_0 γ^(t - t_0) with γ = (η_max / η_min)^(1 / span), up to ``most``: Eq. 1 of the paper.

    Args:
        begin: t_0, the step at which the growth began.
        span: updates in which the LR would grow by ``ratio``.
        ratio: η_max / η_min.
        start: η_0, the LR at t_0.
        most: the LR that it never exceeds.
        step: t, a real number, since t* of Eq. 5 is one; last, so that the rest can be bound once.
    """
    lr = start * ratio ** ((step - begin) / span)
    return lr if lr < most else most  # min() takes longer, and this is done at each update


def exponential_step(lr: float, span: float, low: float, high: float, start: float) -> float:
    """The t - t_0 at which :func:`exponential` reaches ``lr``, between η_min ``low`` and η_max ``high``."""
    return span * math.log(lr / start) / math.log(high / low)


def linear(step: float, span: float, low: float, high: float) -> float:
    """η_t = η_min + (η_max - η_min) t / span: Eq. 6 of the paper."""
    return low + (high - low) * (step / span)


def linear_step(lr: float, span: float, low: float, high: float) -> float:
    """The t at which :func:`linear` reaches ``lr``."""
    return span * (lr - low) / (high - low)


# --- decay: the share of the peak LR when a share v = 1 - u of the fall is left; 1 at v = 1, 0 at v = 0 -
# In terms of v, since 1 - u and 1 + cos πu lose all their digits in the last updates of a long run.


def _cosine(v: float) -> float:
    return math.sin(0.5 * math.pi * v) ** 2  # = ½ (1 + cos πu)


def _one_minus_sqrt(v: float) -> float:
    return v / (1 + math.sqrt(1 - v))  # = 1 - √u


SHAPES: Final[dict[str, Callable[[float], float]]] = {
    "cosine": _cosine,  # Loshchilov and Hutter, 2017; Section 2.2 of the paper
    "constant-cosine": _cosine,  # after a constant part, see `decay`
    "linear": float,  # v itself; of Python's functions the one that takes no time
    "plateau": float,  # in a cooldown; else its LR falls by the loss alone
    "1-sqrt": _one_minus_sqrt,  # Hägele et al., 2024
}


def left(share: float, begin: float, end: int, step: int) -> float:
    """v, what is left of the fall at ``step``: from ``share`` at ``begin`` to 0 at ``end``, linearly."""
    if step >= end:
        return 0.0
    if begin >= end:  # by rounding there is no time to fall in
        return share
    part = (end - step) / (end - begin)
    return share * part if part < 1.0 else share


def decay(shape: str, share: float, begin: float, end: int, peak: float, step: int) -> float:
    """The LR at ``step`` of a decay that begins to fall at step ``begin`` and is zero from step ``end`` on.

    With u = 1 - v, 'cosine' is ½ (1 + cos πu), 'linear' 1 - u and '1-sqrt' 1 - √u of the peak. The last
    update, at step ``end - 1``, has an LR above zero.
    """
    return peak * SHAPES[shape](left(share, begin, end, step))
