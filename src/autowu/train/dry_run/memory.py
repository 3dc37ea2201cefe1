"""How much memory a run will take on each device, before it runs.

Counted: parameters, buffers, gradients, optimizer state, the copy for rewinding, data that live on the
device, what autograd keeps of one micro-batch for its backward pass, and the gradients that are on their way
back at a time. Not counted: PyTorch itself, the work space of kernels, what an allocator leaves unused, and
evaluations, which can take more than small updates do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from autowu.train.schedules import Method


def bytes_of(*values: object) -> int:
    """Of all tensors in ``values``, their containers and theirs, memory that several share counted once."""
    return sum(storage.nbytes() for storage in _storages(values).values())


def optimizer_state(method: Method) -> int:
    """Bytes of the optimizer's state: an update with gradients of zero makes it. The weights may change."""
    for group in method.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    one = torch.ones(())
    method.before_step(one, lambda: one)  # some methods must not miss it
    method.optimizer.step()
    method.optimizer.zero_grad()
    return bytes_of(*method.optimizer.state.values())


def activations(model: nn.Module, inputs: tuple[int, ...], *, text: bool, half: bool) -> tuple[int, int]:
    """Bytes that autograd keeps of a micro-batch: a forward pass on the meta device, which computes nothing.

    Args:
        model: is moved to the meta device, and so lost.
        inputs: shape of the micro-batch.
        text: whether the inputs are tokens; then each has a target.
        half: whether activations take two bytes a value, as with mixed precision; an estimate.

    Returns:
        Bytes of all that is kept, and of the gradients on their way back: that of a layer's output and that
        of its input, each at most as large as the largest of what is kept.
    """
    model = model.to("meta").train()
    if half:
        model = model.to(torch.bfloat16)
    kind = torch.int64 if text else torch.bfloat16 if half else torch.float32
    batch = torch.empty(inputs, dtype=kind, device="meta")
    targets = torch.empty(inputs if text else inputs[:1], dtype=torch.int64, device="meta")
    own = _storages([*model.parameters(), *model.buffers()])
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.update(_storages([tensor]))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits: Tensor = model(batch)
        functional.cross_entropy(logits.flatten(0, -2), targets.flatten())
    kept.update(_storages([batch, targets, logits]))
    sizes = [storage.nbytes() for key, storage in kept.items() if key not in own]
    return sum(sizes), 2 * max(sizes)


def _storages(values: Iterable[object]) -> dict[int, torch.UntypedStorage]:
    """Each block of memory that tensors among ``values`` lie in, by its identity."""
    found: dict[int, torch.UntypedStorage] = {}
    for value in values:
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            found[cast("Any", storage)._cdata] = storage
        elif isinstance(value, Mapping):
            found |= _storages(cast("Mapping[Any, object]", value).values())
        elif isinstance(value, (list, tuple)):
            found |= _storages(cast("Iterable[object]", value))
    return found
