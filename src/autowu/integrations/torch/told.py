"""What the PyTorch scheduler warns of besides the decisions: each once in a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from torch.optim import Optimizer, Rprop

from autowu.arrays import Array
from autowu.integrations.torch.averaged import Averages
from autowu.integrations.torch.groups import Groups
from autowu.integrations.torch.masters import linked
from autowu.integrations.torch.nested import within
from autowu.integrations.torch.places import Training, plain
from autowu.integrations.torch.repeated import Repeats
from autowu.integrations.torch.snapshot import Snapshot
from autowu.text import apart

# Settings of groups by which the weight decay depends on the LR at the start: timm's, and optimi's.
ANCHORED: Final = ("corrected_weight_decay", "decouple_lr")

FEW: Final = 10  # losses that a count has at least, before it is told


def listed(names: Sequence[str]) -> str:
    """The first few."""
    return ", ".join([*names[:4], f"… ({len(names)} in all)"] if len(names) > 4 else names)


class Count:
    """Whether all losses so far are a count: 0, 1, 2, … or 0, 0, …, 1, 1, … or in equal parts of an epoch."""

    def __init__(self) -> None:
        self._whole = self._even = True
        self._first = self._last = self._rise = math.nan
        self._number = 0

    def add(self, losses: Array) -> tuple[float, float] | None:
        """The first and the last of all, once it is certain that they count; then nothing more.

        Args:
            losses: those that follow [n].
        """
        if not (len(losses) and (self._whole or self._even)):
            return None
        if not self._number:
            self._first = float(losses[0])
        rises = np.diff(losses, prepend=[self._last] if self._number else losses[:0])
        if len(rises) and math.isnan(self._rise):
            self._rise = float(rises[0])
        self._last, self._number = float(losses[-1]), self._number + len(losses)
        self._whole &= bool(np.all(losses == np.rint(losses)) and np.all((rises == 0) | (rises == 1)))
        self._even &= bool(np.all(rises > 0) and np.allclose(rises, self._rise, rtol=0.01, atol=0))
        if self._number < FEW or not (self._even or (self._whole and self._last - self._first >= 2)):
            return None
        self._whole = self._even = False
        return self._first, self._last


class Told:
    """What has been told already."""

    def __init__(self) -> None:
        self._strangers = set[str]()
        self._overwritten = False
        self._left_out = set[str]()
        self._stateless = self._broken = False
        self._count, self._averages, self._repeats = Count(), Averages(), Repeats()
        self._out_of_reach = self._cramped = False

    def at_start(self, training: Training) -> Iterator[str]:
        """What there is to tell before the first update."""
        yield from self.strangers(training)
        yield from self.deaf(training.given)
        yield from self.anchored(training.given)

    def strangers(self, training: Training) -> Iterator[str]:
        """What the model trains, and none of the optimizers has held: at the start, or after a change."""
        if (model := training.model) is None:
            return
        known = (*training.parameters(), *training.came_with(), *linked(training.served()))
        held = {id(each) for each in known} | training.averages()
        named = dict(model.named_parameters())
        names = [
            name
            for full, name in plain(named).items()
            if named[full].requires_grad and id(named[full]) not in held and name not in self._strangers
        ]
        self._strangers.update(names)
        if names:
            yield (
                f"AutoWU: no optimizer that it was given holds {listed(names)} of model=: their LR is not"
                " set, and they are not rewound with the rest. Give all optimizers: AutoWU([one, other], …)."
            )

    @staticmethod
    def deaf(optimizers: Sequence[Optimizer]) -> Iterator[str]:
        """Which optimizers do not follow their LR: at the start."""
        names = [type(each).__name__ for each in within(optimizers) if isinstance(each, Rprop)]
        if names:
            yield (
                f"AutoWU: {listed(names)} takes its LR for its very first step alone, and then sets the size"
                " of its steps by itself: no schedule of the LR changes it. Take another optimizer, or no"
                " schedule."
            )

    @staticmethod
    def anchored(optimizers: Sequence[Optimizer]) -> Iterator[str]:
        """Which optimizers reckon by the LR that they were made with, so that it matters: at the start."""
        asked = dict[str, str]()
        for each in within(optimizers):  # of a wrapper and what it holds that counts which is within
            groups, kind = [group for group in each.param_groups if group.get("weight_decay")], type(each)
            asked |= {name: kind.__name__ for group in groups for name in ANCHORED if group.get(name)}
            if groups and getattr(each, "decoupled_wd", False) and hasattr(each, "_init_lr"):
                asked["decoupled_weight_decay"] = kind.__name__  # lion-pytorch's
        for name, kind in asked.items():
            yield (
                f"AutoWU: with {name} the weight decay of {kind} goes by how the LR stands to the one that it"
                " was made with. That one does matter then, and may make the decay many times too strong or"
                f" too weak: {name}=False is without it."
            )

    def after_read(self, snapshot: Snapshot, losses: Array, step: int, observed: bool) -> Iterator[str]:
        """What there is to tell of the last snapshot, of the losses that were read, and of the model.

        Those that were ``observed`` may be of several updates each, as in Lightning.
        """
        yield from self.of_snapshot(snapshot, step)
        yield from self.counted(losses, step)
        yield from self.averaged(losses, step)
        if not observed:
            yield from self.repeated(losses, step)
        yield from self.strangers(snapshot.training)

    def counted(self, losses: Array, step: int) -> Iterator[str]:
        """That the losses are no losses: as long as nobody has been told, and they may be a count.

        Args:
            losses: of the updates since the last decision [n].
            step: the updates done.
        """
        if (ends := self._count.add(losses)) is not None:
            yield (
                f"AutoWU: up to step {step} what step() was given in place of the loss is a count, from"
                f" {ends[0]:.6g} to {ends[1]:.6g}: of steps or epochs? Other schedulers take these. Call"
                " step(loss) with the training loss of the update."
            )

    def averaged(self, losses: Array, step: int) -> Iterator[str]:
        """That the losses are averages: once, where it is certain.

        Args:
            losses: of the updates since the last decision [n].
            step: the updates done.
        """
        if (what := self._averages.add(losses)) is not None:
            yield (
                f"AutoWU: up to step {step} what step() was given in place of the loss is {what}. An average"
                " shows a minimum only long after it, and hides noise that AutoWU reckons with. Call"
                " step(loss) with the loss of the update itself."
            )

    def repeated(self, losses: Array, step: int) -> Iterator[str]:
        """That each loss is given for many updates: once, where it is certain.

        Args:
            losses: of the updates since the last decision [n].
            step: the updates done.
        """
        if (times := self._repeats.add(losses)) is not None:
            yield (
                f"AutoWU: up to step {step} what step() was given in place of the loss is the same {times}"
                " times each: one that is read now and then, for a progress bar? Call step(loss) with the"
                " loss of the update itself; a tensor is not waited for."
            )

    def overwritten(self, groups: Groups, step: int) -> str | None:
        """That something else sets the LR, too."""
        if self._overwritten or groups.overwritten is None:
            return None
        self._overwritten = True
        found, written = apart(*groups.overwritten)
        return (
            f"AutoWU: at step {step} a parameter group had the LR {found}, where AutoWU had written"
            f" {written}: something else sets it, too, such as the step() of another scheduler or"
            " group['lr'] = …. Take it out: training uses what was written last, and the LRs and the peak"
            " that AutoWU reports are only its own."
        )

    @staticmethod
    def gone(names: Sequence[str], step: int) -> Iterator[str]:
        """Which weights of the snapshot could not go back."""
        if names:
            yield (
                f"AutoWU: at step {step} the weights went back, but for {listed(names)}: the optimizer holds"
                " other tensors in their place now, and these stay as they are."
            )

    def settings(self, names: Sequence[str], step: int) -> Iterator[str]:
        """Which settings went back, that somebody may have changed: an optimizer may have done so itself."""
        new = [name for name in names if name not in self._left_out]
        self._left_out.update(new)
        if new:
            yield (
                f"AutoWU: at step {step} {listed(new)} went back with the weights, as all that an optimizer"
                " may change itself. If you have changed it, set it again; `rewinds` tells when."
            )

    def of_snapshot(self, snapshot: Snapshot, step: int) -> Iterator[str]:
        """What the last snapshot had to leave out, or why none was taken."""
        yield from self._what(snapshot.left_out)
        if not self._broken and (broken := snapshot.broken()):
            self._broken, (name, weight) = True, broken
            why = (
                "though the last loss is"
                if weight
                else "though all weights are: a gradient overflowed, it seems, and these weights may not move"
                " any more"
            )
            yield (
                f"AutoWU: at step {step} {name} is not finite, {why}. As long as it is so no copy for"
                " rewinding is taken; the one before stays."
            )
        if not self._out_of_reach and (reason := snapshot.out_of_reach):
            self._out_of_reach = True
            yield (
                f"AutoWU: the weights cannot be rewound: {reason}. Give rewind=False; else the run goes on"
                " from the weights that the largest LRs have made."
            )
        if not self._cramped and snapshot.cramped:
            self._cramped = True
            yield (
                "AutoWU: there was no room for the copy for rewinding beside the weights. It is kept in host"
                " memory from now on, as with snapshot_device='cpu'."
            )
        if not self._stateless and snapshot.stateless:
            self._stateless = True
            yield (
                "AutoWU: the optimizer keeps no state where PyTorch's do, though its settings ask for one:"
                " what it keeps elsewhere is not rewound with the weights."
            )

    def _what(self, left_out: Mapping[str, str]) -> Iterator[str]:
        new = [name for name in left_out if name not in self._left_out]
        if new:
            self._left_out.update(new)
            yield (
                f"AutoWU: {listed(new)} cannot be rewound: {new[0]} {left_out[new[0]]}. Training goes on; the"
                " rest is rewound."
            )
