"""Injected learning rates as numbers: their ratios, and whether they are what they were set to."""

# Pytrees have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from autowu.integrations.weights import Leaf


def ratios_of(rates: Mapping[str, Any], known: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Of those learning rates that are not ``known``, as the user gave them."""
    new = {path: np.asarray(leaf, np.float64) for path, leaf in rates.items() if path not in known}
    if not new:
        return {}
    first, leaf = next(iter(rates.items()))
    leading = np.asarray(leaf, np.float64)
    for path, rate in {first: leading, **new}.items():
        check_rate(f"opt_state{path}", rate)
    if len({*leading.flat}.union(*(rate.flat for rate in new.values()))) == 1:
        return {path: np.ones_like(rate) for path, rate in new.items()}  # one LR for all, whatever it is
    unit = leading.flat[0]
    if unit == 0:
        raise ValueError(
            f"the learning rates are in no ratio to opt_state{first}, which is 0, while others are not: give"
            " numbers whose ratios are those of the learning rates that you want"
        )
    return {path: rate / unit for path, rate in new.items()}


def as_set(leaf: Any, wanted: Leaf) -> tuple[Leaf, Leaf]:
    """What a learning rate is, and what it would be if it were set to what is ``wanted``."""
    here = np.asarray(leaf)
    return here, wanted.astype(here.dtype)


def is_close(here: Leaf, there: Leaf) -> bool:
    """Whether they are the same but for rounding."""
    close = 2 * float(jnp.finfo(here.dtype).eps)
    return np.allclose(here.astype(float), there.astype(float), rtol=close, atol=0)


def check_rate(name: str, rate: Leaf) -> None:
    """Refuse a learning rate that can be none."""
    if not (np.isfinite(rate).all() and (rate >= 0).all()):
        raise ValueError(f"{name} must be finite and ≥ 0, not {rate!s:.80}")
