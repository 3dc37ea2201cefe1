"""Where training keeps what it changes: parameters, the optimizers' state and groups, the model's buffers.

Each place has a key that is made of the things themselves, not of where they stand in a list, so that it is
found again after layers have been frozen, added or replaced:

    ("parameter", id)                    ("buffer", name)
    ("state", optimizer's id, field, …)  a field may be ("parameter", id), or of an attribute ("id", id)
    ("group", optimizer, number, field)  as when the snapshot was taken
    ("attribute", optimizer's id, name)  what an optimizer keeps elsewhere; more fields where it is in a list
                                         or a dict there
    ("frozen", name)                     a frozen parameter of the model's that no optimizer holds

A field that is a module, as K-FAC has it, is ("module", id), and in no checkpoint.

In a checkpoint the ids are numbers: of the parameter among all, of the optimizer among all.
"""

from __future__ import annotations

import re
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from autowu.integrations.torch.bases import FACTORS
from autowu.integrations.torch.masters import linked
from autowu.integrations.torch.nested import attributes, parameters, partitioned, with_own_groups, within
from autowu.integrations.torch.own import Own, as_part

Key: TypeAlias = tuple[Any, ...]

# Entries of a parameter group that are not put back: what it consists of, what the scheduler sets, and
# settings that no optimizer changes by itself, so that somebody else has.
NOT_KEPT: Final = frozenset(
    {"params", "param_names", "lr", "initial_lr", *FACTORS}
    | {"weight_decay", "betas", "beta1", "beta2", "momentum", "dampening", "nesterov", "alpha", "eps"}
    | {"maximize", "foreach", "fused", "capturable", "differentiable", "amsgrad", "centered"}
)
# What wrappers put before a model's names: torch.compile, DataParallel, FSDP and checkpointing.
_WRAPPER: Final = re.compile(r"(?<![^.])(_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True, eq=False)
class Place:
    """One thing that training changes."""

    key: Key
    value: Any
    entry: tuple[Any, Any] | None = None
    """The dict or list, and the field, that it stands in; None where it can only be changed in place."""


class Training:
    """The optimizers, with those that they hold, and the model, if it is given."""

    def __init__(self, optimizers: Sequence[Optimizer], model: nn.Module | None) -> None:
        self.given = list(optimizers)
        self.model = model
        self._came_with = [_reference(each) for each in self.parameters()]

    def optimizers(self) -> list[Optimizer]:
        """All of them."""
        return within(self.given)

    def parameters(self) -> list[Tensor]:
        """Each of the optimizers' parameters once, frozen ones as well."""
        return parameters(within(self.given))

    def served(self) -> list[Tensor]:
        """What the model computes with: its parameters, else those that the optimizers came with."""
        if self.model is not None:
            return list(self.model.parameters())
        return self.came_with()

    def came_with(self) -> list[Tensor]:
        """The parameters that the optimizers came with, as far as they live."""
        return [each for reference in self._came_with if (each := reference()) is not None]

    def names(self) -> list[str | None]:
        """The model's name of each of :meth:`parameters`, without what wrappers put into it."""
        named = {} if self.model is None else dict(self.model.named_parameters())
        short = plain(named)
        of = {id(parameter): short[name] for name, parameter in named.items()}
        return [of.get(id(parameter)) for parameter in self.parameters()]

    def shard(self) -> int | None:
        """This process's rank, if parameters or their state are sharded over the ranks; else None."""
        marks = ("to_local", "_fsdp_flattened")  # of a DTensor; of version 1 of FSDP
        sharded = any(hasattr(each, mark) for each in self.parameters() for mark in marks)
        sharded = sharded or partitioned(self.given) or bool(linked(self.served()))
        return dist.get_rank() if sharded and dist.is_initialized() else None

    def anchors(self) -> dict[int, tuple[int, int]]:
        """The groups that parameters are in, by their ids."""
        return {id(each): group for group, members in self._groups() for each in members["params"]}

    def _groups(self) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        for at, optimizer in enumerate(with_own_groups(within(self.given))):
            for number, group in enumerate(optimizer.param_groups):
                yield (at, number), group

    def groups(
        self, anchors: Mapping[int, tuple[int, int]]
    ) -> Iterator[tuple[tuple[int, int], Key, dict[str, Any]]]:
        """Where each group is now; its key, by the first of its parameters that has an anchor; and itself."""
        for now, group in self._groups():
            then = next((anchors[id(each)] for each in group["params"] if id(each) in anchors), None)
            yield now, ("group", *now, "new") if then is None else ("group", *then), group

    def places(self, anchors: Mapping[int, tuple[int, int]] | None = None) -> Iterator[Place]:
        """All places there are now, each once: wrappers share what they hold with those within.

        Args:
            anchors: the groups that parameters were in when the snapshot was taken. None: now.
        """
        optimizers = within(self.given)
        found = parameters(optimizers)
        groups = list(self.groups(self.anchors() if anchors is None else anchors))
        own = Own(map(id, found))
        for _, _, group in groups:
            own.new(group)  # with its own rules, whoever else holds it
        for parameter in found:
            yield Place(("parameter", id(parameter)), parameter)
        for optimizer in optimizers:
            state = cast("dict[Any, Any]", optimizer.state)
            if own.new(state):
                yield from _entries(("state", id(optimizer)), state)
            for each in own.of(("attribute", id(optimizer)), vars(optimizer), attributes(optimizer)):
                yield Place(*each)
        for _, key, group in groups:
            yield from _entries(key, group, NOT_KEPT)
        if self.model is not None:
            averages, named = self.averages(), dict(self.model.named_parameters())
            for name, short in plain(named).items():
                rests = not named[name].requires_grad or id(named[name]) in averages
                if rests and own.new(named[name]):
                    yield Place(("frozen", short), named[name])
            buffers = dict(self.model.named_buffers())
            for name, short in plain(buffers).items():
                yield Place(("buffer", short), buffers[name])

    def averages(self) -> set[int]:
        """The ids of parameters that only average others: PyTorch's own class leaves them trainable."""
        modules = () if self.model is None else self.model.modules()
        return {
            id(parameter)
            for module in modules
            if isinstance(module, AveragedModel)
            for parameter in module.parameters()
        }

    def caches(self) -> set[Key]:
        """Buffers that the model says are no part of its state: what it computes anew when it needs more."""
        if self.model is None:
            return set()
        short = plain(name for name, _ in self.model.named_buffers())
        names = (
            f"{path}.{name}" if path else name
            for path, module in cast("Any", self.model).named_modules()
            for name in module._non_persistent_buffers_set
        )
        return {("buffer", short[name]) for name in names if name in short}


def _reference(tensor: Tensor) -> Callable[[], Tensor | None]:
    """A weak one, but to what ``model.to()`` swaps: a tensor that has a weak reference cannot be swapped."""
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    if swaps or type(tensor) not in (Tensor, nn.Parameter):
        return lambda: tensor
    return weakref.ref(tensor)


def plain(names: Iterable[str]) -> dict[str, str]:
    """Names in the model, each without what wrappers put into it, but where two would become one.

    These are without what is around the whole model.
    """
    given = list(names)
    inner = given
    while inner and all(map(_WRAPPER.match, inner)):
        inner = [_WRAPPER.sub("", name, count=1) for name in inner]
    short = [_WRAPPER.sub("", name) for name in inner]
    times = Counter(short)
    return {
        name: of if times[of] == 1 else within for name, within, of in zip(given, inner, short, strict=True)
    }


def _entries(key: Key, holder: dict[Any, Any], without: Set[str] = frozenset()) -> Iterator[Place]:
    """The entries of a dict, and of the dicts in it; their fields may be parameters."""
    for field, value in list(holder.items()):
        if not isinstance(field, Tensor) and field in without:
            continue
        inner = (*key, as_part(field))
        if isinstance(value, dict):
            yield from _entries(inner, cast("dict[Any, Any]", value))
        else:
            yield Place(inner, value, (holder, field))


class Numbers:
    """Ids as numbers and back, for checkpoints and for names."""

    def __init__(self, training: Training) -> None:
        self._parameters = training.parameters()
        self._optimizers = training.optimizers()
        self._parameter = {id(each): number for number, each in enumerate(self._parameters)}
        self._optimizer = {id(each): number for number, each in enumerate(self._optimizers)}

    def of(self, key: Key) -> list[Any] | None:
        """The key with numbers in place of ids; None if a parameter or an optimizer is gone."""
        numbers: list[Any] = [key[0]]
        for index, part in enumerate(key[1:]):
            if key[0] in ("state", "attribute") and index == 0:
                part = self._optimizer.get(part)  # noqa: PLW2901
            elif key[0] == "parameter":
                part = self._parameter.get(part)  # noqa: PLW2901
            elif isinstance(part, tuple):
                form, *of = cast("Key", part) or (None,)  # or a field that is a tuple
                number = self._parameter.get(of[0]) if form in ("parameter", "id") and len(of) == 1 else None
                part = None if number is None else [form, number]  # noqa: PLW2901
            if part is None:
                return None
            numbers.append(part)
        return numbers

    def key(self, numbers: Sequence[Any], order: Sequence[int]) -> Key:
        """The inverse of :meth:`of`.

        Args:
            numbers: from a checkpoint.
            order: of each parameter of the checkpoint, its number here.

        Raises:
            LookupError, TypeError: there is no such parameter or optimizer.
        """
        kind, rest = numbers[0], list[Any](numbers[1:])
        if kind == "parameter":
            return kind, self._id(order, rest[0])
        if kind in ("state", "attribute"):
            number: int = rest[0]
            rest[0] = id(self._optimizers[number])
        return (kind, *(self._part(order, part) for part in rest))

    def _part(self, order: Sequence[int], part: Any) -> Any:
        if not isinstance(part, list):
            return part
        form, number = cast("list[Any]", part)
        return form, self._id(order, number)

    def _id(self, order: Sequence[int], number: int) -> int:
        return id(self._parameters[order[number]])

    def holder(self, key: Key) -> tuple[Any, Any] | None:
        """The dict or list, and the field, of what an optimizer has no longer.

        In the state dicts are made anew. Of what stood in an attribute that is no more, it is None.
        """
        optimizer = self._optimizers[self._optimizer[key[1]]]
        fields = [self._field(field) for field in key[2:]]
        holder: Any = optimizer.state if key[0] == "state" else vars(optimizer)
        for field in fields[:-1]:
            if key[0] == "state":
                holder = holder.setdefault(field, {})
            elif (holder := _inside(holder, field)) is None:
                return None
        return holder, fields[-1]

    def _field(self, field: Any) -> Any:
        if not isinstance(field, tuple):
            return field
        form, of = cast("Key", field)
        return of if form == "id" else self._parameters[self._parameter[of]]


def _inside(holder: Any, field: Any) -> Any:
    """The dict or list that stands there, or None."""
    try:
        inner = holder[field]
    except (LookupError, TypeError):
        return None
    return inner if isinstance(inner, (dict, list, deque)) else None  # pyright: ignore[reportUnknownVariableType]
