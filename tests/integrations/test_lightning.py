"""What is particular to Lightning."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autowu.extras import install
from autowu.integrations.torch.tensors import StateDict

pytest.importorskip("lightning.pytorch")

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from integrations import examples
from integrations.contract.contract import KilledError, core_trace, v_curve
from integrations.lightning import (
    QUIET,
    Batches,
    lightnings_warnings,
    module_class,
    packages,
    recorder_class,
)

_, AutoWUCallback = packages("lightning.pytorch")
OneParameter = module_class(pl)
Recorder = recorder_class(pl)
PAPER: dict[str, Any] = {"preset": "paper", "steps_per_epoch": 6}  # the one that minds the losses' scale


@pytest.fixture(autouse=True)
def _lightnings_warnings() -> Iterator[None]:
    with lightnings_warnings():
        yield


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


# --- updates and their losses -------------------------------------------------------------------------


def test_the_length_of_the_run_is_the_trainers_and_an_epochs_last_update_may_be_of_fewer_batches() -> None:
    epochs, updates = 12, np.round(v_curve(36) * 256) / 256
    # Ten batches an epoch, four in an update: 4, 4 and 2.
    micro = np.repeat(updates, [4, 4, 2] * epochs).reshape(epochs, 10)
    callback = AutoWUCallback(**PAPER)
    lrs = fit(callback, micro[0], InTurn(micro), max_epochs=epochs, accumulate_grad_batches=4)
    assert callback.scheduler.total_steps == 36
    assert lrs == core_trace(updates, **PAPER)


class InTurn(OneParameter):
    """Takes its losses from a table, a row an epoch."""

    def __init__(self, losses: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("losses", torch.tensor(losses, dtype=torch.float32))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return super().training_step(self.losses[self.current_epoch, batch_idx], batch_idx)


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_a_batch_that_training_step_skips_is_a_loss_that_is_missing() -> None:
    class Skipping(OneParameter):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor | None:
            return None if batch_idx in (7, 40) else super().training_step(batch, batch_idx)

    losses = v_curve(120)
    missing = losses.copy()
    missing[[7, 40]] = np.nan
    with pytest.warns(UserWarning, match="`training_step` returned `None`"):
        assert fit(AutoWUCallback(), losses, Skipping()) == core_trace(missing)


def test_an_update_that_mixed_precision_skips_counts_with_its_loss() -> None:
    """As Lightning counts it: in max_steps, global_step and the trainer's estimate of the run's length."""
    skipped = [4, 5, 50]

    class Overflowing(OneParameter):
        def __init__(self) -> None:
            super().__init__()
            self.weights: list[float] = []

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            self.weights.append(self.w.item())
            pull = self.w - self.w.detach()  # 0, with gradient 1
            if batch_idx in skipped:
                pull.register_hook(lambda gradient: gradient * torch.inf)
            return super().training_step(batch, batch_idx) + pull

    losses, model = v_curve(120), Overflowing()
    precision = pl.plugins.MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**10))
    lrs = fit(AutoWUCallback(), losses, model, plugins=[precision])
    assert [step for step in range(119) if model.weights[step] == model.weights[step + 1]] == skipped
    assert lrs == core_trace(losses)


def test_training_step_may_make_several_updates() -> None:
    class Twice(OneParameter):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            for _ in range(2):
                loss = super().training_step(batch, batch_idx)
            return loss

    losses = v_curve(60)
    assert fit(AutoWUCallback(120), losses, Twice(1))[::2] == core_trace(np.repeat(losses, 2))[::2]


def test_lightnings_own_monitor_sees_the_lr() -> None:
    class Log(pl.loggers.logger.Logger):
        name, version = "log", 0

        def __init__(self) -> None:
            super().__init__()
            self.lrs: list[float] = []

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            self.lrs += [value for key, value in metrics.items() if key == "lr-SGD"]

        def log_hyperparams(self, *_: Any, **__: Any) -> None:
            pass

    log, losses = Log(), v_curve(120)
    monitor = pl.callbacks.LearningRateMonitor("step")
    lrs = fit(AutoWUCallback(), losses, logger=log, log_every_n_steps=1, callbacks=[monitor])
    assert log.lrs == lrs


# --- rewind -------------------------------------------------------------------------------------------


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

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        found = dict(pl_module.state_dict())
        for index, state in enumerate(trainer.optimizers[0].state.values()):
            found |= {f"{index}.{key}": value for key, value in state.items()}
        self.after[trainer.global_step] = {name: value.clone() for name, value in found.items()}
        if trainer.global_step == self.save_at:
            trainer.save_checkpoint(self.checkpoint)
            raise KilledError


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0, msg=name)


def test_weights_buffers_and_optimizer_state_go_back_also_in_a_resumed_run(tmp_path: Path) -> None:
    losses, checkpoint = v_curve(120), tmp_path / "in-warmup.ckpt"
    callback, whole = AutoWUCallback(), Weights()
    lrs = fit(callback, losses, WithBatchNorm(), callbacks=[whole])
    switch = callback.scheduler.switch
    assert switch.rewound_to is not None
    assert switch.rewound_to < switch.step - 1
    assert_equal(whole.after[switch.step], whole.after[switch.rewound_to])
    assert any(
        not torch.equal(whole.after[switch.step - 1][key], value)
        for key, value in whole.after[switch.step].items()
        if key.endswith("running_mean")
    )

    halfway = (switch.rewound_to + switch.step) // 2
    fit(AutoWUCallback(), losses, WithBatchNorm(), callbacks=[Weights(halfway, checkpoint)])
    resumed, callback = Weights(), AutoWUCallback()
    assert fit(callback, losses, WithBatchNorm(), callbacks=[resumed], ckpt_path=checkpoint) == lrs[halfway:]
    assert callback.scheduler.switch == switch
    for step, found in resumed.after.items():
        assert_equal(found, whole.after[step])


# --- checkpoints --------------------------------------------------------------------------------------


def test_a_checkpoint_needs_no_pickled_objects(tmp_path: Path) -> None:
    path = tmp_path / "saved.ckpt"
    losses = v_curve(120)
    lrs = fit(AutoWUCallback(), losses, callbacks=[Weights(28, path)])
    assert StateDict(torch.load(path, weights_only=True)["callbacks"]["AutoWUCallback"]["scheduler"])[
        "snapshot"
    ]
    lrs += fit(AutoWUCallback(), losses, ckpt_path=path)
    assert lrs == core_trace(losses)


def test_a_run_of_too_few_updates_does_not_go_on(tmp_path: Path) -> None:
    path = tmp_path / "saved.ckpt"
    fit(AutoWUCallback(), v_curve(60), WithBatchNorm(), callbacks=[Weights(20, path)])
    with pytest.raises(ValueError, match=r"total_steps must be .*, of which 20 are done, not 20"):
        fit(AutoWUCallback(20), v_curve(60), WithBatchNorm(), ckpt_path=path)


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_a_checkpoint_without_autowu_is_taken_over(tmp_path: Path) -> None:
    path, losses = tmp_path / "saved.ckpt", v_curve(60)
    fit(pl.Callback(), losses, WithBatchNorm(), callbacks=[Weights(20, path)])
    lrs = fit(AutoWUCallback(40), losses, WithBatchNorm(), ckpt_path=path)
    assert lrs == core_trace(losses[20:])


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a state of AutoWU: it lacks 'first_step' and 'scheduler'; its"):
        AutoWUCallback().load_state_dict({"patience": 3})


def test_what_validation_loads_is_not_what_training_goes_on_from(tmp_path: Path) -> None:
    class Validating(WithBatchNorm):
        def validation_step(self, batch: Tensor, batch_idx: int) -> None:
            pass

    path, losses, callback = tmp_path / "saved.ckpt", v_curve(60), AutoWUCallback()
    fit(AutoWUCallback(), losses, WithBatchNorm(), callbacks=[Weights(20, path)])
    trainer = pl.Trainer(callbacks=[callback], **QUIET)
    trainer.validate(Validating(), Batches(losses), ckpt_path=path, verbose=False)
    assert fit(callback, losses) == core_trace(losses)


EXAMPLE = "lightning_images.py"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example has run without a break."""
    folder = tmp_path_factory.mktemp("whole")
    output = examples.run(EXAMPLE, "--out", folder, folder=folder)
    assert 90 < int(output.split("ended at update ")[1].split()[0]) < 315 - 45
    assert float(output.split("unseen images: ")[1].split("%")[0]) > 97
    return folder


