"""Injected learning rates as numbers: their ratios, and whether they are what they were set to."""

# Pytrees have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from autowu.integrations.weights import Leaf


def ratios_of(
    rates: Mapping[str, Any], known: Mapping[str, Leaf], unit: float | None
) -> tuple[dict[str, Leaf], float | None]:
    """Of those learning rates that are not ``known``, as the user gave them.

    Args:
        rates: all that there are, the leading one first.
        known: ratios of before.
        unit: what the leading one was when the user gave it; None: not known.

    Returns:
        The ratios of those that are new, and the unit from now on.
    """
    new = {path: np.asarray(leaf, np.float64) for path, leaf in rates.items() if path not in known}
    if not new:
        return {}, unit
    first, leaf = next(iter(rates.items()))
    if len(new) == len(rates):  # all are as the user gave them
        unit = float(np.asarray(leaf, np.float64).flat[0])
    for path, rate in new.items():
        check_rate(f"opt_state{path}", rate)
    if unit is None or all((rate == unit).all() for rate in new.values()):
        return {path: np.ones_like(rate) for path, rate in new.items()}, unit  # one LR, whatever it is
    if unit == 0:
        raise ValueError(
            f"the learning rates are in no ratio to opt_state{first}, which was given as 0, while others are"
            " not: give numbers whose ratios are those of the learning rates that you want"
        )
    return {path: rate / unit for path, rate in new.items()}, unit


def to_dict(ratios: Mapping[str, Leaf], unit: float | None) -> dict[str, Leaf]:
    """What a checkpoint keeps of them."""
    more = {} if unit is None else {"unit": np.array(unit)}
    return {f"ratio.{path}": ratio for path, ratio in ratios.items()} | more


def from_dict(saved: Mapping[str, Any]) -> tuple[dict[str, Leaf], float | None]:
    """Those of :func:`to_dict`, which may be anything.

    Raises:
        ValueError: the state is damaged.
    """
    try:
        found = {
            key: np.array(saved[key], np.float64)
            for key in saved
            if key.startswith("ratio.") or key == "unit"
        }
        unit = float(found["unit"]) if "unit" in found else None
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the state of AutoWU is damaged: {type(error).__name__}: {error}") from error
    for key, rate in found.items():
        check_rate(f"{key} of the saved state", rate)
    found.pop("unit", None)
    return {key.removeprefix("ratio."): ratio for key, ratio in found.items()}, unit


def as_set(leaf: Any, wanted: Leaf) -> tuple[Leaf, Leaf]:
    """What a learning rate is, and what it would be if it were set to what is ``wanted``."""
    here = np.asarray(leaf)
    return here, wanted.astype(here.dtype)


def is_close(here: Leaf, there: Leaf) -> bool:
    """Whether they are the same but for rounding."""
    close = 2 * float(jnp.finfo(here.dtype).eps)
    return np.allclose(here.astype(float), there.astype(float), rtol=close, atol=0)


def can_be_read(leaf: Any) -> bool:
    """Whether nothing has to be waited for."""
    return not isinstance(leaf, jax.Array) or leaf.is_deleted() or cast("Any", leaf).is_ready()


def not_as_set(path: str, leaf: Any, written: Leaf) -> str | None:
    """What to warn of where a learning rate is not what it was set to; None if it is."""
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        seen = (
            "the opt_state that step() was given has been used (donated) in place of the one that it returned"
        )
    else:
        here, there = as_set(leaf, written)
        if is_close(here, there):
            return None
        seen = f"opt_state{path} is {here}, where AutoWU had set {there}"
    return (
        f"AutoWU: {seen}. Take what step() returns, `params, opt_state = schedule.step(loss, params,"
        " opt_state)`, and set_learning_rate(); or, if something else sets the learning rate too, take that"
        " out of the loop. AutoWU's tests take such LRs for its own. This is said once."
    )


def check_rate(name: str, rate: Leaf) -> None:
    """Refuse a learning rate that can be none."""
    if not (np.isfinite(rate).all() and (rate >= 0).all()):
        raise ValueError(f"{name} must be finite and ≥ 0, not {rate!s:.80}")
