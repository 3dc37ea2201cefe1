"""Checkpoints of AutoWU where each rank holds a part of the snapshot for rewinding.

A file for each rank, where the host has a folder; else all parts in the state that one rank saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.distributed as dist

from autowu.integrations.torch.nested import parameters, partitioned, within
from autowu.integrations.torch.scheduler import AutoWU
from autowu.integrations.torch.tensors import with_snapshot

# In a state that is saved for all ranks: how many files hold the parts of its snapshot, or the parts.
PARTS: Final = "snapshot_parts"


def is_sharded(scheduler: AutoWU) -> bool:
    """Whether a parameter is a DTensor, as FSDP2 and tensor parallelism make them, or its state sharded."""
    held = parameters(within(scheduler.optimizers))
    return any(hasattr(parameter, "to_local") for parameter in held) or partitioned(scheduler.optimizers)


class PerRank:
    """Stands for a scheduler where a host saves it once, for all ranks.

    If parameters are sharded, the state that it gives is the same on each rank. The rank's part of the copy
    for rewinding is in a file beside the host's, ``scheduler-rank-0.pt``, with the step that it belongs to.

    Args:
        scheduler: AutoWU, on this rank.
        folder: the host's checkpoint.
        file: the host's file for the scheduler, in that folder; it gives the parts their names.
        rank: of this process.
        ranks: their number.
    """

    def __init__(self, scheduler: AutoWU, folder: str | Path, file: str, rank: int, ranks: int) -> None:
        self._scheduler, self._ranks = scheduler, ranks
        stem, suffix = Path(file).stem, Path(file).suffix
        self._path = Path(folder) / f"{stem}-rank-{rank}{suffix}"

    def save(self) -> None:
        """Before the host saves, on every rank: agree on the losses, and write this rank's part."""
        self._scheduler.share_losses()
        self._path.unlink(missing_ok=True)  # of an earlier save into this folder
        state = self._scheduler.state_dict()
        if is_sharded(self._scheduler) and state["snapshot"] is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"step": state["step"], "snapshot": state["snapshot"]}, self._path)

    def state_dict(self) -> dict[str, Any]:
        """What one rank saves for all of them."""
        state = self._scheduler.state_dict()
        if not is_sharded(self._scheduler) or state["snapshot"] is None:
            return state
        return {**with_snapshot(state, None), PARTS: self._ranks}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from the host's file and, if there is one, this rank's part: on every rank.

        Raises:
            ValueError: on every rank, and nothing is changed: a part is missing, or of another checkpoint, or
                their number is not that of the ranks. Else as :meth:`autowu.AutoWU.load_state_dict`.
        """
        state = dict(state_dict)
        parts = state.pop(PARTS, None)
        if parts is None:
            self._scheduler.load_state_dict(state)
            return
        _check_number(parts, self._ranks)
        part, problem = self._read(state.get("step"))
        problem = _first(problem)
        if problem is not None:
            raise ValueError(problem)
        self._scheduler.load_state_dict(with_snapshot(state, part))

    def _read(self, step: object) -> tuple[Any, str | None]:
        """This rank's part of the snapshot, or what is wrong with it."""
        try:
            saved = torch.load(self._path, map_location="cpu", weights_only=True)
            mine, part = saved["step"], saved["snapshot"]
        except Exception as error:  # other ranks wait for this one, whatever the file is
            return None, f"{self._path.name} cannot be read: {type(error).__name__}: {error}"
        if mine != step:
            return None, f"{self._path.name} is of step {mine!r:.80}, but the checkpoint is of step {step}"
        return part, None


def gathered(scheduler: AutoWU) -> dict[str, Any]:
    """The state that rank 0 saves for all, with the parts of each: a collective operation.

    They are gathered in host memory, as much as the whole model and its optimizer's state take.
    """
    state = scheduler.state_dict()
    snapshot = state["snapshot"]
    if not is_sharded(scheduler) or snapshot is None:
        return state
    on_host = {name: tensor.cpu() for name, tensor in snapshot["tensors"].items()}
    # By gloo: by the GPUs' own backend, objects would go through their memory.
    group = cast("dist.ProcessGroup", dist.new_group(backend="gloo"))
    parts = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object({**snapshot, "tensors": on_host}, parts, group=group)
    dist.destroy_process_group(group)
    return {**with_snapshot(state, None), PARTS: parts}


def with_part(saved: Mapping[str, Any]) -> dict[str, Any]:
    """This rank's state, of what :func:`gathered` gave.

    Raises:
        ValueError: it is of another number of ranks.
    """
    state = dict(saved)
    parts = state.pop(PARTS, None)
    if parts is None:
        return state
    known = list(cast("Iterable[Any]", parts)) if isinstance(parts, (list, tuple)) else []
    _check_number(len(known), dist.get_world_size() if dist.is_initialized() else 1)
    return with_snapshot(state, known[dist.get_rank() if dist.is_initialized() else 0])


def _check_number(parts: object, ranks: int) -> None:
    if parts != ranks:
        raise ValueError(
            f"the snapshot for rewinding was saved by {parts!r:.80} processes, each its part, and here are"
            f" {ranks}: go on with as many. (After the last update a checkpoint has none, and serves any"
            " number.)"
        )


def _first(problem: str | None) -> str | None:
    """The first problem that any rank has."""
    if not (dist.is_available() and dist.is_initialized()):
        return problem
    problems: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(problems, problem)
    return next((each for each in problems if each is not None), None)