@pytest.mark.full
@pytest.mark.parametrize("updates", [90, 315], ids=["in warm-up", "in decay"])
def test_the_example_goes_on_after_kill_9(updates: int, whole: Path, tmp_path: Path) -> None:
    process = examples.start(EXAMPLE, "--out", tmp_path, folder=tmp_path)
    examples.kill_when(
        lambda: any(saved_at(path) >= updates for path in tmp_path.glob("epoch=*.ckpt")), process
    )
    examples.run(EXAMPLE, "--out", tmp_path, "--resume", folder=tmp_path)

    expected, resumed = lr_log(whole / "log/version_0"), lr_log(tmp_path / "log/version_1")
    # The checkpoint `last` follows that of the epoch, and may not have come: then it is an epoch older.
    assert updates - 45 <= min(resumed) < max(resumed) == max(expected) == 674
    assert resumed == {step: lr for step, lr in expected.items() if step >= min(resumed)}


def saved_at(checkpoint: Path) -> int:
    return int(checkpoint.stem.split("step=")[1].split("-")[0])


def lr_log(folder: Path) -> dict[int, float]:
    with open(folder / "metrics.csv", newline="") as file:
        return {int(row["step"]): float(row["lr-AdamW"]) for row in csv.DictReader(file) if row["lr-AdamW"]}


# --- several optimizers -------------------------------------------------------------------------------


