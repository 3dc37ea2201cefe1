"""Whether weights are worth a snapshot: all finite, but for those that have never been."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from autowu.integrations.torch.storage import all_finite, local, trainable


class Finite:
    """Knows which parameters have never been finite: a mask with -inf, or memory that nobody has set.

    They are those that are not at the first look, while others are. They are not judged.
    """

    def __init__(self) -> None:
        self._never: set[int] | None = None  # by their ids; None: nobody has looked yet

    def healthy(self, parameters: Sequence[Tensor], moving: Sequence[Tensor]) -> bool:
        """Whether all that train are finite now (reads from the device, once).

        Args:
            parameters: of the optimizers, frozen ones as well.
            moving: frozen weights that change nevertheless.
        """
        trained = {id(each): local(each) for each in parameters if trainable(each)}
        never = self._never
        if not never and all_finite([*trained.values(), *moving]):
            self._never = set() if never is None else never
            return True
        if never is None:
            never = {of for of, tensor in trained.items() if not all_finite([tensor])}
            if len(never) == len(trained):
                return False
        # One that has become finite is as the others from then on.
        self._never = {of for of in never if of in trained and not all_finite([trained[of]])}
        return all_finite([*(tensor for of, tensor in trained.items() if of not in never), *moving])

    def to_list(self, parameters: Sequence[Tensor]) -> list[int] | None:
        """The numbers of those that have never been finite; None: nobody has looked yet."""
        never = self._never
        return None if never is None else [at for at, each in enumerate(parameters) if id(each) in never]

    def load(self, numbers: Any, parameters: Sequence[Tensor]) -> None:
        """The inverse of :meth:`to_list`.

        Raises:
            ValueError: ``numbers`` are none; nothing is changed.
        """
        if numbers is None:
            return
        if type(numbers) is not list or not all(
            type(at) is int and at >= 0 for at in cast("list[Any]", numbers)
        ):
            raise ValueError(f"the parameters that are not judged must be numbers ≥ 0, not {numbers!r:.80}")
        known = cast("list[int]", numbers)
        self._never = {id(parameters[at]) for at in known if at < len(parameters)}
