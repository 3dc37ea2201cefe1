"""AutoWU in the Hugging Face Trainer, which gives its scheduler no loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from autowu.extras import install

try:
    import torch

    from autowu.integrations import torchvision_shim

    torchvision_shim.install()
    from transformers import EarlyStoppingCallback, Trainer, TrainerCallback
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise  # installed, but broken: its own error says more
    raise ImportError(
        f"autowu.integrations.huggingface needs {error.name}: {install('huggingface')}"
    ) from error

from autowu.integrations.ended import is_over, may_end_early
from autowu.integrations.exits import scheduler_ended_early
from autowu.integrations.given import refuse
from autowu.integrations.huggingface_checkpoints import (
    FILE,
    FIRST_STEP,
    Checkpoint,
    Nothing,
    saved_in,
    standing_in,
    updates_done,
    why_anew,
)
from autowu.integrations.torch.scheduler import AutoWU
from autowu.site import page

_GIVEN: Final = {  # by the Trainer, and how it is told
    "optimizer": "give it optimizers=(optimizer, None)",
    "total_steps": "set max_steps or num_train_epochs",
    "model": "it is the one that it trains",
}

_BY_REWARD: Final = frozenset({"GRPOTrainer", "RLOOTrainer", "PPOTrainer"})  # of TRL

# A mixin can then come before any subclass of the Trainer.
_Base = Trainer if TYPE_CHECKING else object


class AutoWUMixin(_Base):
    """Makes a subclass of the Trainer set its learning rate by AutoWU.

    ::

        class MyTrainer(AutoWUMixin, SFTTrainer): ...  # the mixin first

        trainer = MyTrainer(model=model, args=args, train_dataset=data, autowu={"seed": 1})
        trainer.train()
        trainer.lr_scheduler.switch  # how warm-up ended

    The optimizer is the one that ``args.optim`` names, or yours with ``optimizers=(optimizer, None)``; the
    number of updates is the Trainer's. ``learning_rate``, ``lr_scheduler_type`` and the arguments for warm-up
    have no effect. Resumed with more or fewer updates, the run is extended or shortened to that; a callback
    may call ``lr_scheduler.cooldown(steps)`` at any time.

    Args:
        autowu: arguments of :class:`autowu.AutoWU`, such as ``log``, and fields of :class:`autowu.Config`.

    Raises:
        TypeError: where the class is defined: the mixin comes after the Trainer, which would train without
            AutoWU. Where the Trainer is made: ``autowu`` is no mapping, or has what the Trainer gives
            (``total_steps``, ``model``, ``optimizer``). By ``train()``: an argument is unknown to AutoWU, or
            of the wrong type; or the Trainer has another scheduler, given or made by a ``create_scheduler``
            of a subclass.
        ValueError: by ``train()``: a setting is out of range; DeepSpeed; version 1 of FSDP with rewind; a
            checkpoint that is beyond the updates asked for.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if Trainer in order and order.index(Trainer) < order.index(AutoWUMixin):
            raise TypeError(
                f"AutoWUMixin has to come first: class {cls.__name__}(AutoWUMixin, …). The Trainer's own"
                " methods would hide it, and train without AutoWU"
            )

    def __init__(self, *args: Any, autowu: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self._settings = _settings(autowu)
        super().__init__(*args, **kwargs)
        self._update = _UpdateLoss()
        self._updates = 0  # of the whole run, by the Trainer
        self._first_step = 0  # the Trainer's global_step when the scheduler had done no update
        self.add_callback(self._update)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's; the losses are those of the ``training_step`` that there is by now."""
        # Who clears the list, to train without a screen, means the Trainer's callbacks.
        if self._update not in cast("list[object]", self.callback_handler.callbacks):
            self.add_callback(self._update)
        with self._keeping_losses():
            return super().train(*args, **kwargs)

    @contextmanager
    def _keeping_losses(self) -> Generator[None]:
        """Around whichever step there is: that of a subclass need not call another, or may call it twice.

        Afterwards the Trainer holds no reference to itself, which would keep the memory of its model.
        """
        trainer, given = cast(Any, self), vars(self).get("training_step")
        trainer.training_step = partial(self._update.keep, trainer.training_step)
        try:
            yield
        finally:
            if given is None:
                vars(self).pop("training_step", None)
            else:
                trainer.training_step = given

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> AutoWU:
        """AutoWU over ``num_training_steps`` updates of the Trainer's optimizer."""
        if self.is_deepspeed_enabled:
            raise ValueError("AutoWU cannot run under DeepSpeed, which steps schedulers without a loss")
        for callback in cast("list[object]", self.callback_handler.callbacks):
            if isinstance(callback, EarlyStoppingCallback):
                warnings.warn(may_end_early(callback), stacklevel=2)
        for name in sorted(_BY_REWARD & {each.__name__ for each in type(self).__mro__}):
            warnings.warn(
                f"AutoWU: {name} trains by rewards, of which its loss is no measure: it need not fall while"
                " they rise, and the LR may grow until the model is spoiled. A fixed schedule is the better"
                f" choice: {page('when-not')}",
                stacklevel=2,
            )
        self._updates, self._first_step = num_training_steps, 0
        scheduler: object = cast(Any, self).lr_scheduler
        if scheduler is None:
            scheduler = self._plan(num_training_steps, optimizer)
            self._created_lr_scheduler = True  # so that the next train() makes a new one
        scheduler = _own(scheduler)
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if self.is_fsdp_enabled and getattr(plugin, "fsdp_version", 1) != 2 and scheduler.config.rewind:
            raise ValueError(
                "under version 1 of FSDP the Trainer cannot save the copy for rewinding: set version 2 in"
                " fsdp_config, or rewind=False"
            )
        self.lr_scheduler = scheduler
        return scheduler

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The Trainer's, with what AutoWU does beside the loss and the learning rate."""
        scheduler: object = cast(Any, self).lr_scheduler
        if "loss" in logs and isinstance(scheduler, AutoWU):
            metrics = scheduler.metrics()
            del metrics["autowu/learning_rate"]  # which the Trainer logs itself
            logs = logs | metrics
        super().log(logs, *args, **kwargs)

    def _plan(self, updates: int, optimizer: torch.optim.Optimizer | None = None) -> AutoWU:
        return AutoWU(
            optimizer or cast(Any, self.optimizer),
            total_steps=updates,
            model=cast(Any, self.model),
            **self._settings,
        )

    # --- checkpoints ----------------------------------------------------------------------------------

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        checkpoint = self._in(output_dir)
        checkpoint.save()  # every rank comes here, but only rank 0 saves its scheduler
        with standing_in(self, checkpoint):
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """The Trainer loads what there is; where that is not the LR, the run would begin with a new one."""
        if checkpoint is None:
            return
        _own(self.lr_scheduler)
        saved = saved_in(checkpoint)
        why = why_anew(saved)
        if why is None and self._created_lr_scheduler:
            why = self._goes_on(saved)
        if why is not None:
            self._plan_anew(checkpoint, why)
            return
        with standing_in(self, here := self._in(checkpoint)):
            super()._load_optimizer_and_scheduler(checkpoint)
        if not here.loaded:
            self._plan_anew(checkpoint, f"without an optimizer's state the Trainer does not load {FILE}")

    def _goes_on(self, saved: Any) -> str | None:
        """Make the scheduler to go on from ``saved`` with; or tell why not: its run is over, and shorter."""
        first_step = saved.get(FIRST_STEP, 0)
        here = self._updates - first_step
        if (total_steps := is_over(saved, here)) is not None:
            return f"the checkpoint is the end of a run of {total_steps} updates, and its LR has fallen"
        if first_step:
            self.lr_scheduler, self._first_step = self._plan(max(1, here)), first_step
        return None

    def _plan_anew(self, checkpoint: str, why: str) -> None:
        done = updates_done(checkpoint)
        left = max(1, self._updates - done)
        if self._created_lr_scheduler:
            self.lr_scheduler, self._first_step = self._plan(left), done
        elif self.lr_scheduler.total_steps != left:
            raise ValueError(f"{why}: give AutoWU total_steps={left}, the updates that are left")
        with standing_in(self, Nothing()):
            super()._load_optimizer_and_scheduler(checkpoint)
        self.lr_scheduler.load_state_dict(self.lr_scheduler.state_dict())  # the optimizer's own LR is another
        warnings.warn(
            f"AutoWU: {why}. It is planned anew, for the {left} updates that are left.", stacklevel=2
        )

    def _in(self, folder: str) -> Checkpoint:
        args = cast(Any, self.args)
        scheduler, rank, ranks = self.lr_scheduler, args.process_index, args.world_size
        return Checkpoint(self._first_step, scheduler, folder, FILE, rank, ranks)


def _settings(autowu: object) -> dict[str, Any]:
    """AutoWU's arguments, but for those that the Trainer gives."""
    if autowu is None:
        return {}
    if not isinstance(autowu, Mapping):
        raise TypeError(
            f"autowu must be a dict of AutoWU's arguments, such as {{'seed': 1}}, not {autowu!r:.80}"
        )
    settings = dict(cast("Mapping[str, Any]", autowu))
    refuse(settings, _GIVEN, "autowu")
    return settings


def _own(scheduler: object) -> AutoWU:
    """The Trainer's scheduler, if it is AutoWU: a subclass may make another one."""
    if not isinstance(scheduler, AutoWU):
        raise TypeError(
            f"the Trainer's scheduler must be AutoWU, not {type(scheduler).__name__}: give it none, and leave"
            " out a create_scheduler of your own"
        )
    return scheduler


class AutoWUTrainer(AutoWUMixin, Trainer):
    """The Trainer, with its learning rate set by AutoWU; for the arguments see :class:`AutoWUMixin`.

    ::

        trainer = AutoWUTrainer(model=model, args=args, train_dataset=data)
        trainer.train()
    """


class _UpdateLoss(TrainerCallback):
    """Observes the loss of an update just before the ``step()`` that the Trainer calls without one."""

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []  # of the update's micro-batches, still on their device

    def keep(self, training_step: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """A micro-batch; its loss is kept for the scheduler."""
        before = len(self.losses)
        loss = training_step(*args, **kwargs)
        # One that was put around this one has the last word. A copy: the next micro-batch may write its loss
        # into the same memory, as in a CUDA graph.
        self.losses[before:] = [loss.detach().clone()]
        return loss

    def on_train_begin(self, *_: Any, lr_scheduler: object, **__: Any) -> None:
        """Before the first update: see that there is AutoWU to give losses to."""
        _own(lr_scheduler)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.losses.clear()

    def on_optimizer_step(self, *_: Any, optimizer: Any, lr_scheduler: AutoWU, **__: Any) -> None:
        # An update that AMP skips has no step(), and so no loss. The Trainer divides the losses, so the sum.
        if optimizer.step_was_skipped:
            return
        if not self.losses:
            raise ValueError(
                "training_step was replaced while the Trainer trains, so that its losses are not seen: do so"
                " before train(), or in a subclass"
            )
        lr_scheduler.observe(torch.stack(self.losses).sum())

    def on_train_end(self, args: Any, state: Any, *_: Any, lr_scheduler: AutoWU, **__: Any) -> None:
        """Say so if the run ends before its LR has fallen."""
        text = scheduler_ended_early(lr_scheduler)
        if text is not None and state.is_world_process_zero:
            warnings.warn(text, stacklevel=2)
