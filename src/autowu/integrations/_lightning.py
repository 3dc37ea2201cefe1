"""What the callbacks for `lightning.pytorch` and for `pytorch_lightning` have in common: all but the base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from autowu.integrations.saved import check_keys
from autowu.integrations.torch.scheduler import AutoWU

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class Hooks:
    """Lightning's hooks: a callback of either package is this class and that package's Callback."""

    scheduler: AutoWU | None
    """The scheduler that holds the phase, the verdicts and the switch; None before training starts."""

    def __init__(self, total_steps: int | None = None, **settings: Any) -> None:
        super().__init__()
        self.scheduler = None
        self._total_steps = total_steps
        self._settings = settings
        self._first_step = 0  # trainer.global_step when the scheduler had done no update
        self._loaded: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget a checkpoint that was loaded by `trainer.validate` or `test`."""
        self._loaded = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the scheduler: the optimizer is there, and a checkpoint's state is in it."""
        self._check(trainer)
        total_steps = _updates(trainer, pl_module) if self._total_steps is None else self._total_steps
        self.scheduler = AutoWU(trainer.optimizers[0], total_steps, model=pl_module, **self._settings)
        if self.scheduler.config.rewind and trainer.strategy.restore_checkpoint_after_setup:
            # So do the strategies that shard. Lightning saves the callbacks of one process only.
            raise ValueError(
                f"a checkpoint under {type(trainer.strategy).__name__} would lack the other processes' shards"
                " of the copy for rewinding: give rewind=False"
            )
        self._first_step = trainer.global_step
        if self._loaded is not None:
            self._first_step = self._loaded["first_step"]
            self.scheduler.load_state_dict(self._loaded["scheduler"])
            self._loaded = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Hand on the batch's loss, and close the update if the optimizer has made one."""
        assert self.scheduler is not None
        loss = _loss(trainer, pl_module, outputs)
        self.scheduler.observe(loss)
        updates = trainer.global_step - self._first_step - self.scheduler.last_epoch
        for update in range(updates):  # several only if training_step itself makes several
            self.scheduler.step(loss if update else None)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps. Lightning asks every process, and saves the answer of one."""
        if self.scheduler is None:
            return {}
        self.scheduler.share_losses()
        return {"first_step": self._first_step, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until there is an optimizer."""
        check_keys(state_dict, "first_step", "scheduler")
        self._loaded = state_dict

    def _check(self, trainer: Trainer) -> None:
        optimizers = len(trainer.optimizers)
        if optimizers != 1:
            raise ValueError(
                f"{type(self).__name__} sets the LR of one optimizer, and configure_optimizers gives"
                f" {optimizers}: let it give an autowu.AutoWU as the LR scheduler of each, and call"
                " self.lr_schedulers()[i].step(loss) in training_step"
            )
        if trainer.lr_scheduler_configs:
            other = type(trainer.lr_scheduler_configs[0].scheduler).__name__
            raise ValueError(
                f"configure_optimizers gives an LR scheduler, {other}, which would overrule"
                f" {type(self).__name__}: let it give the optimizer alone"
            )


def _updates(trainer: Trainer, pl_module: LightningModule) -> int:
    """Of the whole run, by the trainer's limits on epochs and steps."""
    if not pl_module.automatic_optimization:
        raise ValueError(
            "give total_steps: with manual optimization the trainer does not know how often training_step"
            " will call optimizer.step()"
        )
    updates = trainer.estimated_stepping_batches
    if not 0 < updates < math.inf:
        raise ValueError(
            "give total_steps, or max_steps to the Trainer: it does not know how many updates it will make"
        )
    return int(updates)


def _loss(trainer: Trainer, pl_module: LightningModule, outputs: Any) -> Tensor | float:
    """The batch's own loss: Lightning has divided it by the batches of an update."""
    if outputs and "loss" in outputs:
        return outputs["loss"] * trainer.accumulate_grad_batches
    if pl_module.automatic_optimization:
        return math.nan  # training_step gave None, and so skipped the batch: a loss that is missing
    raise ValueError("training_step must return its loss, as a tensor or under the key 'loss' of a dict")
