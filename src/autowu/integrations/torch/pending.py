"""Losses between two decisions: they stay on their device, and are read and reduced in one go."""

from __future__ import annotations

from typing import Any, Final, TypeGuard, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from autowu.arrays import Array

_FRONT: Final = 64  # slots of a buffer that updates are written into one by one


class PendingLosses:
    """One mean loss for each update since the last decision.

    Tensors are written into a buffer on their own device, so that adding one costs a copy of one number and
    neither a synchronisation nor an allocation. Numbers go into an array in host memory. Only the first slots
    of a buffer are written one by one, since a view of a slot costs half as much as the copy, and these few
    are made once; when they are full, they move behind those before them.
    """

    def __init__(self) -> None:
        self._averaged: Array = np.zeros(0)  # the first updates: means over all ranks already
        self._read: list[Array] = []  # updates that are in host memory already
        self._buffer: Tensor | Array = np.empty(0)
        self._views: tuple[Tensor, ...] = ()  # of its slots in front
        self._front = 0  # updates in front, the last ones
        self._behind = 0  # updates behind the slots in front
        self._room = 0  # updates that the buffer has room for
        self._due = 1  # updates that will be in it at the next decision
        self._micro = 0  # losses in the update that is not closed yet
        self.observed = False  # whether any were added before their update was closed
        # Of the last loss, if it was a plain scalar, and the buffer has room for all that will be like it.
        self._last: tuple[torch.dtype, torch.device] | None = None

    def __len__(self) -> int:
        return len(self._averaged) + sum(map(len, self._read)) + self._behind + self._front

    @property
    def open(self) -> bool:
        """Whether a loss has been added since the last update was closed."""
        return self._micro > 0

    def expect(self, updates: int) -> None:
        """There will be so many updates until the next decision, the one that is not closed yet included.

        To be said before the losses are added, so that the buffer has room for them.
        """
        self._due = self._behind + self._front + updates
        self._last = self._last if self._due <= self._room else None

    def add(self, loss: object) -> None:
        """Add a loss to the update that is not closed yet: a tensor, NumPy or Python number with one element.

        Raises:
            TypeError: ``loss`` is not a real number.
            ValueError: ``loss`` has not exactly one element.
        """
        if self._like_last(loss):
            value = loss.detach() if loss.requires_grad else loss
        else:
            value = _as_scalar(loss)
            if not self._fits(value):
                self._open_buffer(value)
            self._last = (loss.dtype, loss.device) if type(loss) is Tensor and loss.ndim == 0 else None
        if self._micro:
            self._buffer[self._front] += value
        else:
            if self._front == _FRONT:
                self._move_back()
            if isinstance(value, Tensor):
                self._views[self._front].copy_(value)
            else:
                self._buffer[self._front] = value
        self._micro += 1

    def add_update(self, loss: object) -> None:
        """:meth:`add`, if it is not None, and :meth:`close_update`; fast where it is the only one.

        Raises:
            TypeError, ValueError: as :meth:`add` does.
        """
        front = self._front
        if self._micro == 0 and front < _FRONT and self._like_last(loss):
            self._views[front].copy_(loss.detach() if loss.requires_grad else loss)
            self._front = front + 1
        else:
            if loss is None:
                self.observed = True
            else:
                self.add(loss)
            self.close_update()

    def _like_last(self, loss: object) -> TypeGuard[Tensor]:
        """Whether ``loss`` needs none of the checks that the loss before has passed: nearly always."""
        last = self._last
        return (
            last is not None
            and type(loss) is Tensor
            and loss.dtype is last[0]
            and loss.device == last[1]
            and loss.ndim == 0
        )

    def _move_back(self) -> None:
        """Make the slots in front free."""
        buffer: Any = self._buffer  # of either kind
        begin = _FRONT + self._behind
        buffer[begin : begin + self._front] = buffer[: self._front]
        self._behind, self._front = self._behind + self._front, 0

    def close_update(self) -> None:
        """The losses added since the last call make one update; its loss is their mean."""
        if self._micro > 1:
            self._buffer[self._front] /= self._micro
        self._front, self._micro = self._front + 1, 0

    def drop_update(self, loss: object) -> None:
        """Forget the losses of the update that is not closed yet, after a look at its last one, if not None.

        Raises:
            TypeError, ValueError: as :meth:`add` does.
        """
        if loss is not None and not self._like_last(loss):
            self.add(loss)
        self._micro = 0

    def _fits(self, value: Tensor | float) -> bool:
        if self._due > self._room:
            return False
        buffer = self._buffer
        if isinstance(value, Tensor):
            wide = value.dtype == torch.float64
            return (
                isinstance(buffer, Tensor)
                and value.device == buffer.device
                and (not wide or buffer.dtype == torch.float64)
            )
        return not isinstance(buffer, Tensor)

    def _open_buffer(self, value: Tensor | float) -> None:
        """A buffer for losses such as ``value``. What the old one holds goes to host memory."""
        self._flush()
        room, views = max(self._due, _FRONT), tuple[Tensor, ...]()
        size = _FRONT if room == _FRONT else _FRONT + room
        buffer: Any
        if isinstance(value, Tensor):
            # float32 holds every narrower type exactly.
            wide = value.dtype == torch.float64
            dtype = torch.float64 if wide else torch.float32
            with torch.inference_mode(False):  # written to outside of it, too
                buffer = torch.zeros(size, dtype=dtype, device=value.device)
            views = buffer[:_FRONT].unbind()
        else:
            buffer = np.zeros(size)
        if self._micro:
            buffer[0] = float(self._buffer[0])
        # At once, or not at all.
        self._buffer, self._views, self._room, self._last = buffer, views, room, None

    def _flush(self) -> None:
        """Move closed updates to host memory, and the one that is not closed to the front of the buffer."""
        count, place = self._behind + self._front, self._front
        if count:
            read, due = [*self._read, _to_host(self._closed())], self._due - count
            self._read, self._behind, self._front, self._due = read, 0, 0, due  # at once, or not at all
            if self._micro:
                self._buffer[0] = self._buffer[place]

    def _closed(self) -> Tensor | Array:
        """The closed updates in the buffer, in order."""
        if not self._behind:
            return self._buffer[: self._front]
        self._move_back()
        return self._buffer[_FRONT : _FRONT + self._behind]

    def read(self, group: dist.ProcessGroup | None) -> Array:
        """The mean loss of each closed update [n], in order; they stay until :meth:`clear`.

        With a process group, the mean over its ranks' finite losses, by one all-reduce of sums and counts;
        NaN where no rank's loss is finite.
        """
        if self._micro:  # decisions come between updates, but for one that was interrupted
            self._flush()
        if group is None:
            self._flush()
            losses = self._read[0] if not len(self._averaged) and len(self._read) == 1 else self._known()
        else:
            losses = np.concatenate([self._averaged, mean_over_ranks(self._local(group), group)])
        self._averaged, self._read, self._behind, self._front = losses, [], 0, 0
        return losses

    def clear(self) -> None:
        """Forget what :meth:`read` gave: it has been decided upon."""
        self._averaged = np.zeros(0)

    def look(self) -> Array:
        """The mean loss of each closed update [n], in order, by this rank's own.

        Nothing is changed: a signal's handler may ask within a step.
        """
        buffer: Any = self._buffer
        parts = buffer[_FRONT : _FRONT + self._behind], buffer[: self._front]
        return np.concatenate([self._averaged, *self._read, *map(_to_host, parts)])

    def _known(self) -> Array:
        """The closed updates that are in host memory."""
        return np.concatenate([self._averaged, *self._read])

    def average(self, group: dist.ProcessGroup) -> None:
        """Take the means over the group's ranks now; an update that is open stays each rank's own."""
        self._flush()
        if self._read:
            means = mean_over_ranks(self._local(group), group)
            self._averaged, self._read = np.concatenate([self._averaged, means]), []

    def _local(self, group: dist.ProcessGroup) -> Tensor:
        """This rank's losses, where its process group communicates, in the precision that the device has."""
        on_gpu = "nccl" in str(dist.get_backend(group))
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        parts = [torch.from_numpy(part).to(device) for part in self._read]
        if self._behind or self._front:
            parts.append(torch.as_tensor(self._closed()).to(device, torch.float64))
        return torch.cat([torch.zeros(0, dtype=torch.float64, device=device), *parts])

    def __getstate__(self) -> dict[str, Any]:
        """Views of the buffer would be tensors of their own in a copy."""
        return self.to_dict() | {"due": self._due - self._behind - self._front}  # updates still to come

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = self.from_dict(state).__dict__
        self.expect(state["due"])

    def to_dict(self) -> dict[str, Any]:
        """The closed updates' losses [n], the number that are means over ranks, and the open one's sum."""
        losses, front = self.look(), self._front
        partial = torch.as_tensor(self._buffer[front]).to("cpu", copy=True) if self._micro else None
        return {
            "losses": torch.from_numpy(losses),
            "averaged": len(self._averaged),
            "partial": partial,
            "micro": self._micro,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> PendingLosses:
        """The inverse of :meth:`to_dict`.

        Raises:
            TypeError, ValueError: a value is of a wrong type or shape.
        """
        losses, partial, micro = plain["losses"], plain["partial"], plain["micro"]
        if not isinstance(losses, Tensor) or losses.dtype != torch.float64 or losses.ndim != 1:
            raise ValueError(f"the pending losses must be a vector in float64, not {losses!r:.80}")
        averaged = plain["averaged"]
        if type(averaged) is not int or not 0 <= averaged <= len(losses):
            raise ValueError(f"{averaged!r:.80} of {len(losses)} pending losses cannot be means over ranks")
        if type(micro) is not int or micro < 0 or (micro > 0) != isinstance(partial, Tensor):
            raise ValueError(f"{micro!r:.80} pending losses of an open update cannot sum to {partial!r:.80}")
        pending = cls()
        pending._averaged, local = _to_host(losses[:averaged]), _to_host(losses[averaged:])
        pending._read = [local] if len(local) else []
        if micro:
            # In the type that it had: the mean must come out as if there had been no break.
            pending.add(partial)
            pending._micro = micro
        return pending


def _as_scalar(loss: object) -> Tensor | float:
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise ValueError(f"loss must have one element, not shape {tuple(loss.shape)}")
        if loss.is_complex() or loss.dtype == torch.bool or loss.is_quantized:
            raise TypeError(f"loss must be a real number, not {loss.dtype}")
        if loss.is_nested or loss.layout != torch.strided:
            raise TypeError(
                f"loss must be a dense tensor, not a {'nested' if loss.is_nested else loss.layout} one"
            )
        value = loss.detach()  # or else the buffer would keep the graph
        if type(value) is not Tensor and hasattr(value, "to_local"):
            # A DTensor (whose import takes a second); the loss is the same on each of its ranks.
            value: Tensor = cast("Any", value).to_local()
        return value if value.ndim == 0 else value.reshape(())
    if isinstance(loss, (int, float)) and not isinstance(loss, bool):
        return float(loss)
    if isinstance(loss, bool) or not hasattr(loss, "__array__"):
        raise TypeError(f"loss must be a tensor, NumPy or Python number, not {loss!r:.80}")
    if np.ma.is_masked(loss):
        raise TypeError("loss must be a real number, not a masked one")
    array = np.asarray(loss)
    if array.size != 1:
        raise ValueError(f"loss must have one element, not shape {array.shape}")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"loss must be a real number, not {array.dtype}")
    return float(array.reshape(()))


def _to_host(values: Tensor | Array) -> Array:
    # NumPy widens them: in less than half the time of torch, and less is transferred.
    if not isinstance(values, Tensor):
        return values.astype(np.float64)
    here: Any = values if values.is_cpu else values.cpu()
    return here.numpy().astype(np.float64)


def mean_over_ranks(losses: Tensor, group: dist.ProcessGroup) -> Array:
    """The mean of each of these losses [n] over the ranks where it is finite; NaN where it is nowhere."""
    finite = losses.isfinite()
    sums = torch.stack([losses.where(finite, torch.zeros_like(losses)), finite.double()])
    dist.all_reduce(sums, group=group)
    total, count = sums.cpu().numpy()
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
