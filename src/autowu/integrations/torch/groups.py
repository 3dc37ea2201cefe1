"""The LRs that an optimizer's parameter groups came with: what their ratios are taken from."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def default_lr(optimizer: Optimizer) -> float:
    """The LR that groups without their own have; 0 where it is 0 and all groups' LRs are equal.

    Warns where no group has it: the schedule's LR is then that of none.
    """
    if isinstance(optimizer.defaults.get("lr"), Tensor):
        # Groups without their own LR hold this very tensor, and writing it must not change the default.
        optimizer.defaults["lr"] = optimizer.defaults["lr"].clone()
    default = float(optimizer.defaults.get("lr", 0.0))
    lrs = sorted({float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups})
    if not default > 0 and len(lrs) > 1:
        raise ValueError(
            f"the optimizer's default lr must be > 0 for its groups to keep their ratios, not {default}"
        )
    if not default > 0:
        return 0.0
    # An optimizer from a checkpoint is not judged: the scheduler's own state brings the LRs of its groups.
    used = len(optimizer.state) > 0 or any("initial_lr" in group for group in optimizer.param_groups)
    if not used and not any(math.isclose(lr, default, rel_tol=0.01) for lr in lrs):  # 0.01: bfloat16's digits
        its, times = _listed(lrs), _listed([lr / default for lr in lrs])
        warnings.warn(
            f"AutoWU: no parameter group has the optimizer's default lr, {default:.3g}. Groups with {its} get"
            f" {times} times the schedule's LR, and min_lr, max_lr and the peak LR that is reported hold for"
            " none. Give the optimizer as lr= the LR that one of its groups has.",
            stacklevel=3,
        )
    return default


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join([f"{number:.3g}" for number in numbers[:4]] + ["…"] * (len(numbers) > 4))


def base_lr(group: dict[str, Any]) -> float:
    """The LR that the user gave the group; 'initial_lr' keeps it in checkpoints of the optimizer."""
    return float(group.setdefault("initial_lr", float(group["lr"])))


def check_saved(optimizer: Optimizer, base_lrs: Sequence[Any], default: Any) -> None:
    """See that LRs from a checkpoint are those of as many groups as ``optimizer`` has.

    Raises:
        ValueError: their number is another one, or one is no finite number ≥ 0; the message names it.
    """
    groups, saved_groups = len(optimizer.param_groups), len(base_lrs)
    if groups != saved_groups:
        raise ValueError(f"the optimizer has {groups} parameter groups, the saved state {saved_groups}")
    for lr in [*base_lrs, default]:
        if type(lr) is not float or not 0 <= lr < math.inf:
            raise ValueError(f"an LR of the saved state must be a finite number ≥ 0, not {lr!r:.80}")
