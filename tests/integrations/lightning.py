"""Lightning as a host of the contract: both packages, and both ways to optimize."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from integrations.contract.contract import Host, Job, KilledError

# A `Trainer` as tests want it: nothing on the screen, no logs, no progress to wait for.
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Lightning(Host):
    exact = True
    processes = True

    def __init__(self, package: str, *, manual: bool = False) -> None:
        self.package = package
        self.manual = manual
        self.name = package.replace(".", "-") + ("-manual" if manual else "")

    def make(self, job: Job) -> list[float]:
        pl, autowu_callback = packages(self.package)
        total_steps = job.total_steps if self.manual else None
        autowu = autowu_callback(total_steps, **job.settings)
        checkpoint = job.folder / "halfway.ckpt"

        def after_batch(trainer: Any) -> None:
            job.ask(trainer.global_step, autowu.scheduler)
            trainer.should_stop = job.endless and trainer.global_step == job.updates

        recorder = recorder_class(pl)(job.stop_after, checkpoint, after_batch)
        processes = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun's
        trainer = pl.Trainer(
            **QUIET,
            devices=processes,
            strategy="ddp" if processes > 1 else "auto",
            max_epochs=-1 if job.endless else 1,
            callbacks=[autowu, recorder],
            accumulate_grad_batches=1 if self.manual else job.accumulation,
        )
        model = module_class(pl)(job.accumulation if self.manual else None)
        with lightnings_warnings(), suppress(KilledError):
            trainer.fit(model, Batches(job.losses), ckpt_path=checkpoint if job.resume else None)
        return recorder.lrs


HOSTS = [
    Lightning("lightning.pytorch"),
    Lightning("lightning.pytorch", manual=True),
    Lightning("pytorch_lightning"),
]


@contextmanager
def lightnings_warnings() -> Iterator[None]:
    """Let pass what Lightning warns of in a run that is as it should be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*treespec, LeafSpec", FutureWarning)  # its own use of PyTorch
        yield


def packages(package: str) -> tuple[Any, Any]:
    """Lightning itself, and AutoWU's callback for it."""
    logging.getLogger(package).setLevel(logging.ERROR)  # its tips
    pl = import_module(package)
    name = package.removesuffix(".pytorch")
    return pl, import_module(f"autowu.integrations.{name}").AutoWUCallback


class Batches:
    """One loss a batch. It can go on in the middle of an epoch, by the interface that Lightning looks for."""

    def __init__(self, losses: Sequence[float]) -> None:
        self.losses = torch.tensor(losses, dtype=torch.float32)
        self.given = 0

    def __len__(self) -> int:
        return len(self.losses)

    def __iter__(self) -> Iterator[Tensor]:
        self.given %= len(self)  # Lightning does not ask for more than there are, and so sees no end
        while self.given < len(self):
            self.given += 1
            yield self.losses[self.given - 1 : self.given]

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = state["given"]


def module_class(pl: Any) -> Any:
    class OneParameter(pl.LightningModule):
        """Its loss is the mean of the batch, whatever its parameter."""

        def __init__(self, manual_accumulation: int | None = None) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))
            self.accumulation = manual_accumulation
            self.automatic_optimization = manual_accumulation is None

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            loss = batch.mean() + 0 * self.w
            if self.accumulation is not None:
                self.manual_backward(loss / self.accumulation)
                if (batch_idx + 1) % self.accumulation == 0:
                    self.optimizers().step()
                    self.optimizers().zero_grad()
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    return OneParameter


def recorder_class(pl: Any) -> Any:
    class Recorder(pl.Callback):
        """Knows the LR that each update was made with; saves and stops after so many."""

        def __init__(
            self,
            stop_after: int | None = None,
            checkpoint: Path | None = None,
            after_batch: Callable[[Any], object] = lambda trainer: None,
        ) -> None:
            self.lrs: list[float] = []
            self.after_batch = after_batch
            self.stop_after = stop_after
            self.checkpoint = checkpoint

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            self.lrs.append(optimizer.param_groups[0]["lr"])

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            self.after_batch(trainer)
            if trainer.global_step == self.stop_after:
                trainer.save_checkpoint(self.checkpoint)
                raise KilledError

    return Recorder
