"""Hosts whose parameters are sharded by FSDP2, on two processes with gloo.

Accelerate takes an FSDP plugin on accelerators alone. Here it takes one on CPUs as well: all that comes after
(sharding, checkpoints, the Trainer's own ways) is as it is there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import accelerate.state
import torch
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin, PartialState
from torch import Tensor
from transformers import TrainerCallback

from integrations.accelerate import Loop
from integrations.contract.contract import KilledError
from integrations.huggingface import InOrder, Learner, LearningRates, Losses, StopAfter, arguments
from integrations.lightning import QUIET, Batches, lightnings_warnings, packages, recorder_class


class _OnCpus(accelerate.state.AcceleratorState):
    def __init__(self, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if fsdp_plugin is not None:
            self.fsdp_plugin = fsdp_plugin
            self.distributed_type = PartialState().distributed_type = DistributedType.FSDP


def _allow_cpus() -> None:
    accelerate.accelerator.AcceleratorState = _OnCpus


class Weights:
    """What this rank holds of parameters, buffers and optimizer state after each update, for a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"after-{os.environ['RANK']}.pt"
        self.after: dict[int, list[Tensor]] = torch.load(self._path) if self._path.is_file() else {}

    def look(self, step: int, model: Any, optimizer: Any) -> None:
        held = [*model.parameters(), *model.buffers()]
        held += [value for state in optimizer.state.values() for _, value in sorted(state.items())]
        local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in held]
        self.after[step] = [tensor.detach().clone() for tensor in local]

    def keep(self, switch: Any) -> None:
        torch.save(self.after, self._path)
        if switch is not None:
            marks = {"step": switch.step, "rewound_to": switch.rewound_to}
            torch.save(marks, self._path.with_name("switch.pt"))


class ShardedAccelerate:
    name = "accelerate-fsdp2"
    exact = True
    processes = True

    def train(
        self,
        losses: Sequence[float],
        folder: Path,
        *,
        stop_after: int | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> list[float]:
        _allow_cpus()
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="SHARDED_STATE_DICT")
        accelerator = Accelerator(cpu=True, fsdp_plugin=plugin)
        loop, weights = Loop(losses, accelerator, len(losses), **settings), Weights(folder)
        if resume:
            accelerator.load_state(folder / "checkpoint")
            loop.lrs.clear()  # FSDP2 makes an optimizer's state by a step with an LR of 0

        def after_update(updates: int) -> bool:
            weights.look(updates, loop.model, loop.optimizer)
            return updates == stop_after

        lrs = loop.run(loop.scheduler.last_epoch, after_update=after_update)
        if stop_after:
            accelerator.save_state(folder / "checkpoint")
        weights.keep(loop.scheduler.switch)
        return lrs


class _Look(TrainerCallback):
    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def on_step_end(
        self, args: Any, state: Any, control: Any, *, model: Any, optimizer: Any, **_: Any
    ) -> None:
        self.weights.look(state.global_step, model, optimizer)


class ShardedTrainer:
    name = "huggingface-fsdp2"
    exact = True
    processes = True

    def train(
        self,
        losses: Sequence[float],
        folder: Path,
        *,
        stop_after: int | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> list[float]:
        _allow_cpus()
        changes: dict[str, Any] = {"fsdp": True, "fsdp_config": {"version": 2}}
        weights, recorder = Weights(folder), LearningRates()
        callbacks: list[TrainerCallback] = [recorder, _Look(weights)]
        if stop_after:
            changes |= {"save_strategy": "steps", "save_steps": stop_after}
            callbacks.append(StopAfter(stop_after))
        args = arguments(folder, **changes)
        data = Losses(losses, args.world_size)
        trainer = InOrder(Learner(), args, train_dataset=data, callbacks=callbacks, autowu=settings)
        with suppress(KilledError):
            trainer.train(resume_from_checkpoint=resume)
        weights.keep(trainer.lr_scheduler.switch)
        return recorder.lrs


class ShardedLightning:
    """Under ModelParallelStrategy, with the losses that it is given and gradients of its own."""

    name = "lightning-fsdp2"
    exact = True
    processes = True

    def train(
        self,
        losses: Sequence[float],
        folder: Path,
        *,
        stop_after: int | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> list[float]:
        pl, callback_class = packages("lightning.pytorch")
        callback, weights = callback_class(**settings), Weights(folder)

        def after_batch(trainer: Any) -> None:
            weights.look(trainer.global_step, trainer.model, trainer.optimizers[0])

        checkpoint = folder / "halfway.ckpt"
        recorder = recorder_class(pl)(stop_after, checkpoint, after_batch)
        ranks = int(os.environ["WORLD_SIZE"])
        trainer = pl.Trainer(
            **QUIET,
            devices=ranks,
            strategy=pl.strategies.ModelParallelStrategy(data_parallel_size=ranks, tensor_parallel_size=1),
            max_epochs=1,
            callbacks=[callback, recorder],
        )
        with lightnings_warnings(), suppress(KilledError):
            trainer.fit(_sharded_module(pl), Batches(losses), ckpt_path=checkpoint if resume else None)
        weights.keep(callback.scheduler.switch)
        return recorder.lrs


def _sharded_module(pl: Any) -> Any:
    class Sharded(pl.LightningModule):
        """Its loss is the batch, and its gradients are those of something else."""

        def configure_model(self) -> None:
            from torch.distributed.fsdp import fully_shard

            if not hasattr(self, "net"):
                torch.manual_seed(0)
                self.net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
                fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

        def training_step(self, batch: Tensor) -> Tensor:
            other = self.net(torch.linspace(-1, 1, 8).view(2, 4)).square().mean()
            return other - other.detach() + batch.mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    return Sharded()


HOSTS = [ShardedAccelerate(), ShardedTrainer(), ShardedLightning()]
