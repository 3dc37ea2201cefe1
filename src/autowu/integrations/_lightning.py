"""What the callbacks for `lightning.pytorch` and for `pytorch_lightning` have in common: all but the base."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from autowu.integrations._lightning_averages import Averages
from autowu.integrations._lightning_length import Start, updates_from
from autowu.integrations._lightning_several import Several
from autowu.integrations.ended import is_over, may_end_early
from autowu.integrations.exits import scheduler_ended_early
from autowu.integrations.given import refuse
from autowu.integrations.saved import check_keys
from autowu.integrations.sharded import gathered, is_sharded, with_part
from autowu.integrations.torch.scheduler import AutoWU

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


_GIVEN: Final = {  # by Lightning, and where it is told
    "optimizer": "those that configure_optimizers gives",
    "model": "the module that it trains",
}

UNREAD: Final = "unread"  # in a checkpoint: updates whose loss AutoWU had not seen yet


class Hooks:
    """Lightning's hooks: a callback of either package is this class and that package's Callback."""

    scheduler: AutoWU | None
    """The scheduler that holds the phase, the verdicts and the switch; None before training starts."""

    def __init__(self, total_steps: int | None = None, **settings: Any) -> None:
        super().__init__()
        refuse(settings, _GIVEN, type(self).__name__)
        self.scheduler = None
        self._total_steps = total_steps
        self._settings = settings
        self._start = Start(0, 0, 0)
        self._loaded: dict[str, Any] | None = None
        self._told_of_others = self._told_of_unread = False
        self._given = False  # any loss of the update that is not closed yet
        self._hooks: list[RemovableHandle] = []  # on the steps of optimizers that are stepped by hand
        self._announced: set[int] = set()  # in this batch by Lightning: the ids of those that it steps
        self._several = Several()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_hooks": []}  # a copy's optimizers have none of them

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget a checkpoint that was loaded by `trainer.validate` or `test`."""
        self._loaded = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the scheduler: the optimizer is there, and a checkpoint's state is in it."""
        self._check(trainer)
        loaded, self._loaded = self._loaded, None
        self._start, self._given = Start.of(trainer), False
        if loaded is not None and not self._is_over(loaded, trainer, pl_module):
            # Before there were all three, a run was planned from the beginning of its first epoch.
            self._start = Start(
                loaded["first_step"], loaded.get("first_epoch", 0), loaded.get("first_batch", 0)
            )
        else:
            loaded = None
        total_steps = self._length(trainer, pl_module)
        self.scheduler = AutoWU(trainer.optimizers, total_steps, model=pl_module, **self._settings)
        shards = trainer.strategy.restore_checkpoint_after_setup  # so do the strategies that shard
        if self.scheduler.config.rewind and shards and not is_sharded(self.scheduler):
            # Lightning saves the callbacks of one process only.
            raise ValueError(
                f"a checkpoint under {type(trainer.strategy).__name__} would lack the other processes' shards"
                " of the copy for rewinding: give rewind=False, or shard by fully_shard"
                " (ModelParallelStrategy)"
            )
        if loaded is not None:
            self.scheduler.load_state_dict(with_part(loaded["scheduler"]))
            for _ in range(loaded.get(UNREAD, 0)):
                self.scheduler.step(math.nan)
        self._averages = Averages(self.scheduler)
        self._several.restart(trainer.optimizers)
        self._let_go()
        if not pl_module.automatic_optimization:
            self._hooks = [
                optimizer.register_step_post_hook(self._on_step)
                for optimizer in trainer.optimizers
                if hasattr(optimizer, "_optimizer_step_post_hooks")
            ]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Count the steps of each of several optimizers."""
        self._announced.add(id(optimizer))
        loop = cast("Any", trainer.fit_loop).epoch_loop.manual_optimization
        self._several.begin(optimizer, loop.optim_step_progress.total.ready)

    def _on_step(self, optimizer: Optimizer, *_: Any) -> None:
        """See that a step by hand is one that Lightning knows of, and so AutoWU."""
        if id(optimizer) not in self._announced:
            raise ValueError(
                f"training_step has called the step() of {type(optimizer).__name__} past Lightning, which"
                " counts no such update, and nor can AutoWU: take the optimizer from self.optimizers(),"
                " without use_pl_optimizer=False"
            )

    def _let_go(self) -> None:
        """The optimizers may be used elsewhere."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._announced.clear()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The run is over."""
        self._let_go()

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
        self._announced.clear()
        self._look_for_others(trainer)
        updates = self._updates(trainer)
        loss = _loss(trainer, outputs)
        if loss is not None:
            self.scheduler.observe(loss)
            self._given = True
        elif updates and not pl_module.automatic_optimization:
            raise ValueError(
                "training_step must return its loss, as a tensor or under the key 'loss' of a dict. (A GAN"
                " has no loss that is meant to fall: AutoWU is not for it.)"
            )
        before = _decided(self.scheduler)
        for _ in range(updates):  # several only if training_step itself makes several
            missing = math.nan if loss is None else loss
            self.scheduler.step(None if self._given else missing)
            self._given = False
        self._averages.follow(self.scheduler, cast("Any", trainer).callbacks)
        if updates:
            _log(trainer, self.scheduler, news=_decided(self.scheduler) != before)

    def _unread(self, trainer: Trainer) -> int:
        """How many updates there are that the scheduler does not know of."""
        assert self.scheduler is not None
        if self._several:
            return self._several.unread
        return trainer.global_step - self._start.step - self.scheduler.last_epoch

    def _updates(self, trainer: Trainer) -> int:
        """The same, which it is to know from now on."""
        return self._several.close() if self._several else self._unread(trainer)

    def _look_for_others(self, trainer: Trainer) -> None:
        """The trainer may be given new optimizers on the way, in a hook; their LR is nobody's then."""
        assert self.scheduler is not None
        here, known = trainer.optimizers, self.scheduler.optimizers
        if list(map(id, here)) == list(map(id, known)):
            return
        cast("Any", self.scheduler)._updates.elsewhere()  # it need not tell of them, too
        if self._told_of_others:
            return
        self._told_of_others = True
        warnings.warn(
            f"AutoWU: the trainer has other optimizers than {type(self).__name__} found at the start"
            f" ({', '.join(type(each).__name__ for each in here)}): their LR is not set, and they are not"
            " rewound. Add groups to the optimizer that there is, or call fit() anew.",
            stacklevel=2,
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so if the run ends before its LR has fallen."""
        self._let_go()
        assert self.scheduler is not None
        text = scheduler_ended_early(self.scheduler)
        rehearsed = cast("Any", trainer).fast_dev_run  # a few batches, to see that all runs
        if text is not None and trainer.is_global_zero and not rehearsed:
            warnings.warn(text, stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps. Lightning asks every process, and saves the answer of one."""
        if self.scheduler is None:
            return {}
        self.scheduler.share_losses()
        first = {f"first_{name}": count for name, count in self._start._asdict().items()}
        return {**first, "scheduler": gathered(self.scheduler)}

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note an update whose loss is still to come: a callback that is listed before this one saves.

        A run that ends before it goes on, as while its data are set up, leaves what it was to go on with.
        """
        key, callbacks = cast("Any", self).state_key, checkpoint.get("callbacks", {})
        if self._loaded is not None and cast("Any", trainer.fit_loop).restarting:
            callbacks[key] = self._loaded
            return
        state = callbacks.get(key)
        unread = self._unread(trainer) if state and trainer.training else 0
        if unread <= 0:
            return
        state[UNREAD] = unread
        if not self._told_of_unread:
            self._told_of_unread = True
            warnings.warn(
                f"AutoWU: the checkpoint of global_step={trainer.global_step} is saved before AutoWU has seen"
                f" the loss of that update, which a run that goes on from it will lack. List"
                f" {type(self).__name__} before the callback that saves. This is said once.",
                stacklevel=2,
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until there is an optimizer."""
        check_keys(state_dict, "first_step", "scheduler")
        self._loaded = state_dict

    def _length(self, trainer: Trainer, pl_module: LightningModule) -> int | None:
        if self._total_steps is not None:
            return self._total_steps
        updates = updates_from(self._start, trainer, pl_module)
        # Less than 1 only where the checkpoint is from the very last batch: Lightning makes no update then.
        return None if updates is None else max(1, updates)

    def _is_over(self, loaded: Mapping[str, Any], trainer: Trainer, pl_module: LightningModule) -> bool:
        """Whether the checkpoint is of the end of a run, and there are updates left to plan anew for."""
        if self._total_steps is not None or is_over(loaded["scheduler"]) is None:
            return False
        left = updates_from(self._start, trainer, pl_module)
        return left is None or left > 0

    def _check(self, trainer: Trainer) -> None:
        if not any(optimizer.param_groups for optimizer in trainer.optimizers):  # it makes one of none
            raise ValueError(
                f"{type(self).__name__} sets the LR of the optimizers that configure_optimizers gives, and it"
                " gives none"
            )
        if trainer.lr_scheduler_configs:
            other = type(trainer.lr_scheduler_configs[0].scheduler).__name__
            raise ValueError(
                f"configure_optimizers gives an LR scheduler, {other}, which would overrule"
                f" {type(self).__name__}: let it give the optimizer alone"
            )
        _check_callbacks(cast("Any", trainer).callbacks)


def _check_callbacks(callbacks: Iterable[object]) -> None:
    for callback in callbacks:
        kinds = {kind.__name__ for kind in type(callback).__mro__}  # of either package
        if "StochasticWeightAveraging" in kinds:
            raise ValueError(
                f"{type(callback).__name__} sets an LR of its own, which would overrule AutoWU's: leave it"
                " out, or average the weights by EMAWeightAveraging"
            )
        if "EarlyStopping" in kinds:
            warnings.warn(may_end_early(callback), stacklevel=4)


def _decided(scheduler: AutoWU) -> tuple[int, bool, int]:
    """What there is of decisions so far."""
    return len(scheduler.verdicts), scheduler.switch is not None, len(scheduler.cuts)


def _log(trainer: Trainer, scheduler: AutoWU, *, news: bool) -> None:
    """Tell the trainer's loggers how the schedule stands: when it is time to log, and at each decision."""
    every = cast("Any", trainer).log_every_n_steps
    if not every or not trainer.loggers:
        return
    # By Lightning's own count, which is the x-axis of whatever a module logs.
    step: int = cast("Any", trainer.fit_loop.epoch_loop)._batches_that_stepped
    if news or (step + 1) % every == 0:
        for logger in trainer.loggers:
            logger.log_metrics(scheduler.metrics(), step=step)


def _loss(trainer: Trainer, outputs: Any) -> Tensor | None:
    """The batch's own loss: Lightning has divided it by the batches of an update. None if there is none."""
    return outputs["loss"] * trainer.accumulate_grad_batches if outputs and "loss" in outputs else None
