"""The LRs of parameter groups: each is a share of the schedule's, by the LR that it came with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor
from torch.optim import Optimizer

from autowu.integrations.torch.bases import (
    bases_of,
    check,
    default_of,
    number,
    own_tensor,
    reference_of,
    same,
    scale_of,
    scaled,
    scales_of,
    set_apart,
    simple,
)
from autowu.integrations.torch.nested import with_own_groups, within


class Groups:
    """The parameter groups of one or several optimizers, and the share of the schedule's LR that each gets.

    The schedule's LR is that of a group with the first optimizer's default LR; where all groups have one LR,
    it is theirs, whatever that is. Of an optimizer that holds others the groups of all are written.

    Raises:
        ValueError: a group has no LR, or None; or the LRs of the groups differ, and the default LR, which
            they are shares of, is not positive.

    Warns:
        UserWarning: the LRs differ, and no group has the LR that they are shares of.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self._given = list(optimizers)
        self._holders = with_own_groups(within(optimizers))
        for optimizer in self._holders:
            check(optimizer)
        self._reference, self._uniform = reference_of(self._holders)
        self._shares = [self._of(optimizer) for optimizer in self._holders]
        self._flat = [share for shares in self._shares for share in shares]
        self.adopt()

    def adopt(self) -> None:
        """Take the LRs that the groups have now for those last written."""
        self._know()
        self._written = [number(group["lr"]) for group in self._known]
        self.overwritten: tuple[float, float] | None = None
        """An LR that a group had in place of the one last written, and that one; the first that was seen."""

    def _know(self) -> None:
        """Note the groups themselves, and which optimizers within others share theirs."""
        self._known = list(self._groups())  # themselves, so that no id is used twice
        set_apart(self._known, self._flat)
        shares = dict(zip(map(id, self._known), self._flat, strict=True))
        every = within(self._given)
        self._ids = [(each, [*map(id, each.param_groups)]) for each in every]
        self._sharing = [
            (each, [shares[id(group)] for group in each.param_groups])
            for each in every
            if all(each is not holder for holder in self._holders)
        ]

    def _of(self, optimizer: Optimizer) -> list[float]:
        bases = bases_of(optimizer)
        for group in optimizer.param_groups:
            own_tensor(optimizer, group)
        if self._uniform:
            return scales_of(optimizer)
        if same(bases) and not bases[0]:  # a schedule of before may have ended there
            bases = [default_of(optimizer) or 0.0] * len(bases)
        return [base / self._reference for base in bases]  # exactly 1 where a group has that LR

    def _groups(self) -> list[dict[str, Any]]:
        if len(self._holders) == 1:
            return self._holders[0].param_groups
        return [group for optimizer in self._holders for group in optimizer.param_groups]

    @property
    def base_lrs(self) -> list[float]:
        """The LRs that the groups came with."""
        # One that was added since the last step has not been noted yet.
        return [number(group.get("initial_lr", group["lr"])) for group in self._groups()]

    def lrs(self) -> list[float]:
        """The LRs that the groups have; of tensors those last written, since reading one may wait."""
        return [
            held if type(held := group["lr"]) is float else written
            for group, written in zip(self._groups(), self._written, strict=False)
        ]

    def write(self, lr: float) -> None:
        """Set the LR of each group to its share of ``lr``; a tensor is changed in place."""
        shares, written = self._flat, self._written
        # A group that was added since the last step has no share yet.
        for at, group in enumerate(self._groups()[: len(shares)]):
            held, before, value = group["lr"], written[at], lr * shares[at]
            if type(held) is float:
                if held != before and self.overwritten is None and held != value:
                    self.overwritten = held, before
                group["lr"] = value
            elif isinstance(held, Tensor):
                (held.detach() if held.requires_grad else held).fill_(value)
            else:  # an integer, or a number of NumPy's
                if held != before and self.overwritten is None:
                    self.overwritten = number(held), before
                group["lr"] = value
            written[at] = value  # last, so that who was interrupted does not seem to be another hand

    def settle(self, lr: float) -> None:
        """:meth:`write`, if that is not what was last written."""
        if any(lr * share != held for share, held in zip(self._flat, self._written, strict=False)):
            self.write(lr)

    def look_at_tensors(self) -> None:
        """Notice what another hand has written into LRs that are tensors; reads from their devices."""
        for group, written in zip(self._groups(), self._written, strict=False):
            held = group["lr"]
            if isinstance(held, Tensor) and self.overwritten is None:
                expected = held.new_tensor(written).item()
                if (found := number(held)) != expected:
                    self.overwritten = found, expected

    # --- groups that come and go ----------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether there are other groups than before, or in another order."""
        for optimizer, ids in self._ids:  # noqa: SIM110 (any() takes longer, and this is done at each update)
            if [*map(id, optimizer.param_groups)] != ids:
                return True
        return False

    def take_in(self) -> None:
        """Give a share to groups, and to inner optimizers, that were added since the last update.

        That is the ratio of their LR to the LR of now, if it is a simple one (a tenth of what the others
        have: how layers are unfrozen), and else, as at the start, to the default LR. Groups that are known
        keep theirs, wherever they stand. Where all of an optimizer's are new, as after a state has been
        loaded into it, they are those of before, in order.

        Raises:
            RuntimeError: an optimizer has fewer groups than it had; nothing is changed.
            ValueError: a new group has no LR; nothing is changed.
        """
        holders = with_own_groups(within(self._given))
        before = {id(each): shares for each, shares in self._sharing}
        before |= {id(each): shares for each, shares in zip(self._holders, self._shares, strict=True)}
        in_order = self._written_in_order()
        # One that had groups may have none left, and so be no holder any more.
        for holder in {id(each): each for each in (*self._holders, *holders)}.values():
            groups, least = len(holder.param_groups), len(before.get(id(holder), []))
            if groups < least:
                raise RuntimeError(
                    f"the optimizer has {groups} parameter groups, fewer than the {least} it had"
                )
        for holder in holders:
            check(holder)
        of_known = dict(zip(map(id, self._known), zip(self._flat, self._written, strict=True), strict=True))
        shares, written = list[list[float]](), list[float]()
        for holder in holders:
            groups, kept = holder.param_groups, before.get(id(holder), [])
            loaded = not any(id(group) in of_known for group in groups)
            mine = list[float]()
            for at, group in enumerate(groups):
                share, lr = of_known.get(id(group), (None, number(group["lr"])))
                if share is None and loaded and at < len(kept):
                    share, lr = kept[at], in_order.get((id(holder), at), lr)
                mine.append(self._share_of_added(holder, group) if share is None else share)
                written.append(lr)
            shares.append(mine)
        for holder in holders:
            for group in holder.param_groups:
                if id(group) not in of_known:
                    own_tensor(holder, group)
                    group.setdefault("initial_lr", number(group["lr"]))
        before_all = vars(self).copy()
        try:
            self._holders, self._shares, self._written = holders, shares, written
            self._flat = [share for of in shares for share in of]
            self._know()
        except BaseException:  # Ctrl-C: it is done at the next step
            vars(self).update(before_all)
            raise

    def _written_in_order(self) -> dict[tuple[int, int], float]:
        """What was last written, by the holder and the number that a group had."""
        places = [
            (id(holder), at)
            for holder, shares in zip(self._holders, self._shares, strict=True)
            for at in range(len(shares))
        ]
        return dict(zip(places, self._written, strict=True))

    def _share_of_added(self, optimizer: Optimizer, group: dict[str, Any]) -> float:
        lr, exact = number(group["lr"]), not isinstance(group["lr"], Tensor)
        if self._uniform and lr == default_of(optimizer):
            return scale_of(optimizer, group) if scaled(optimizer) else 1.0
        now = next((lr / share for lr, share in zip(self._written, self._flat, strict=True) if share), 0.0)
        reference = self._reference or lr or 1.0
        if simple(lr, now, exact) and (lr <= now or not simple(lr, reference, exact)):
            return lr / now
        return lr / reference

    # --- checkpoints ----------------------------------------------------------------------------------

    def to_list(self) -> list[list[float]]:
        """The shares, a list for each optimizer that has groups of its own."""
        return [list(shares) for shares in self._shares]

    def check(self, saved: Any) -> list[list[float]]:
        """See that :meth:`to_list` of a checkpoint is of as many groups.

        Raises:
            ValueError: their number is another one, one is no finite number ≥ 0, or all are 0; the message
                names it.
        """
        lists = cast("list[Any]", saved) if isinstance(saved, list) else []
        if not lists or not all(isinstance(shares, list) for shares in lists):
            raise ValueError(f"the shares of the saved state must be lists of numbers, not {saved!r:.80}")
        checked = cast("list[list[float]]", lists)
        if len(checked) != len(self._holders):
            raise ValueError(
                f"there are {len(self._holders)} optimizers with parameter groups here, in the saved state"
                f" {len(checked)}"
            )
        for optimizer, shares in zip(self._holders, checked, strict=True):
            groups = len(optimizer.param_groups)
            if groups != len(shares):
                raise ValueError(
                    f"the optimizer has {groups} parameter groups, the saved state {len(shares)}"
                )
        every = [share for shares in checked for share in shares]
        for share in every:
            if type(share) is not float or not 0 <= share < math.inf:
                raise ValueError(
                    f"a share of the LR in the saved state must be a finite number ≥ 0, not {share!r:.80}"
                )
        if not any(every):
            raise ValueError("every share of the LR in the saved state is 0, and with it every LR would be 0")
        return checked

    def load(self, saved: list[list[float]]) -> None:
        """Take over what :meth:`check` has seen to be right."""
        self._shares = [list(shares) for shares in saved]
        self._flat = [share for shares in saved for share in shares]
        self.adopt()
