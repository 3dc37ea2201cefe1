"""AutoWU in the Hugging Face Trainer, which gives its scheduler no loss."""

from __future__ import annotations

import os
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
    from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainerState
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise  # installed, but broken: its own error says more
    raise ImportError(
        f"autowu.integrations.huggingface needs {error.name}: {install('huggingface')}"
    ) from error

from autowu.integrations.ended import is_over, may_end_early, scheduler_ended_early
from autowu.integrations.saved import check_keys
from autowu.integrations.sharded import PerRank
from autowu.integrations.torch.scheduler import AutoWU

_FILE: Final = "scheduler.pt"  # the Trainer's own, in its checkpoints
_FIRST_STEP: Final = "first_step"

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
            AutoWU. By ``train()``: an argument is unknown to AutoWU, or of the wrong type; or the Trainer has
            another scheduler, given or made by a ``create_scheduler`` of a subclass.
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
        super().__init__(*args, **kwargs)
        self._settings = dict(autowu or {})
        self._update = _UpdateLoss()
        # Around whichever there is: that of a subclass need not call another, or may call it twice.
        cast(Any, self).training_step = partial(self._update.keep, self.training_step)
        self._updates = 0  # of the whole run, by the Trainer
        self._first_step = 0  # the Trainer's global_step when the scheduler had done no update
        self.add_callback(self._update)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> AutoWU:
        """AutoWU over ``num_training_steps`` updates of the Trainer's optimizer."""
        if self.is_deepspeed_enabled:
            raise ValueError("AutoWU cannot run under DeepSpeed, which steps schedulers without a loss")
        for callback in cast("list[object]", self.callback_handler.callbacks):
            if isinstance(callback, EarlyStoppingCallback):
                warnings.warn(may_end_early(callback), stacklevel=2)
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
        with _standing_in(self, checkpoint):
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """The Trainer loads what there is; where that is not the LR, the run would begin with a new one."""
        if checkpoint is None:
            return
        _own(self.lr_scheduler)
        saved = _saved(checkpoint)
        why = _why_anew(saved)
        if why is None and self._created_lr_scheduler:
            why = self._goes_on(saved)
        if why is not None:
            self._plan_anew(checkpoint, why)
            return
        with _standing_in(self, self._in(checkpoint)):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _goes_on(self, saved: Any) -> str | None:
        """Make the scheduler to go on from ``saved`` with; or tell why not: its run is over, and shorter."""
        first_step = saved.get(_FIRST_STEP, 0)
        here = self._updates - first_step
        if (total_steps := is_over(saved, here)) is not None:
            return f"the checkpoint is the end of a run of {total_steps} updates, and its LR has fallen"
        if first_step:
            self.lr_scheduler, self._first_step = self._plan(max(1, here)), first_step
        return None

    def _plan_anew(self, checkpoint: str, why: str) -> None:
        done = _updates_done(checkpoint)
        left = max(1, self._updates - done)
        if self._created_lr_scheduler:
            self.lr_scheduler, self._first_step = self._plan(left), done
        elif self.lr_scheduler.total_steps != left:
            raise ValueError(f"{why}: give AutoWU total_steps={left}, the updates that are left")
        with _standing_in(self, _Nothing()):
            super()._load_optimizer_and_scheduler(checkpoint)
        self.lr_scheduler.load_state_dict(self.lr_scheduler.state_dict())  # the optimizer's own LR is another
        warnings.warn(
            f"AutoWU: {why}. It is planned anew, for the {left} updates that are left.", stacklevel=2
        )

    def _in(self, folder: str) -> _Checkpoint:
        args = cast(Any, self.args)
        scheduler, rank, ranks = self.lr_scheduler, args.process_index, args.world_size
        return _Checkpoint(self._first_step, scheduler, folder, _FILE, rank, ranks)


class _Checkpoint(PerRank):
    """With the step that the run was planned at, without which its length could not be told again."""

    def __init__(self, first_step: int, *args: Any) -> None:
        super().__init__(*args)
        self._first_step = first_step

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {_FIRST_STEP: self._first_step}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({key: value for key, value in state_dict.items() if key != _FIRST_STEP})


def _own(scheduler: object) -> AutoWU:
    """The Trainer's scheduler, if it is AutoWU: a subclass may make another one."""
    if not isinstance(scheduler, AutoWU):
        raise TypeError(
            f"the Trainer's scheduler must be AutoWU, not {type(scheduler).__name__}: give it none, and leave"
            " out a create_scheduler of your own"
        )
    return scheduler


@contextmanager
def _standing_in(trainer: Any, other: Any) -> Generator[None]:
    """Have ``trainer`` save or load ``other`` in place of its scheduler."""
    scheduler, trainer.lr_scheduler = trainer.lr_scheduler, other
    try:
        yield
    finally:
        trainer.lr_scheduler = scheduler


class _Nothing:
    """In place of a scheduler whose state is of no use."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        pass


def _saved(checkpoint: str) -> Any:
    """What the checkpoint has of the scheduler, without reading its tensors; None if it has nothing."""
    path = os.path.join(checkpoint, _FILE)
    if not os.path.isfile(path):
        return None
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _why_anew(saved: object) -> str | None:
    """Why no run can go on with the LR of ``saved``; None if it is a state of AutoWU."""
    if saved is None:
        return f"the checkpoint has no {_FILE} to go on with the LR from, as with save_only_model"
    try:
        check_keys(saved, "version", "config")
    except ValueError:
        return f"{_FILE} in the checkpoint is of another scheduler, whose LR cannot be gone on with"
    return None


def _updates_done(checkpoint: str) -> int:
    path = os.path.join(checkpoint, "trainer_state.json")
    return TrainerState.load_from_json(path).global_step if os.path.isfile(path) else 0


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
        loss = training_step(*args, **kwargs)
        self.losses.append(loss)
        return loss

    def on_train_begin(self, *_: Any, lr_scheduler: object, **__: Any) -> None:
        """Before the first update: see that there is AutoWU to give losses to."""
        _own(lr_scheduler)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.losses.clear()

    def on_optimizer_step(self, *_: Any, optimizer: Any, lr_scheduler: AutoWU, **__: Any) -> None:
        # An update that AMP skips has no step(), and so no loss. The Trainer divides the losses, so the sum.
        if not optimizer.step_was_skipped:
            lr_scheduler.observe(torch.stack(self.losses).sum())

    def on_train_end(self, args: Any, state: Any, *_: Any, lr_scheduler: AutoWU, **__: Any) -> None:
        """Say so if the run ends before its LR has fallen."""
        text = scheduler_ended_early(lr_scheduler)
        if text is not None and state.is_world_process_zero:
            warnings.warn(text, stacklevel=2)
