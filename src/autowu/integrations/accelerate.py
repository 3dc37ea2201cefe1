"""AutoWU in a training loop with Accelerate."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from typing import Any, cast

from autowu.extras import install

try:
    import torch
    from accelerate import Accelerator, DistributedType
    from accelerate.scheduler import AcceleratedScheduler
except ModuleNotFoundError as error:
    if error.name not in ("torch", "accelerate"):
        raise  # installed, but broken: its own error says more
    raise ImportError(
        f"autowu.integrations.accelerate needs {error.name}: {install('accelerate')}"
    ) from error

from autowu.integrations.exits import scheduler_ended_early
from autowu.integrations.sharded import PerRank
from autowu.integrations.torch.nested import within
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

    ``scheduler.extend(total_steps)`` and ``scheduler.cooldown(steps)`` are AutoWU's: to be called between two
    updates, in all processes.

    ``accelerator.save_state`` and ``load_state`` include it. ``accelerator.end_training`` warns of a run that
    ends before its LR has fallen.

    Args:
        accelerator: the one that prepared the optimizer.
        scheduler: AutoWU of that optimizer, or of several; ``total_steps`` counts updates, however many the
            processes.

    Raises:
        TypeError: ``scheduler`` is not AutoWU.
        ValueError: under DeepSpeed and Megatron-LM; under version 1 of FSDP with rewind.
    """

    scheduler: AutoWU
    _is_accelerate_prepared = True  # `prepare_scheduler` then takes it as it is

    def __init__(self, accelerator: Accelerator, scheduler: AutoWU) -> None:
        if not isinstance(scheduler, AutoWU):  # pyright: ignore[reportUnnecessaryIsInstance]
            prepared = isinstance(scheduler, AcceleratedScheduler)
            instead = ": leave it out of accelerator.prepare, and give it itself" if prepared else ""
            raise TypeError(f"scheduler must be AutoWU, not {type(scheduler).__name__}{instead}")
        kind = accelerator.distributed_type
        if kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
            raise ValueError(f"AutoWU cannot run under {kind.value}, which steps schedulers without a loss")
        if kind == DistributedType.FSDP and not accelerator.is_fsdp2 and scheduler.config.rewind:
            raise ValueError(
                "under version 1 of FSDP Accelerate cannot save the copy for rewinding: set fsdp_version=2,"
                " or rewind=False"
            )
        super().__init__(scheduler, scheduler.optimizers)
        self._reference = weakref.ref(accelerator)  # it holds this one: together they would not be set free
        self._losses: list[object] = []  # of the update's micro-batches, still on their device
        self._checkpoint: PerRank | None = None  # that Accelerate saves or loads next
        self._register()

    def step(self, loss: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Give the loss of each micro-batch; after the last of an update the next LR is set.

        The losses of an update that mixed precision skips are left out.

        Args:
            loss: as it goes into ``accelerator.backward``.

        Raises:
            TypeError, ValueError: as :meth:`autowu.AutoWU.step`, at the end of an update.
        """
        # A copy: the next micro-batch may write its loss into the same memory, as in a CUDA graph.
        self._losses.append(loss.detach().clone() if isinstance(loss, torch.Tensor) else loss)
        if not self.gradient_state.sync_gradients:
            return
        losses, self._losses = self._losses, []
        if not self._was_skipped():
            for micro in losses:
                self.scheduler.observe(micro)
            self.scheduler.step()

    def _was_skipped(self) -> bool:
        """Whether mixed precision has skipped the update; others' optimizers may have been, long ago."""
        own = self.scheduler.optimizers
        known: list[Any] = self._accelerator._optimizers  # pyright: ignore[reportPrivateUsage]
        return any(
            each.step_was_skipped for each in known if any(mine in (each, each.optimizer) for mine in own)
        )

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's; while Accelerate saves sharded parameters, without this process's part."""
        checkpoint, self._checkpoint = self._checkpoint, None
        return (checkpoint or self.scheduler).state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`.

        Raises:
            ValueError: as :meth:`autowu.AutoWU.load_state_dict`; a process's part of the copy is missing.
        """
        checkpoint, self._checkpoint = self._checkpoint, None
        (checkpoint or self.scheduler).load_state_dict(state_dict)
        self._losses = []  # of an update that was given up for the checkpoint

    @property
    def _accelerator(self) -> Accelerator:
        if (accelerator := self._reference()) is None:
            raise RuntimeError("the Accelerator that AcceleratedAutoWU was made with is gone")
        return accelerator

    def _in(self, folder: str) -> PerRank:
        accelerator = self._accelerator
        index = cast("list[object]", accelerator._schedulers).index(self)  # pyright: ignore[reportPrivateUsage]
        file = f"scheduler_{index}.bin" if index else "scheduler.bin"  # as Accelerate names it
        return PerRank(self.scheduler, folder, file, accelerator.process_index, accelerator.num_processes)

    def _register(self) -> None:
        """Have Accelerate call it until ``free_memory`` forgets it, which has to set its weights free."""
        accelerator, reference = self._accelerator, weakref.ref(self)
        its, given = self._reference, vars(accelerator).get("end_training")

        def in_use() -> AcceleratedAutoWU | None:
            here, there = reference(), its()
            known: list[object] = [] if there is None else there._schedulers  # pyright: ignore[reportPrivateUsage]
            return here if any(each is here for each in known) else None

        def before_save(models: object, weights: object, folder: str) -> None:
            if (here := in_use()) is not None:
                here._checkpoint = here._in(folder)
                here._checkpoint.save()

        def before_load(models: object, folder: str) -> None:
            if (here := in_use()) is not None:
                here._checkpoint = here._in(folder)

        # Accelerate has no hook for the end, but what its trackers have, which would be asked to log as well.
        def end() -> None:
            there = cast("Accelerator", its())  # whose method this is
            here = in_use() if there.is_main_process else None
            if given is None:
                type(there).end_training(there)
            else:
                given()  # another's of these, or the user's
            text = None if here is None else scheduler_ended_early(here.scheduler)
            if text is not None:
                warnings.warn(text, stacklevel=2)

        own = set(map(id, within(self.scheduler.optimizers)))
        known: list[object] = accelerator._schedulers  # pyright: ignore[reportPrivateUsage]
        for at, each in enumerate(known):
            if isinstance(each, AcceleratedAutoWU) and own & set(map(id, within(each.scheduler.optimizers))):
                known[at] = self  # it is out of use: a cell that is run again has made it
                break
        else:
            accelerator.prepare_scheduler(cast(Any, self))
        accelerator.register_save_state_pre_hook(before_save)
        accelerator.register_load_state_pre_hook(before_load)
        accelerator.end_training = end

    def __repr__(self) -> str:
        return repr(self.scheduler)

    def __getattr__(self, name: str) -> Any:
        """What AutoWU has: ``phase``, ``switch``, ``verdicts``, ``extend``, ``cooldown``, ``total_steps``."""
        if name == "scheduler":  # not set yet: as in a copy that is being made
            raise AttributeError(name)
        return getattr(self.scheduler, name)
