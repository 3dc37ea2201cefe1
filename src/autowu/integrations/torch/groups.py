"""The LRs of parameter groups: each is a share of the schedule's, by the LR that it came with."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

from torch import Tensor
from torch.optim import Optimizer

from autowu.integrations.torch.nested import facades, with_own_groups, within


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
            _check(optimizer)
        self._reference, self._uniform = _reference(self._holders)
        self._shares = [self._of(optimizer) for optimizer in self._holders]
        self._flat = [share for shares in self._shares for share in shares]
        self.adopt()

    def adopt(self) -> None:
        """Take the LRs that the groups have now for those last written."""
        self._written = [_number(group["lr"]) for group in self._groups()]
        self.overwritten: tuple[float, float] | None = None
        """An LR that a group had in place of the one last written, and that one; the first that was seen."""

    def _of(self, optimizer: Optimizer) -> list[float]:
        bases = _bases(optimizer)
        for group in optimizer.param_groups:
            _own_tensor(optimizer, group)
        if self._uniform:
            return [1.0] * len(bases)
        if _same(bases) and not bases[0]:  # a schedule of before may have ended there
            bases = [_default(optimizer) or 0.0] * len(bases)
        return [base / self._reference for base in bases]  # exactly 1 where a group has that LR

    def _groups(self) -> list[dict[str, Any]]:
        if len(self._holders) == 1:
            return self._holders[0].param_groups
        return [group for optimizer in self._holders for group in optimizer.param_groups]

    @property
    def base_lrs(self) -> list[float]:
        """The LRs that the groups came with."""
        return [float(group["initial_lr"]) for group in self._groups()]

    def lrs(self) -> list[float]:
        """The LRs that the groups have; of tensors those last written, since reading one may wait."""
        return [
            held if type(held := group["lr"]) is float else written
            for group, written in zip(self._groups(), self._written, strict=False)
        ]

    def write(self, lr: float) -> None:
        """Set the LR of each group to its share of ``lr``; a tensor is changed in place."""
        values = list[float]()
        # As many of each: `changed` sees to it, and `strict` would cost a tenth of all of step().
        for group, share, before in zip(self._groups(), self._flat, self._written):  # noqa: B905
            value = lr * share
            held = group["lr"]
            if type(held) is float:
                if held != before and self.overwritten is None:
                    self.overwritten = held, before
                group["lr"] = value
            elif isinstance(held, Tensor):
                held.fill_(value)
            else:
                group["lr"] = value
            values.append(value)
        self._written = values

    def look_at_tensors(self) -> None:
        """Notice what another hand has written into LRs that are tensors; reads from their devices."""
        for group, written in zip(self._groups(), self._written, strict=False):
            held = group["lr"]
            if isinstance(held, Tensor) and self.overwritten is None:
                expected = held.new_tensor(written).item()
                if (found := held.item()) != expected:
                    self.overwritten = found, expected

    # --- groups that come and go ----------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether there are other groups than before."""
        return len(self._groups()) != len(self._flat)

    def take_in(self) -> None:
        """Give a share to groups, and to inner optimizers, that were added since the last update.

        That is the ratio of their LR to the LR of now, if it is a simple one (a tenth of what the others
        have: how layers are unfrozen), and else, as at the start, to the default LR.

        Raises:
            RuntimeError: an optimizer has fewer groups than it had; nothing is changed.
            ValueError: a new group has no LR; nothing is changed.
        """
        holders = with_own_groups(within(self._given))
        known = {id(holder): shares for holder, shares in zip(self._holders, self._shares, strict=True)}
        for holder, before in zip(self._holders, self._shares, strict=True):
            if (groups := len(holder.param_groups)) < len(before):
                raise RuntimeError(
                    f"the optimizer has {groups} parameter groups, fewer than the {len(before)} it had"
                )
        shares = list[list[float]]()
        for holder in holders:
            before, groups = known.get(id(holder), []), holder.param_groups
            _check(holder)
            shares.append(before + [self._share_of_added(holder, group) for group in groups[len(before) :]])
        for holder in holders:
            for group in holder.param_groups[len(known.get(id(holder), [])) :]:
                _own_tensor(holder, group)
                group.setdefault("initial_lr", _number(group["lr"]))
        written = dict(zip(map(id, self._groups()), self._written, strict=False))
        self._holders, self._shares = holders, shares
        self._flat = [share for of in shares for share in of]
        self._written = [written.get(id(group), _number(group["lr"])) for group in self._groups()]

    def _share_of_added(self, optimizer: Optimizer, group: dict[str, Any]) -> float:
        lr, exact = _number(group["lr"]), not isinstance(group["lr"], Tensor)
        if self._uniform and lr == _default(optimizer):
            return 1.0
        now = next((lr / share for lr, share in zip(self._written, self._flat, strict=True) if share), 0.0)
        reference = self._reference or lr or 1.0
        if _simple(lr, now, exact) and (lr <= now or not _simple(lr, reference, exact)):
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


