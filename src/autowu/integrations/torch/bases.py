"""The LRs that parameter groups came with, and the one that they are shares of."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from autowu.integrations.torch.nested import class_names, facades, within

FACTORS: Final = ("lr_scale", "lr_mult", "lr_multiplier")
"""Entries of a group that others' schedules multiply its LR by: timm's and MAE's, TSN's, DINOv2's."""


def number(lr: Any) -> float:
    """An LR, which may be a tensor, even one that has a gradient."""
    return float(lr.detach()) if isinstance(lr, Tensor) else float(lr)


def check(optimizer: Optimizer) -> None:
    """See that each group has an LR that can be set."""
    name = class_names([optimizer])[0]
    for index, group in enumerate(optimizer.param_groups):
        if "lr" not in group:
            raise ValueError(
                f"optimizer must have an 'lr' in each parameter group for AutoWU to set; group {index} of"
                f" {name} has none, only {', '.join(key for key in group if key != 'params') or 'parameters'}"
            )
        if group["lr"] is None:
            raise ValueError(
                f"optimizer must have a number as lr, not None: {name} would set its LR by itself (lr=None in"
                f" group {index}). Give it one, whatever it is, such as lr=1e-3; with transformers' Adafactor"
                " also relative_step=False and warmup_init=False."
            )
        lr = group["lr"]
        if isinstance(lr, Tensor) and (lr.numel() != 1 or not lr.is_floating_point()):
            raise ValueError(
                f"the lr in group {index} of {name} must be a floating-point tensor with one element, such as"
                f" torch.tensor(1e-3), for AutoWU to write to; not one of {lr.dtype}, shape {tuple(lr.shape)}"
            )
        if not math.isfinite(number(lr)):
            raise ValueError(f"the lr in group {index} of {name} must be a finite number, not {number(lr)}")


def own_tensor(optimizer: Optimizer, group: dict[str, Any]) -> None:
    """Groups without their own LR hold the default's tensor; writing one must not change the others.

    One that was made under ``inference_mode`` could not be written to.
    """
    lr = group["lr"]
    if isinstance(lr, Tensor) and (lr is _defaults(optimizer).get("lr") or lr.is_inference()):
        with torch.inference_mode(False):
            group["lr"] = lr.clone()


def set_apart(groups: Sequence[dict[str, Any]], shares: Sequence[float]) -> None:
    """One tensor cannot hold the LRs of groups with different shares: the first keeps it."""
    share_of = dict[int, float]()
    for group, share in zip(groups, shares, strict=True):
        lr = group["lr"]
        if isinstance(lr, Tensor) and share_of.setdefault(id(lr), share) != share:
            group["lr"] = lr.detach().clone()


def bases_of(optimizer: Optimizer) -> list[float]:
    """The LRs that the groups came with; 'initial_lr' keeps them in checkpoints of the optimizer."""
    if isinstance(default := _defaults(optimizer).get("lr"), Tensor):
        _defaults(optimizer)["lr"] = default.clone()
    now = [number(group["lr"]) for group in optimizer.param_groups]
    for group, lr in zip(optimizer.param_groups, now, strict=True):
        group.setdefault("initial_lr", lr)
    before = [float(group["initial_lr"]) for group in optimizer.param_groups]
    if not _set_since(before, now):
        return before
    for group, lr in zip(optimizer.param_groups, now, strict=True):
        group["initial_lr"] = lr
    return now


def _set_since(before: Sequence[float], now: Sequence[float]) -> bool:
    """Whether somebody has given the groups other ratios since a scheduler noted their 'initial_lr'.

    A scheduler changes all by one factor, or to numbers whose ratio nobody would write down.
    """
    if not all(one > 0 and other > 0 for one, other in zip(before, now, strict=True)):
        return False
    factors = [other / one for one, other in zip(before, now, strict=True)]
    return not same(factors or [1.0]) and all(simple(lr, now[0], exact=False) for lr in now)


