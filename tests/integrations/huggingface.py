"""The contract's driver for the Hugging Face Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import TrainerCallback, TrainingArguments

from autowu.integrations.huggingface import AutoWUTrainer
from integrations.contract.contract import Host, Job, KilledError
from integrations.contract.learner import Learner


class Losses(Dataset):
    """Each item is a prescribed loss. Each process holds its own; the Trainer deals items out in turn."""

    def __init__(self, losses: Sequence[float], processes: int) -> None:
        self.values = torch.tensor(losses, dtype=torch.float32).repeat_interleave(processes)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"loss": self.values[index]}


class InOrder(AutoWUTrainer):
    """Takes the items in their order."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class LearningRates(TrainerCallback):
    """Knows the LR that each update was made with: skipped ones make none."""

    def __init__(self) -> None:
        self.lrs: list[float] = []

    def on_train_begin(self, *_: Any, optimizer: Any, **__: Any) -> None:
        while hasattr(optimizer, "optimizer"):
            optimizer = optimizer.optimizer  # Accelerate's wrapper
        optimizer.register_step_pre_hook(lambda *_: self.lrs.append(optimizer.param_groups[0]["lr"]))


class StopAfter(TrainerCallback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.steps:
            raise KilledError


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    quiet = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}
    fixed = {"use_cpu": True, "per_device_train_batch_size": 1, "num_train_epochs": 1}
    return TrainingArguments(output_dir=str(folder), **(quiet | fixed | changes))


def trainer_for(
    losses: Sequence[float],
    folder: Path,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    autowu: dict[str, Any] | None = None,
    **changes: Any,
) -> Any:
    data = Losses(losses, 1)
    args = arguments(folder, **changes)
    return InOrder(Learner(), args, train_dataset=data, callbacks=list(callbacks), autowu=autowu)


class Asking(TrainerCallback):
    """Moves the end of the run as the job has it."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def on_step_end(self, args: Any, state: Any, control: Any, *, lr_scheduler: Any, **_: Any) -> None:
        self.job.ask(state.global_step, lr_scheduler)


class Trainer(Host):
    name = "huggingface"
    exact = True
    processes = True
    endless = False

    def make(self, job: Job) -> list[float]:
        changes: dict[str, Any] = {"gradient_accumulation_steps": job.accumulation}
        callbacks: list[TrainerCallback] = [recorder := LearningRates(), Asking(job)]
        if job.stop_after:
            changes |= {"save_strategy": "steps", "save_steps": job.stop_after}
            callbacks.append(StopAfter(job.stop_after))
        args = arguments(job.folder, **changes)
        data = Losses(job.losses, args.world_size)
        trainer = InOrder(Learner(), args, train_dataset=data, callbacks=callbacks, autowu=job.settings)
        with suppress(KilledError):
            trainer.train(resume_from_checkpoint=job.resume)
        return recorder.lrs


HOSTS = [Trainer()]