# --- the LRs that groups came with ---------------------------------------------------------------------


def _number(lr: Any) -> float:
    return float(lr)


def _check(optimizer: Optimizer) -> None:
    """See that each group has an LR that can be set."""
    name = type(optimizer).__name__
    for index, group in enumerate(optimizer.param_groups):
        if "lr" not in group:
            raise ValueError(
                f"optimizer must have an 'lr' in each parameter group for AutoWU to set; group {index} of"
                f" {name} has none, only {', '.join(key for key in group if key != 'params') or 'parameters'}"
            )
        if group["lr"] is None:
            raise ValueError(
                f"optimizer must have a number as lr, not None: {name} would set its LR by itself (lr=None in"
                f" group {index}). Give it one, whatever it is, such as lr=1e-3; with transformers' Adafactor"
                " also relative_step=False and warmup_init=False."
            )


def _own_tensor(optimizer: Optimizer, group: dict[str, Any]) -> None:
    """Groups without their own LR hold the default's tensor; writing one must not change the others."""
    if group["lr"] is optimizer.defaults.get("lr") and isinstance(group["lr"], Tensor):
        group["lr"] = group["lr"].clone()


def _bases(optimizer: Optimizer) -> list[float]:
    """The LRs that the groups came with; 'initial_lr' keeps them in checkpoints of the optimizer."""
    if isinstance(optimizer.defaults.get("lr"), Tensor):
        optimizer.defaults["lr"] = optimizer.defaults["lr"].clone()
    return [float(group.setdefault("initial_lr", _number(group["lr"]))) for group in optimizer.param_groups]


def _default(optimizer: Optimizer) -> float | None:
    default = optimizer.defaults.get("lr")
    return None if default is None else _number(default)


def _same(bases: Sequence[float]) -> bool:
    return all(math.isclose(base, bases[0], rel_tol=1e-6) for base in bases)


def _reference(holders: Sequence[Optimizer]) -> tuple[float, bool]:
    """The LR that groups have shares of, and whether all groups have one: then it does not matter which.

    Warns where no group has it: the schedule's LR is then that of none.
    """
    # An optimizer from a checkpoint is not judged: the scheduler's own state brings the shares.
    used = any(
        len(holder.state) or "initial_lr" in group for holder in holders for group in holder.param_groups
    )
    apart = facades(holders)
    first = next((holder for holder in holders if id(holder) not in apart), holders[0])
    bases, default = _bases(first), _default(first)
    flat = [base for holder in holders for base in _bases(holder)]
    if not flat or _same(flat):
        return (flat[0] if flat else 0.0) or default or 0.0, True
    if _same(bases):
        reference = bases[0] or default or 0.0
    else:
        reference = next((base for base in bases if base > 0), 0.0) if default is None else default
    if not reference > 0:
        raise ValueError(
            f"the optimizer's default lr must be > 0 for its groups to keep their ratios, not {reference}"
        )
    missing = default is None or not any(math.isclose(base, reference, rel_tol=0.01) for base in flat)
    if not used and missing and not _same(bases):  # 0.01: bfloat16's digits
        _warn(reference, sorted(set(flat)), default)
    return reference, False


def _warn(reference: float, lrs: Sequence[float], default: float | None) -> None:
    its, times = _listed(lrs), _listed([lr / reference for lr in lrs])
    get = f"Groups with {its} get {times} times the schedule's LR"
    if default is None:
        text = f"the optimizer has no default lr, and its first group's, {reference:.3g}, serves. {get}."
    else:
        text = (
            f"no parameter group has the optimizer's default lr, {reference:.3g}. {get}, and min_lr, max_lr"
            " and the peak LR that is reported hold for none. Give the optimizer as lr= the LR that one of"
            " its groups has."
        )
    warnings.warn(f"AutoWU: {text}", stacklevel=5)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join([f"{number:.3g}" for number in numbers[:4]] + ["…"] * (len(numbers) > 4))


def _simple(a: float, b: float, exact: bool) -> bool:
    """Whether a / b is a simple ratio, such as one that a person writes down."""
    if not (a > 0 and b > 0):
        return False
    most, error = (10_000, 1e-12) if exact else (100, 1e-6)
    share = Fraction(min(a, b) / max(a, b)).limit_denominator(most)
    ratio = share if a < b else 1 / (share or 1)
    return math.isclose(float(ratio), a / b, rel_tol=error)
