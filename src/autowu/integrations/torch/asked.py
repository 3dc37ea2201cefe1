"""What is asked of a snapshot, seen to be possible before there is one."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn


def check_snapshot(model: object, device: object) -> torch.device | None:
    """The arguments of a snapshot, seen to be usable before there is one; nothing is allocated.

    Args:
        model: the module whose buffers are kept, or None.
        device: where the snapshot is to be, or None.

    Raises:
        TypeError: they are something else.
        ValueError: there is no such device.
    """
    if model is not None and not isinstance(model, nn.Module):
        several = "; several are one as torch.nn.ModuleList([…])" if isinstance(model, (list, tuple)) else ""
        raise TypeError(f"model must be a torch.nn.Module or None, not {model!r:.80}{several}")
    if device is None:
        return None
    try:
        place = torch.device(cast("Any", device))
    except (RuntimeError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"snapshot_device must be a device such as 'cpu' or 'cuda:0', or None, not {device!r:.80}"
        ) from error
    backend: Any = getattr(torch, place.type, None)  # such as torch.cuda; XLA's is not a part of torch
    count = backend.device_count() if hasattr(backend, "device_count") else math.inf
    if place.type == "meta" or (place.index or 0) >= count:
        raise ValueError(f"snapshot_device must be a device that is here, such as 'cpu', not {str(place)!r}")
    return place


def check_ranks(process_group: object, distributed: object) -> None:
    """Whose losses are averaged.

    Raises:
        TypeError: they are something else than a process group or None, and a bool.
    """
    if type(distributed) is not bool:
        raise TypeError(f"distributed must be True or False, not {distributed!r:.80}")
    if process_group is None:
        return
    if dist.is_available() and (
        isinstance(process_group, dist.ProcessGroup)
        or process_group == dist.GroupMember.NON_GROUP_MEMBER  # what new_group gives to the other ranks
    ):
        return
    raise TypeError(
        f"process_group must be a torch.distributed.ProcessGroup or None, not {process_group!r:.80}"
    )