def test_several_optimizers_have_a_scheduler_each_by_manual_optimization(tmp_path: Path) -> None:
    import autowu

    class Two(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.w = nn.Parameter(torch.ones(2))
            self.v = nn.Parameter(torch.ones(2))

        def configure_optimizers(self) -> Any:
            optimizers = [torch.optim.SGD([self.w], 0.1), torch.optim.Adam([self.v], 0.1)]
            return optimizers, [autowu.AutoWU(optimizer, total_steps=120) for optimizer in optimizers]

        def training_step(self, batch: Tensor, batch_idx: int) -> None:
            for index, (optimizer, scheduler) in enumerate(
                zip(self.optimizers(), self.lr_schedulers(), strict=True)
            ):
                loss = (1 + index) * batch.mean() + 0 * (self.w + self.v).sum()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
                scheduler.step(loss)

    losses, path = v_curve(120), tmp_path / "saved.ckpt"
    before, after = Recorder(2 * 17, path), Recorder()  # global_step counts the updates of both
    fit(before, losses, Two())
    fit(after, losses, Two(), ckpt_path=path)
    assert [*before.lrs, *after.lrs] == list(np.repeat(core_trace(losses), 2))


def test_the_callback_takes_one_decision_for_several_optimizers(tmp_path: Path) -> None:
    """Such as Muon for the matrices, and AdamW for the rest."""

    class Pair(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.w = nn.Parameter(torch.ones(2))
            self.v = nn.Parameter(torch.ones(2))

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD([self.w], 0.02, momentum=0.9), torch.optim.AdamW([self.v], 3e-4)]

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            loss = batch.mean() + 0 * (self.w + self.v).sum()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()
            return loss

    losses, path = v_curve(120), tmp_path / "saved.ckpt"
    before, after = Recorder(2 * 17, path), Recorder()  # global_step counts the updates of both
    for recorder, checkpoint in ((before, None), (after, path)):
        fit(AutoWUCallback(120), losses, Pair(), callbacks=[recorder], ckpt_path=checkpoint)
    lrs = [*before.lrs, *after.lrs]
    assert lrs[::2] == list(core_trace(losses))
    assert lrs[1::2] == pytest.approx(np.array(core_trace(losses)) * 3e-4 / 0.02)


# --- errors -------------------------------------------------------------------------------------------


def test_an_optimizer_and_no_other_scheduler() -> None:
    class Without(OneParameter):
        def configure_optimizers(self) -> Any:
            return None

    class Scheduled(OneParameter):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            return [optimizer], [torch.optim.lr_scheduler.ConstantLR(optimizer)]

    gives_none = pytest.raises(ValueError, match="that configure_optimizers gives, and it gives none")
    with pytest.warns(UserWarning, match="with no optimizer"), gives_none:
        fit(AutoWUCallback(10), [1.0], Without(1))
    with pytest.raises(ValueError, match="gives an LR scheduler, ConstantLR"):
        fit(AutoWUCallback(10), [1.0], Scheduled())


def test_the_length_of_the_run_must_be_known() -> None:
    with pytest.raises(ValueError, match="give total_steps: with manual optimization"):
        fit(AutoWUCallback(), [1.0], OneParameter(1))
    with pytest.raises(ValueError, match=r"give total_steps, or max_steps .* max_epochs=1 will be, since"):
        pl.Trainer(**QUIET, max_epochs=1, callbacks=[AutoWUCallback()]).fit(
            OneParameter(), iter(Batches([1]))
        )
    with pytest.raises(ValueError, match="total_steps must be an integer ≥ 1, not 0"):
        fit(AutoWUCallback(0), [1.0])


def test_manual_optimization_must_return_the_loss() -> None:
    class Silent(OneParameter):
        def training_step(self, batch: Tensor, batch_idx: int) -> None:
            super().training_step(batch, batch_idx)

    with pytest.raises(ValueError, match="training_step must return its loss"):
        fit(AutoWUCallback(10), [1.0], Silent(1))


def test_no_rewind_where_weights_are_sharded() -> None:
    class Sharding(pl.strategies.SingleDeviceStrategy):
        restore_checkpoint_after_setup = True  # so have FSDP, DeepSpeed and ModelParallel

    losses = v_curve(120)
    with pytest.raises(ValueError, match=r"under Sharding would lack .* give rewind=False"):
        fit(AutoWUCallback(), losses, strategy=Sharding("cpu"))
    lrs = fit(AutoWUCallback(rewind=False), losses, strategy=Sharding("cpu"))
    assert lrs == core_trace(losses, rewind=False)


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
__import__(f"autowu.integrations.{sys.argv[1]}")
"""


@pytest.mark.parametrize("package", ["lightning", "pytorch_lightning"])
def test_what_is_missing_is_named_with_the_command_that_installs_it(package: str) -> None:
    failed = subprocess.run(
        [sys.executable, "-c", WITHOUT, package], check=False, capture_output=True, text=True
    )
    message = f"ImportError: autowu.integrations.{package} needs {package}: {install('lightning')}"
    assert failed.stderr.splitlines()[-1] == message
