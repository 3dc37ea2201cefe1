"""Whether training is worth a snapshot: all finite, but for what has never been."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch import Tensor

from autowu.integrations.torch.places import Key, Numbers, Place
from autowu.integrations.torch.storage import all_finite, local, trainable


class Finite:
    """Knows what has never been finite: a mask with -inf, memory that nobody has set, a least value so far.

    That is what is not at the first look, while weights are, or what is not that joins later on (a mask that
    is trained as all that was frozen, the optimizer's state after the first update). It is not judged.
    """

    def __init__(self) -> None:
        self._never: set[Key] | None = None  # None: nobody has looked yet
        self._seen = set[Key]()  # what has been looked at; nothing after loading
        self.broken: Key | None = None
        """At the last look: a weight that was no longer finite or, if none was, state of an optimizer."""

    def healthy(self, places: Iterable[Place], moving: Sequence[Tensor]) -> bool:
        """Whether all that trains is finite now (reads from the device, once).

        The state of the optimizers is, too: a gradient that overflows may leave weights and loss as they are,
        and a second moment that is infinite, with which the weights do not move any more.

        Args:
            places: all there are.
            moving: frozen weights that change nevertheless.
        """
        weights, state = _trained(places)
        never, everything, self.broken = self._never, {**weights, **state}, None
        joined = everything.keys() - self._seen if self._seen else ()
        self._seen |= everything.keys()
        if never is not None:
            never = never | {key for key in joined if not all_finite([everything[key]])}
        if not never and all_finite([*everything.values(), *moving]):
            self._never = set() if never is None else never
            return True
        if never is None:
            never = {key for key, tensor in everything.items() if not all_finite([tensor])}
            if weights.keys() <= never:
                return False
        # What has become finite is as the rest from then on.
        never = {key for key in never if key in everything and not all_finite([everything[key]])}
        self._never = never
        judged = {key: tensor for key, tensor in everything.items() if key not in never}
        if all_finite([*judged.values(), *moving]):
            return True
        self.broken = next((key for key, tensor in judged.items() if not all_finite([tensor])), None)
        return False

    def to_list(self, numbers: Numbers) -> list[Any] | None:
        """What has never been finite: numbers of parameters, then places of state; None: nobody looked."""
        if self._never is None:
            return None
        known = [at for key in self._never if (at := numbers.of(key)) is not None]
        ours = sorted(at[1] for at in known if at[0] == "parameter")
        return [*ours, *sorted((at for at in known if at[0] != "parameter"), key=str)]

    def load(self, saved: Any, numbers: Numbers, parameters: int) -> None:
        """The inverse of :meth:`to_list`.

        Args:
            saved: from a checkpoint.
            numbers: of what there is.
            parameters: how many there are.

        Raises:
            ValueError: it is none; nothing is changed.
        """
        if saved is None:
            return
        listed = cast("list[Any]", saved) if type(saved) is list else [None]
        ours = [at for at in listed if type(at) is int and at >= 0]
        places: list[Any] = [at for at in listed if isinstance(at, list) and at[:1] == ["state"]]
        if len(ours) + len(places) < len(listed):
            raise ValueError(f"what is not judged must be numbers ≥ 0, or places of state, not {saved!r:.80}")
        order = range(parameters)
        keys = [["parameter", at] for at in ours if at < parameters] + places
        self._never = {numbers.key(at, order) for at in keys}


def _trained(places: Iterable[Place]) -> tuple[dict[Key, Tensor], dict[Key, Tensor]]:
    """What trains of the parameters, and the state that is kept for it; single numbers count updates."""
    weights, state, resting = dict[Key, Tensor](), dict[Key, Tensor](), set[Key]()
    for place in places:
        key, value = place.key, place.value
        if not isinstance(value, Tensor):
            continue
        if key[0] == "parameter":
            if trainable(value):
                weights[key] = local(value)
            else:
                resting.add(key)
        elif key[0] == "state" and resting.isdisjoint(key[2:]):
            tensor = local(value)
            if type(tensor) is Tensor and tensor.ndim and tensor.is_floating_point():
                state[key] = tensor
    return weights, state
