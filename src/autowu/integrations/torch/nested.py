"""The optimizers that an optimizer is made of: wrappers and containers hold others, which really step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import signature
from types import ModuleType
from typing import Any, Final, cast

from torch import Tensor, nn
from torch.optim import Optimizer

_HOLDERS: Final = (Mapping, list, tuple, set, frozenset)
_MOST: Final = 10_000  # in one list: what has more is data, such as a trainer's


def listed(optimizer: Any) -> list[Optimizer]:
    """The optimizers that the user gave: one, or a sequence of them.

    Raises:
        TypeError: there is something else among them.
        ValueError: there is none, or one twice.
    """
    given = list(cast("Iterable[Any]", optimizer)) if isinstance(optimizer, Sequence) else [optimizer]
    for each in given:
        if not isinstance(each, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, not {type(each).__name__}")
    if not given:
        raise ValueError(
            "optimizer must be a torch.optim.Optimizer, or one or more of them, not an empty list"
        )
    if not any(each.param_groups for each in given):
        raise ValueError("optimizer must have a parameter group, and has none")
    if len({id(each) for each in given}) < len(given):
        raise ValueError("optimizer must be different torch.optim.Optimizers, and one is given twice")
    return given


def within(optimizers: Iterable[Optimizer]) -> list[Optimizer]:
    """These optimizers, each followed by those that it holds at whatever depth; each once.

    Looked for in the attributes, and in lists, tuples, sets and dicts there, which may be nested: Lookahead
    and sharpness-aware wrappers hold one, ZeroRedundancyOptimizer the one of its shard, containers many.
    Also in the attributes of plain objects there: those that have parameters of the optimizer's own.
    """
    found: dict[int, Optimizer] = {}
    for optimizer in optimizers:
        _collect(optimizer, found)
    return list(found.values())


def _collect(optimizer: Optimizer, found: dict[int, Optimizer]) -> None:
    if id(optimizer) in found:
        return
    found[id(optimizer)] = optimizer
    for value in attributes(optimizer).values():
        for each in _optimizers_of(value, set()):
            _collect(each, found)
        if _is_plain(value):
            mine = {id(parameter) for parameter in parameters([optimizer])}
            for each in _optimizers_of(vars(value), set()):
                if any(id(parameter) in mine for parameter in parameters([each])):
                    _collect(each, found)


def attributes(optimizer: Optimizer) -> dict[str, Any]:
    """What an optimizer has besides that which all of PyTorch's have."""
    return {
        name: value
        for name, value in vars(optimizer).items()
        if name not in ("param_groups", "state", "defaults") and "hooks" not in name
    }


def _optimizers_of(value: Any, seen: set[int]) -> Iterator[Optimizer]:
    if isinstance(value, Optimizer):
        yield value
    elif isinstance(value, _HOLDERS) and id(cast("Any", value)) not in seen:
        holder = cast("Any", value)
        if len(holder) > _MOST:
            return
        seen.add(id(holder))
        members = holder.values() if isinstance(value, Mapping) else holder
        # A long history of numbers is looked at by its types alone: in a hundredth of the time.
        if any(issubclass(kind, (Optimizer, *_HOLDERS)) for kind in set(map(type, members))):
            for each in members:
                yield from _optimizers_of(each, seen)


def _is_plain(value: Any) -> bool:
    """Whether it is an object that only holds others: neither a module, nor a tensor, nor a function."""
    apart = (Optimizer, nn.Module, Tensor, type, ModuleType, *_HOLDERS)
    return hasattr(value, "__dict__") and not isinstance(value, apart) and not callable(value)


def with_own_groups(optimizers: Iterable[Optimizer]) -> list[Optimizer]:
    """Those of ``optimizers`` with groups that none before them has: wrappers share their inner's."""
    own, seen = list[Optimizer](), set[int]()
    for optimizer in optimizers:
        groups = {id(group) for group in optimizer.param_groups}
        if not groups <= seen:
            own.append(optimizer)
            seen |= groups
    return own


def class_names(optimizers: Iterable[Optimizer]) -> list[str]:
    """Of the optimizers themselves, where a host has put its own around them: Accelerate and Lightning do."""
    names = list[str]()
    for optimizer in optimizers:
        while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
            optimizer = inner  # noqa: PLW2901
        names.append(type(optimizer).__name__)
    return names


def parameters(optimizers: Iterable[Optimizer]) -> list[Tensor]:
    """Each parameter once, in the optimizers' order; tied ones are one tensor, and so one entry."""
    found: dict[int, Tensor] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                found.setdefault(id(parameter), parameter)
    return list(found.values())


def arguments(optimizers: Iterable[Optimizer]) -> set[str]:
    """What their classes are called with: settings, which next to no optimizer changes by itself."""
    classes = {of for each in optimizers for of in type(each).__mro__ if of not in Optimizer.__mro__}
    return {name for of in classes if "__init__" in vars(of) for name in signature(of.__init__).parameters}


def partitioned(optimizers: Iterable[Optimizer]) -> bool:
    """Whether each rank has the state of some parameters alone: PyTorch's ZeRO, and fairscale's."""
    return any(hasattr(each, "consolidate_state_dict") for each in within(optimizers))


def facades(optimizers: Sequence[Optimizer]) -> set[int]:
    """The ids of those that only stand for others: they hold optimizers that step all of their parameters."""
    found = set[int]()
    for optimizer in optimizers:
        inner = [each for each in with_own_groups(within([optimizer])) if each is not optimizer]
        theirs = {id(parameter) for parameter in parameters(inner)}
        mine = {id(parameter) for parameter in parameters([optimizer])}
        if inner and (mine <= theirs or not mine & theirs):
            found.add(id(optimizer))
    return found
