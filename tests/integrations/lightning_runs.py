"""Runs of lightning.pytorch that are begun, saved and gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from integrations.contract.contract import KilledError
from integrations.lightning import QUIET, Batches, module_class, packages, recorder_class

_, AutoWUCallback = packages("lightning.pytorch")
OneParameter = module_class(pl)
Recorder = recorder_class(pl)

# Its own use of PyTorch.
LIGHTNINGS = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning")


def fit(
    callback: Any,
    losses: Any,
    model: Any = None,
    *,
    callbacks: Sequence[Any] = (),
    ckpt_path: Path | None = None,
    **settings: Any,
) -> list[float]:
    """Train with ``settings`` of the Trainer, and give the LR of each update."""
    recorder = Recorder()
    trainer = pl.Trainer(**QUIET | {"max_epochs": 1} | settings, callbacks=[callback, recorder, *callbacks])
    with suppress(KilledError):
        trainer.fit(OneParameter() if model is None else model, Batches(losses), ckpt_path=ckpt_path)
    return recorder.lrs


class WithBatchNorm(pl.LightningModule):
    """Learns something real, while its loss has the value that it is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(self.global_step))
        loss = (self.network(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        return loss - loss.detach() + batch.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())


class Weights(pl.Callback):
    """Knows all that training changes, after each update; saves after ``save_at``."""

    def __init__(self, save_at: int | None = None, checkpoint: Path | None = None) -> None:
        self.after: dict[int, dict[str, Tensor]] = {}
        self.save_at = save_at
        self.checkpoint = checkpoint

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        found = dict(pl_module.state_dict())
        for index, state in enumerate(trainer.optimizers[0].state.values()):
            found |= {f"{index}.{key}": value for key, value in state.items()}
        self.after[trainer.global_step] = {name: value.clone() for name, value in found.items()}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.on_train_start(trainer, pl_module)
        if trainer.global_step == self.save_at:
            trainer.save_checkpoint(self.checkpoint)
            raise KilledError
