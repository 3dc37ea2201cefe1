"""What is particular to Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning.pytorch")

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from integrations.contract.contract import core_trace, v_curve
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

PAPER: dict[str, Any] = {"preset": "paper", "steps_per_epoch": 6}  # the one that minds the losses' scale


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


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite", "ignore:.training_step. returned .None.")
@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_of_the_batches_of_an_update_those_that_are_skipped_do_not_count() -> None:
    skipped = {1, 7, *range(20, 24)}  # within an update, at its end, and a whole one

    class Skipping(OneParameter):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor | None:
            return None if batch_idx in skipped else super().training_step(batch, batch_idx)

    losses = np.float32(v_curve(240)).astype(float)
    kept = np.where(np.isin(np.arange(240), list(skipped)), np.nan, losses).reshape(-1, 4)
    expected = [np.nan if np.isnan(batches).all() else np.nanmean(batches) for batches in kept]
    lrs = fit(AutoWUCallback(), losses, Skipping(), accumulate_grad_batches=4)
    assert np.allclose(lrs, core_trace(expected), rtol=1e-6)


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


def test_an_average_of_weights_begins_anew_where_they_go_back() -> None:
    averages = pytest.importorskip("lightning.pytorch.callbacks.weight_averaging")

    class Averaging(averages.WeightAveraging):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            super().on_train_batch_end(trainer, pl_module, *rest)
            counts.append(int(self._average_model.n_averaged))
            if counts[-1] == 1:
                assert_equal(self._average_model.module.state_dict(), pl_module.state_dict())

    counts: list[int] = []
    callback = AutoWUCallback()
    fit(callback, v_curve(120), WithBatchNorm(), callbacks=[Averaging()])
    switch = callback.scheduler.switch
    assert switch.rewound_to is not None
    assert counts[switch.step - 2 : switch.step + 1] == [switch.step - 1, 1, 2]
    assert counts.count(1) == 1 + callback.scheduler.rewinds


# --- several optimizers -------------------------------------------------------------------------------


class TwoWeights(pl.LightningModule):
    """Each has an optimizer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.w = nn.Parameter(torch.ones(2))
        self.v = nn.Parameter(torch.ones(2))


def test_several_optimizers_have_a_scheduler_each_by_manual_optimization(tmp_path: Path) -> None:
    import autowu

    class Two(TwoWeights):
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

    class Pair(TwoWeights):
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
