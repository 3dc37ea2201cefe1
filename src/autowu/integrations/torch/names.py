"""The names that PyTorch's schedulers have, and that hosts read of any of them."""

from __future__ import annotations

import sys
import warnings

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from autowu.integrations.session import Session
from autowu.integrations.torch.groups import Groups


class SchedulerNames(LRScheduler):
    """Reads of ``_session`` and ``_groups`` under LRScheduler's names."""

    _session: Session
    _groups: Groups

    @property
    def last_epoch(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Updates done; the name is LRScheduler's."""
        return self._session.step

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        raise RuntimeError(
            "last_epoch of AutoWU cannot be set: it counts the calls of step(loss). (A wrapper that sets it,"
            " such as SequentialLR, cannot drive it.)"
        )

    @property
    def base_lrs(self) -> list[float | Tensor]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The LRs that the parameter groups came with."""
        return list(self._groups.base_lrs)

    def get_last_lr(self) -> list[float | Tensor]:
        """The current LR of each parameter group."""
        return list(self._groups.lrs())

    @property
    def _last_lr(self) -> list[float | Tensor]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The same: all of PyTorch's schedulers have it, and others read it."""
        return self.get_last_lr()

    @_last_lr.setter
    def _last_lr(self, value: object) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What others note here is what they have read."""

    def get_lr(self) -> list[float | Tensor]:
        """The same as :meth:`get_last_lr`."""
        return self.get_last_lr()

    @property
    def _is_accelerate_prepared(self) -> bool:
        """Accelerate's ``prepare`` asks: what it then makes of a scheduler gets one loss of an update."""
        state = sys.modules.get("accelerate.state")
        micro = 1 if state is None else state.GradientState().num_steps
        if micro > 1:
            warnings.warn(
                f"AutoWU: of the {micro} micro-batches of an update, what Accelerate prepares gets the loss"
                " of the last one alone. Leave the scheduler out of prepare(), and go on with"
                " AcceleratedAutoWU(accelerator, scheduler), from autowu.integrations.accelerate. total_steps"
                " counts updates, not micro-batches.",
                stacklevel=2,
            )
        return False