def default_of(optimizer: Optimizer) -> float | None:
    """The LR of groups that were given none; None if the optimizer has no such."""
    default = _defaults(optimizer).get("lr")
    return None if default is None else number(default)


def _defaults(optimizer: Optimizer) -> dict[str, Any]:
    """Its own, or those of the one within: PyTorch's PostLocalSGDOptimizer has none, not even empty ones."""
    for each in within([optimizer]):
        if (found := cast("dict[str, Any] | None", getattr(each, "defaults", None))) is not None:
            return found
    return {}


def scaled(optimizer: Optimizer) -> bool:
    """Whether its groups have different factors, as timm's layer decay gives them."""
    return len({scale_of(optimizer, group) for group in optimizer.param_groups}) > 1


def scale_of(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    """The product of its ``FACTORS``, but for settings of the optimizer's own, which applies them itself."""
    own = _defaults(optimizer)
    factors = [group.get(name) for name in FACTORS if name not in own]
    return math.prod((float(factor) for factor in factors if factor is not None), start=1.0)


def scales_of(optimizer: Optimizer) -> list[float]:
    """The shares of groups that all have one LR: 1, or the factors that the schedule before applied."""
    apart = scaled(optimizer)
    return [scale_of(optimizer, group) if apart else 1.0 for group in optimizer.param_groups]


def same(bases: Sequence[float]) -> bool:
    """Whether they are one LR."""
    return all(math.isclose(base, bases[0], rel_tol=1e-6) for base in bases)


def reference_of(holders: Sequence[Optimizer]) -> tuple[float, bool]:
    """The LR that groups have shares of, and whether all groups have one: then it does not matter which.

    Warns where no group has it: the schedule's LR is then that of none.
    """
    # An optimizer from a checkpoint is not judged: the scheduler's own state brings the shares.
    used = any(
        len(holder.state) or group.get("initial_lr", group["lr"]) != group["lr"]
        for holder in holders
        for group in holder.param_groups
    )
    apart = facades(holders)
    first = next((holder for holder in holders if id(holder) not in apart), holders[0])
    bases, default = bases_of(first), default_of(first)
    flat = [base for holder in holders for base in bases_of(holder)]
    if not flat or same(flat):
        return (flat[0] if flat else 0.0) or default or 0.0, True
    if same(bases):
        reference = bases[0] or default or 0.0
    else:
        reference = next((base for base in bases if base > 0), 0.0) if default is None else default
    if not reference > 0:
        raise ValueError(
            f"the optimizer's default lr must be > 0 for its groups to keep their ratios, not {reference}"
        )
    missing = default is None or not any(math.isclose(base, reference, rel_tol=0.01) for base in flat)
    if not used and missing and not same(bases):  # 0.01: bfloat16's digits
        _warn(reference, sorted(set(flat)), default)
    return reference, False


def _warn(reference: float, lrs: Sequence[float], default: float | None) -> None:
    its, times = _listed(lrs), _listed([lr / reference for lr in lrs])
    get = f"Groups with {its} get {times} times the schedule's LR"
    if default is None:
        text = f"the optimizer has no default lr, and its first group's, {reference:.3g}, serves. {get}."
    else:
        text = (
            f"no parameter group has the optimizer's default lr, {reference:.3g}. {get}, and min_lr, max_lr"
            " and the peak LR that is reported hold for none. Give the optimizer as lr= the LR that one of"
            " its groups has."
        )
    warnings.warn(f"AutoWU: {text}", stacklevel=5)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join([f"{number:.3g}" for number in numbers[:4]] + ["…"] * (len(numbers) > 4))


def simple(a: float, b: float, exact: bool) -> bool:
    """Whether a / b is a simple ratio, such as one that a person writes down."""
    if not (a > 0 and b > 0):
        return False
    most, error = (10_000, 1e-12) if exact else (100, 1e-6)
    share = Fraction(min(a, b) / max(a, b)).limit_denominator(most)
    ratio = share if a < b else 1 / (share or 1)
    return math.isclose(float(ratio), a / b, rel_tol=error)
