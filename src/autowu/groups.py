"""The LRs that an optimizer's parameter groups came with: what their ratios are taken from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def default_lr(optimizer: Optimizer) -> float:
    """The LR that groups without their own have; 0 where it is 0 and all groups' LRs are equal."""
    if isinstance(optimizer.defaults.get("lr"), Tensor):
        # Groups without their own LR hold this very tensor, and writing it must not change the default.
        optimizer.defaults["lr"] = optimizer.defaults["lr"].clone()
    default = float(optimizer.defaults.get("lr", 0.0))
    lrs = {base_lr(group) for group in optimizer.param_groups}
    if not default > 0 and len(lrs) > 1:
        raise ValueError(
            f"the optimizer's default lr must be > 0 for its groups to keep their ratios, not {default}"
        )
    return default if default > 0 else 0.0


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
