"""AutoWU in a training loop with Accelerate."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from typing import Any, cast

try:
    import torch
    from accelerate import Accelerator, DistributedType
    from accelerate.scheduler import AcceleratedScheduler
except ModuleNotFoundError as error:
    if error.name not in ("torch", "accelerate"):
        raise  # installed, but broken: its own error says more
    raise ImportError(
        f"autowu.integrations.accelerate needs {error.name}: pip install 'autowu[accelerate]'"
    ) from error

from autowu.integrations.torch.scheduler import AutoWU


class AcceleratedAutoWU(AcceleratedScheduler):
    """AutoWU in an Accelerator; what ``accelerator.prepare`` makes of it would step once per process.

    ::

        model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
        scheduler = AcceleratedAutoWU(accelerator, AutoWU(optimizer, total_steps=12_000))
        for batch in batches:
            with accelerator.accumulate(model):
                loss = model(batch)
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step(loss)
                optimizer.zero_grad()
        scheduler.switch  # how warm-up ended; also phase and verdicts

    ``accelerator.save_state`` and ``load_state`` include it.

    Args:
        accelerator: the one that prepared the optimizer.
        scheduler: AutoWU of that optimizer; ``total_steps`` counts updates, however many the processes.

    Raises:
        TypeError: ``scheduler`` is not AutoWU.
        ValueError: under DeepSpeed and Megatron-LM; under FSDP with rewind.
    """

    scheduler: AutoWU
    _is_accelerate_prepared = True  # `prepare_scheduler` then takes it as it is

    def __init__(self, accelerator: Accelerator, scheduler: AutoWU) -> None:
        if not isinstance(scheduler, AutoWU):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"scheduler must be AutoWU, not {type(scheduler).__name__}")
        kind = accelerator.distributed_type
        if kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
            raise ValueError(f"AutoWU cannot run under {kind.value}, which steps schedulers without a loss")
        if kind == DistributedType.FSDP and scheduler.config.rewind:
            # The state saved is that of rank 0, which holds another part of the copy than the other ranks.
            raise ValueError("under FSDP Accelerate cannot save the copy for rewinding: set rewind=False")
        super().__init__(scheduler, scheduler.optimizer)
        self._accelerator = accelerator
        self._losses: list[object] = []  # of the update's micro-batches, still on their device
        accelerator.prepare_scheduler(cast(Any, self))
        accelerator.register_save_state_pre_hook(lambda *_: scheduler.share_losses())

    def step(self, loss: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Give the loss of each micro-batch; after the last of an update the next LR is set.

        The losses of an update that mixed precision skips are left out.

        Args:
            loss: as it goes into ``accelerator.backward``.

        Raises:
            TypeError, ValueError: as :meth:`autowu.AutoWU.step`, at the end of an update.
        """
        self._losses.append(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        if not self.gradient_state.sync_gradients:
            return
        losses, self._losses = self._losses, []
        if not self._accelerator.optimizer_step_was_skipped:
            for micro in losses:
                self.scheduler.observe(micro)
            self.scheduler.step()

    def __getattr__(self, name: str) -> Any:
        """What AutoWU has: ``phase``, ``switch``, ``verdicts``, ``config``."""
        if name == "scheduler":  # not set yet: as in a copy that is being made
            raise AttributeError(name)
        return getattr(self.scheduler, name)
