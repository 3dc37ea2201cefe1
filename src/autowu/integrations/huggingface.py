"""AutoWU in the Hugging Face Trainer, which gives its scheduler no loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

try:
    import torch

    from autowu.integrations import torchvision_shim

    torchvision_shim.install()
    from transformers import Trainer, TrainerCallback
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise  # installed, but broken: its own error says more
    raise ImportError(
        f"autowu.integrations.huggingface needs {error.name}: pip install 'autowu[huggingface]'"
    ) from error

from autowu.integrations.torch.scheduler import AutoWU

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
    have no effect.

    Args:
        autowu: arguments of :class:`autowu.AutoWU` and fields of :class:`autowu.Config`.

    Raises:
        TypeError: by ``train()``: an argument is unknown to AutoWU, or of the wrong type; or the Trainer was
            given another scheduler.
        ValueError: by ``train()``: a setting is out of range; DeepSpeed; FSDP with rewind.
    """

    def __init__(self, *args: Any, autowu: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = dict(autowu or {})
        self._update = _UpdateLoss()
        self.add_callback(self._update)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> AutoWU:
        """AutoWU over ``num_training_steps`` updates of the Trainer's optimizer."""
        if self.is_deepspeed_enabled:
            raise ValueError("AutoWU cannot run under DeepSpeed, which steps schedulers without a loss")
        scheduler: object = self.lr_scheduler
        if scheduler is None:
            scheduler = AutoWU(
                optimizer or cast(Any, self.optimizer),
                total_steps=num_training_steps,
                model=cast(Any, self.model),
                **self._settings,
            )
            self._created_lr_scheduler = True  # so that the next train() makes a new one
        if not isinstance(scheduler, AutoWU):
            raise TypeError(f"the Trainer's scheduler must be AutoWU, not {type(scheduler).__name__}")
        if self.is_fsdp_enabled and scheduler.config.rewind:
            # scheduler.pt is that of rank 0, which holds another part of the copy than the other ranks.
            raise ValueError("under FSDP the Trainer cannot save the copy for rewinding: set rewind=False")
        self.lr_scheduler = scheduler
        return scheduler

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """A micro-batch; its loss is kept for the scheduler."""
        loss = super().training_step(*args, **kwargs)
        self._update.losses.append(loss)
        return loss

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # Every rank comes here, but only rank 0 saves its scheduler.
        self.lr_scheduler.share_losses()
        super()._save_optimizer_and_scheduler(output_dir)


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

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.losses.clear()

    def on_optimizer_step(self, *_: Any, optimizer: Any, lr_scheduler: AutoWU, **__: Any) -> None:
        # An update that AMP skips has no step(), and so no loss. The Trainer divides the losses, so the sum.
        if not optimizer.step_was_skipped:
            lr_scheduler.observe(torch.stack(self.losses).sum())
