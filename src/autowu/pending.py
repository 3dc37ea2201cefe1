"""Losses between two decisions: they stay on their device, and are read and reduced in one go."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from autowu.gp import Array

_SMALLEST: Final = 64  # slots of a buffer, so that short waits share one


class PendingLosses:
    """One mean loss for each update since the last decision.

    Tensors are written into a buffer on their own device, so that adding one costs a copy of one number and
    neither a synchronisation nor an allocation. Numbers go into an array in host memory.
    """

    def __init__(self) -> None:
        self._read: list[Array] = []  # updates that are in host memory already
        self._buffer: Tensor | Array = np.empty(0)
        self._count = 0  # updates in the buffer
        self._micro = 0  # losses in the update that is not closed yet

    def __len__(self) -> int:
        return sum(map(len, self._read)) + self._count

    @property
    def open(self) -> bool:
        """Whether a loss has been added since the last update was closed."""
        return self._micro > 0

    def add(self, loss: object, expected: int) -> None:
        """Add a loss to the update that is not closed yet.

        Args:
            loss: a tensor, NumPy or Python number with one element.
            expected: updates until the next decision; the buffer's size.

        Raises:
            TypeError: ``loss`` is not a real number.
            ValueError: ``loss`` has more than one element.
        """
        value = _as_scalar(loss)
        if not self._fits(value):
            self._open_buffer(value, expected)
        if isinstance(self._buffer, Tensor):
            slot = self._buffer[self._count]
            # A tensor, or else `_fits` had opened another buffer.
            if self._micro == 0:
                slot.copy_(value)  # pyright: ignore[reportArgumentType]
            else:
                slot.add_(value)
        elif self._micro == 0:
            self._buffer[self._count] = value
        else:
            self._buffer[self._count] += value
        self._micro += 1

    def close_update(self) -> None:
        """The losses added since the last call make one update; its loss is their mean."""
        if self._micro > 1:
            self._buffer[self._count] /= self._micro
        self._count, self._micro = self._count + 1, 0

    def drop_update(self) -> None:
        """Forget the losses of the update that is not closed yet."""
        self._micro = 0

    def _fits(self, value: Tensor | float) -> bool:
        if self._count >= len(self._buffer):
            return False
        if isinstance(value, Tensor) and isinstance(self._buffer, Tensor):
            return value.device == self._buffer.device and _storage_type(value) == self._buffer.dtype
        return isinstance(value, Tensor) == isinstance(self._buffer, Tensor)

    def _open_buffer(self, value: Tensor | float, expected: int) -> None:
        """A buffer for losses such as ``value``. What the old one holds goes to host memory."""
        partial = float(self._buffer[self._count]) if self._micro else None
        self._flush()
        size = max(expected, _SMALLEST)
        if isinstance(value, Tensor):
            self._buffer = torch.zeros(size, dtype=_storage_type(value), device=value.device)
        else:
            self._buffer = np.zeros(size)
        if partial is not None:
            self._buffer[0] = partial

    def _flush(self) -> None:
        if self._count:
            self._read.append(_to_host(self._buffer[: self._count]))
            self._count = 0

    def read(self, group: dist.ProcessGroup | None) -> Array:
        """Take out the mean loss of each closed update [n], in order.

        With a process group, the mean over its ranks' finite losses, by one all-reduce of sums and counts;
        NaN where no rank's loss is finite.
        """
        assert not self._micro  # decisions come between updates
        if group is None:
            self._flush()
            losses = np.concatenate([np.zeros(0), *self._read])
        else:
            losses = _mean_over_ranks(self._local(group), group)
        self._read, self._count = [], 0
        return losses

    def _local(self, group: dist.ProcessGroup) -> Tensor:
        """This rank's losses, where its process group communicates, in the precision that the device has."""
        on_gpu = "nccl" in str(dist.get_backend(group))
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        parts = [torch.from_numpy(part).to(device) for part in self._read]
        if self._count:
            part = torch.as_tensor(self._buffer[: self._count])
            parts.append(part.to(device, torch.float64))
        return torch.cat([torch.zeros(0, dtype=torch.float64, device=device), *parts])

    def to_dict(self) -> dict[str, Any]:
        """Plain values and a tensor."""
        self._flush_for_save()
        losses = np.concatenate([np.zeros(0), *self._read])
        partial = float(self._buffer[0]) if self._micro else 0.0
        return {"losses": torch.from_numpy(losses), "partial": partial, "micro": self._micro}

    def _flush_for_save(self) -> None:
        if self._count and self._micro:
            partial = self._buffer[self._count]
            self._flush()
            self._buffer[0] = partial
        self._flush()

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> PendingLosses:
        """The inverse of :meth:`to_dict`."""
        pending = cls()
        losses = plain["losses"].double().cpu().numpy().copy()
        if losses.ndim != 1:
            raise ValueError(f"losses must have one dimension, not {losses.ndim}")
        pending._read = [losses] if len(losses) else []
        pending._micro = int(plain["micro"])
        if pending._micro:
            pending._buffer = np.zeros(_SMALLEST)
            pending._buffer[0] = float(plain["partial"])
        return pending


def _as_scalar(loss: object) -> Tensor | float:
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise ValueError(f"loss must have one element, not shape {tuple(loss.shape)}")
        if loss.is_complex():
            raise TypeError(f"loss must be a real number, not {loss.dtype}")
        value = loss.detach()  # or else the buffer would keep the graph
        if isinstance(value, DTensor):  # the loss is the same on each of its ranks
            value = value.to_local()
        return value if value.ndim == 0 else value.reshape(())
    if isinstance(loss, (int, float)) and not isinstance(loss, bool):
        return float(loss)
    if isinstance(loss, bool) or not hasattr(loss, "__array__"):
        raise TypeError(f"loss must be a tensor, NumPy or Python number, not {loss!r:.80}")
    array = np.asarray(loss, dtype=np.float64)
    if array.size != 1:
        raise ValueError(f"loss must have one element, not shape {array.shape}")
    return float(array.reshape(()))


def _storage_type(value: Tensor) -> torch.dtype:
    """float32 holds every narrower type exactly."""
    return torch.float64 if value.dtype == torch.float64 else torch.float32


def _to_host(values: Tensor | Array) -> Array:
    if isinstance(values, Tensor):
        host: Array = values.to("cpu", torch.float64).numpy()  # pyright: ignore[reportUnknownVariableType]
        return host.copy()
    return values.copy()


def _mean_over_ranks(losses: Tensor, group: dist.ProcessGroup) -> Array:
    finite = losses.isfinite()
    sums = torch.stack([losses.where(finite, torch.zeros_like(losses)), finite.double()])
    dist.all_reduce(sums, group=group)
    total, count = sums.cpu().numpy()
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
