"""The contract's driver for the Hugging Face Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import TrainerCallback, TrainingArguments

from autowu.integrations.huggingface import AutoWUTrainer


class Losses(Dataset):
    """Each item is a prescribed loss. Each process holds its own; the Trainer deals items out in turn."""

    def __init__(self, losses: Sequence[float], processes: int) -> None:
        self.values = torch.tensor(losses, dtype=torch.float32).repeat_interleave(processes)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"loss": self.values[index]}


class OneWeight(nn.Module):
    """Gives back the loss that it is given, and pulls the weight towards 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, loss: Tensor) -> dict[str, Tensor]:
        pull = (self.weight - 1).square()
        return {"loss": loss.mean() + (pull - pull.detach())}


class StopAfter(TrainerCallback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = state.global_step == self.steps


class InOrder(AutoWUTrainer):
    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    quiet = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}
    fixed = {"use_cpu": True, "per_device_train_batch_size": 1, "num_train_epochs": 1, "max_grad_norm": 0.0}
    return TrainingArguments(output_dir=str(folder), **(quiet | fixed | changes))


class Trainer:
    name = "huggingface"
    exact = True
    processes = True

    def train(
        self,
        losses: Sequence[float],
        folder: Path,
        *,
        accumulation: int = 1,
        stop_after: int | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> list[float]:
        changes: dict[str, Any] = {"gradient_accumulation_steps": accumulation}
        if stop_after:
            changes |= {"save_strategy": "steps", "save_steps": stop_after}
        args = arguments(folder, **changes)
        model, lrs = OneWeight(), []
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        optimizer.register_step_pre_hook(lambda *_: lrs.append(optimizer.param_groups[0]["lr"]))
        trainer = InOrder(
            model=model,
            args=args,
            train_dataset=Losses(losses, args.world_size),
            optimizers=(optimizer, None),
            callbacks=[StopAfter(stop_after)] if stop_after else [],
            autowu=settings,
        )
        trainer.train(resume_from_checkpoint=resume)
        return lrs


HOSTS = [Trainer()]
