"""What the PyTorch scheduler warns of besides the decisions: each once in a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from autowu.integrations.torch.groups import Groups
from autowu.integrations.torch.masters import linked
from autowu.integrations.torch.places import Training, plain
from autowu.integrations.torch.snapshot import Snapshot


def listed(names: Sequence[str]) -> str:
    """The first few."""
    return ", ".join([*names[:4], f"… ({len(names)} in all)"] if len(names) > 4 else names)


class Told:
    """What has been told already."""

    def __init__(self) -> None:
        self._strangers = set[str]()
        self._overwritten = False
        self._left_out = set[str]()
        self._stateless = False
        self._out_of_reach = self._cramped = False

    def strangers(self, training: Training) -> Iterator[str]:
        """What the model trains, and none of the optimizers has held: at the start, or after a change."""
        if (model := training.model) is None:
            return
        known = (*training.parameters(), *training.came_with(), *linked(training.served()))
        held = {id(each) for each in known} | training.averages()
        names = [
            name
            for full, each in model.named_parameters()
            if each.requires_grad and id(each) not in held and (name := plain(full)) not in self._strangers
        ]
        self._strangers.update(names)
        if names:
            yield (
                f"AutoWU: no optimizer that it was given holds {listed(names)} of model=: their LR is not"
                " set, and they are not rewound with the rest. Give all optimizers: AutoWU([one, other], …)."
            )

    def overwritten(self, groups: Groups, step: int) -> str | None:
        """That something else sets the LR, too."""
        if self._overwritten or groups.overwritten is None:
            return None
        self._overwritten = True
        found, written = groups.overwritten
        return (
            f"AutoWU: at step {step} a parameter group had the LR {found:.3g}, where AutoWU had written"
            f" {written:.3g}: something else sets it, too, such as the step() of another scheduler or"
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

    def of_snapshot(self, snapshot: Snapshot) -> Iterator[str]:
        """What the last snapshot had to leave out."""
        yield from self._what(snapshot.left_out)
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
