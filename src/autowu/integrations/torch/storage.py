"""Copies of tensors: which can be kept, which can be put back, and both in as few calls as can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy


def local(tensor: Tensor) -> Tensor:
    """The storage itself, without its graph; of a DTensor this rank's shard."""
    if type(tensor) is Tensor and not tensor.requires_grad:
        return tensor
    plain = tensor.detach()
    if type(plain) is not Tensor and hasattr(plain, "to_local"):  # a DTensor, whose import takes a second
        plain: Tensor = cast("Any", plain).to_local()
    return plain


def trainable(parameter: Tensor) -> bool:
    """Whether training can change it, and so a copy of it may be needed."""
    return parameter.requires_grad and not is_lazy(parameter)


def why_not_kept(tensor: Tensor) -> str | None:
    """Why no copy of ``tensor`` can be taken or put back, or None."""
    if is_lazy(tensor):
        return "has no shape yet"
    if tensor.is_meta:
        return "is on the meta device, and has no values"
    if tensor.is_nested:
        return "is nested"
    if _overlaps(written_part(tensor)):
        return "has elements that share their memory"
    return None


def written_part(tensor: Tensor) -> Tensor:
    """Of a tensor made by ``expand()`` each element once: all that can be written to."""
    if type(tensor) is not Tensor or tensor.layout != torch.strided or tensor.is_contiguous():
        return tensor
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _overlaps(tensor: Tensor) -> bool:
    if type(tensor) is not Tensor or tensor.layout != torch.strided:
        return False
    if tensor.is_contiguous() or not tensor.numel():
        return False
    extent = 1  # in memory: of the axes so far, from the shortest stride on
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride < extent:
                return True
            extent = stride * (size - 1) + extent
    return False


def clone_of(tensor: Tensor, device: torch.device | None) -> Tensor:
    """A copy in memory of its own, on ``device`` or its own one."""
    part = written_part(tensor)
    if device is not None and part.device != device:
        return part.to(device, copy=True)
    try:
        return part.clone()
    except NotImplementedError:  # such as torchao's state of eight bits
        if not hasattr(part, "__tensor_flatten__"):
            raise
        return _clone_by_parts(part)


def _clone_by_parts(tensor: Any) -> Tensor:
    """A copy of a subclass by the tensors that it is made of."""
    names, context = tensor.__tensor_flatten__()
    parts = {name: clone_of(getattr(tensor, name), None) for name in names}
    return tensor.__tensor_unflatten__(parts, context, tensor.shape, tensor.stride())


def as_of(kept: Tensor, tensor: Tensor) -> Tensor:
    """``kept`` in the precision of ``tensor``, as a checkpoint is that is loaded into another one."""
    if kept.dtype != tensor.dtype and kept.is_floating_point() and tensor.is_floating_point():
        return kept.to(tensor.dtype)
    return kept


def fits(kept: Tensor, tensor: Tensor) -> bool:
    """Whether a copy of ``tensor`` can be kept in the memory of ``kept``."""
    part = written_part(tensor)
    plain = type(kept) is type(part) and kept.layout == part.layout == torch.strided
    return plain and kept.shape == part.shape and kept.dtype == part.dtype


def misfit(tensor: Tensor, kept: Tensor) -> str | None:
    """Why ``kept`` cannot be written into ``tensor``, or None."""
    if reason := why_not_kept(tensor):
        return reason
    part = written_part(tensor)
    if part.shape != kept.shape:
        return f"has shape {tuple(tensor.shape)} now, and had {tuple(kept.shape)}"
    if part.dtype != kept.dtype:
        return f"is in {part.dtype} now, and was in {kept.dtype}"
    return None


def copy_all(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Copy the second of each pair into the first."""
    plain = list[tuple[Tensor, Tensor]]()
    for to, of in pairs:
        to_part, of_part = written_part(to), written_part(of)
        if type(of_part) is Tensor and _is_plain(to_part):
            plain.append((to_part, of_part))
        else:
            to_part.copy_(of_part)  # quantised or sparse: as the type itself does it
    if plain:  # all in one call, as the optimizers do it: one launch, not one a tensor
        torch._foreach_copy_([to for to, _ in plain], [of for _, of in plain])  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def _is_plain(tensor: Tensor) -> bool:
    """Whether it can be written to beside others: not as the conjugate, or the negative, of its memory."""
    plain = type(tensor) is Tensor and tensor.layout == torch.strided
    return plain and not tensor.is_conj() and not tensor.is_neg()


def write(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """:func:`copy_all`; what was made under ``inference_mode`` can only be written there."""
    copy_all([pair for pair in pairs if not pair[0].is_inference()])
    with torch.inference_mode():
        copy_all([pair for pair in pairs if pair[0].is_inference()])


def zero_gradients(tensors: Sequence[Tensor]) -> set[int]:
    """Fill the gradients that are there with zeros, in place: others may hold them. Under ``no_grad``.

    Returns:
        The ids of the gradients.
    """
    gradients = [gradient for tensor in tensors if (gradient := tensor.grad) is not None]
    for gradient in gradients:
        with torch.inference_mode(gradient.is_inference()):  # only there it can be written to
            gradient.zero_()
    return {id(gradient) for gradient in gradients}


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all are finite (reads from the device, once); numbers of a type that cannot tell are."""
    checked = [
        tensor
        for tensor in tensors
        if (tensor.is_floating_point() or tensor.is_complex())
        and tensor.numel()  # a rank's shard may be empty, and has no largest size
        and not tensor.is_meta
    ]
    if not checked:
        return True
    try:  # in one pass: the largest size is finite if all are
        largest = torch._foreach_norm(checked, math.inf)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    except (RuntimeError, TypeError):  # sparse, quantised, of eight bits, or an odd subclass
        return all(map(_seems_finite, checked))
    first = largest[0].device
    together = torch.stack([norm if norm.device == first else norm.to(first) for norm in largest])
    return math.isfinite(together.max().item())


def _seems_finite(tensor: Tensor) -> bool:
    try:
        return bool(tensor.to_dense().float().isfinite().all())
    except (RuntimeError, TypeError):  # such as torchao's for training in eight bits
        return True
