"""What a run of Lightning goes on from."""

from __future__ import annotations

import copy
import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autowu.integrations.torch.tensors import StateDict

pytest.importorskip("lightning.pytorch")

import lightning.pytorch as pl
import torch
from torch import Tensor

from integrations import examples
from integrations.contract.contract import KilledError, core_trace, v_curve
from integrations.lightning import QUIET, Batches
from integrations.lightning_runs import (
    LIGHTNINGS,
    AutoWUCallback,
    OneParameter,
    Recorder,
    Weights,
    WithBatchNorm,
    fit,
)

pytestmark = LIGHTNINGS


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


class Both(pl.LightningModule):
    """Two optimizers, which make an update each in each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weights = torch.nn.ParameterList([torch.ones(2), torch.ones(2)])

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([weight], 0.1) for weight in self.weights]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = batch.mean() + 0 * sum(weight.sum() for weight in self.weights)
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
        return loss


@pytest.mark.parametrize(("model", "optimizers"), [(OneParameter, 1), (Both, 2)])
def test_a_callback_that_saves_before_autowu_leaves_a_loss_out_and_says_so_once(
    model: Any, optimizers: int, tmp_path: Path
) -> None:
    path, losses = tmp_path / "saved.ckpt", v_curve(120)
    before, settings = Recorder(17 * optimizers, path), {"total_steps": 120}
    with pytest.warns(UserWarning, match="List AutoWUCallback before the callback that saves") as seen:
        fit(before, losses, model(), callbacks=[AutoWUCallback(**settings)])
    assert len([each for each in seen if f"global_step={17 * optimizers} is saved" in str(each.message)]) == 1
    losses[16] = np.nan
    with pytest.warns(UserWarning, match="a loss was not finite"):
        after = fit(AutoWUCallback(**settings), losses, model(), ckpt_path=path)
    assert [*before.lrs, *after][::optimizers] == core_trace(losses)


def test_a_callback_can_be_pickled_and_copied_while_optimizers_are_stepped_by_hand() -> None:
    class Copying(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 20:
                copies.append(copy.deepcopy(callback))
                copies.append(pickle.loads(pickle.dumps(callback)))

    copies, callback, losses = [], AutoWUCallback(120), v_curve(120)
    lrs = fit(callback, losses, Both(), callbacks=[Copying()])
    assert lrs[::2] == core_trace(losses)
    assert [each.scheduler.last_epoch for each in copies] == [10, 10]


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


@pytest.mark.parametrize("trained", [False, True])
def test_a_run_that_is_ended_while_its_data_are_set_up_leaves_what_it_was_to_go_on_with(
    trained: bool, tmp_path: Path
) -> None:
    """As by the signal of a cluster that takes its machine back, on which a checkpoint is saved."""

    class Lost(pl.Callback):
        def on_exception(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.save_checkpoint(after)

    def data() -> Any:
        raise KilledError

    losses, before, after = v_curve(60), tmp_path / "before.ckpt", tmp_path / "after.ckpt"
    fit(AutoWUCallback(), losses, WithBatchNorm(), callbacks=[Weights(20, before)])
    callback, model = AutoWUCallback(), WithBatchNorm()
    if trained:
        fit(callback, losses)
    model.train_dataloader = data
    trainer = pl.Trainer(**QUIET | {"max_epochs": 1}, callbacks=[callback, Lost()])
    with pytest.raises(KilledError):
        trainer.fit(model, ckpt_path=before)
    # The place in the data is lost, since there were none; the first LR does not hang on it.
    lrs = fit(AutoWUCallback(), losses, WithBatchNorm(), ckpt_path=after)
    assert (lrs[0], len(lrs)) == (core_trace(losses)[20], 40)


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
