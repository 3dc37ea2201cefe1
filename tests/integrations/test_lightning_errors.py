"""What Lightning cannot be used for, or with, and what is said then."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autowu.extras import install

pytest.importorskip("lightning.pytorch")

import lightning.pytorch as pl
import torch
from torch import Tensor

from autowu.integrations._lightning_several import CEASED
from integrations.contract.contract import core_trace, v_curve
from integrations.lightning import QUIET, Batches
from integrations.lightning_runs import LIGHTNINGS, AutoWUCallback, OneParameter, fit

pytestmark = LIGHTNINGS


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

    with pytest.raises(ValueError, match=r"training_step must return its loss, .* \(A GAN has no loss"):
        fit(AutoWUCallback(10), [1.0], Silent(1))


def test_a_batch_that_makes_no_update_by_hand_needs_no_loss() -> None:
    class Skipping(OneParameter):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor | None:
            return None if batch_idx in (7, 40) else super().training_step(batch, batch_idx)

    losses = v_curve(120)
    lrs = fit(AutoWUCallback(120), np.insert(losses, [7, 39], np.nan), Skipping(1))
    assert lrs == core_trace(losses)


def test_an_optimizer_that_is_stepped_past_lightning_is_refused_where_it_is() -> None:
    class Past(OneParameter):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            loss = batch.mean() + 0 * self.w
            self.manual_backward(loss)
            self.optimizers(use_pl_optimizer=batch_idx < 3).step()
            return loss

    callback = AutoWUCallback(120)
    with pytest.raises(ValueError, match=r"the step\(\) of SGD past Lightning, .* use_pl_optimizer=False"):
        fit(callback, v_curve(60), Past(1))
    assert callback.scheduler.last_epoch == 3
    callback.scheduler.optimizers[0].step()  # after fit it is nobody's matter


class Unequal(OneParameter):
    """Two optimizers, of which the first is stepped at some batches only."""

    def __init__(self, steps: Callable[[int], bool], *, alone: bool = False) -> None:
        super().__init__(1)
        self.v, self.steps, self.alone = torch.nn.Parameter(torch.ones(())), steps, alone

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([self.w], 0.1), torch.optim.LBFGS([self.v], 0.1)]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        first, second = self.optimizers()
        if self.alone:  # global_step is to count one of them
            second._on_before_step = lambda: self.trainer.profiler.start("optimizer_step")
            second._on_after_step = lambda: self.trainer.profiler.stop("optimizer_step")

        def closure() -> Tensor:
            loss = batch.mean() + 0 * self.w + self.v - self.v.detach()
            self.manual_backward(loss)
            return loss

        second.step(closure)
        if self.steps(batch_idx):
            first.step()
        return batch.mean()


@pytest.mark.parametrize(("alone", "every"), [(False, 1), (True, 1), (False, 3)])
def test_of_several_optimizers_the_one_that_makes_the_fewest_updates_counts(alone: bool, every: int) -> None:
    losses, callback = np.repeat(v_curve(60), every), AutoWUCallback(60, rewind=False)
    model = Unequal(lambda batch: batch % every == every - 1, alone=alone)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(callback, losses, model)
    assert callback.scheduler.last_epoch == 60
    assert callback.scheduler.learning_rate == 0
    assert not any("has made no update" in str(each.message) for each in caught)  # as a critic does


def test_an_optimizer_that_makes_no_more_updates_is_told_of_once() -> None:
    callback, losses = AutoWUCallback(600, rewind=False), np.ones(30 + 2 * CEASED)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(callback, losses, Unequal(lambda batch: batch < 30))
    texts = [text for text in (str(each.message) for each in caught) if "has made no update" in text]
    assert len(texts) == 1
    assert f"no update in the last {CEASED} of another (SGD 30, LBFGS {30 + CEASED} updates)" in texts[0]
    assert callback.scheduler.last_epoch == 30


def test_optimizers_that_come_in_the_place_of_those_of_the_start_are_told_of_once() -> None:
    class Replacing(OneParameter):
        def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
            if batch_idx == 3:
                self.trainer.optimizers = [torch.optim.SGD(self.parameters(), lr=0.1)]

    with pytest.warns(UserWarning, match="the trainer has other optimizers") as seen:
        fit(AutoWUCallback(100), v_curve(100).tolist(), Replacing())
    texts = [str(each.message) for each in seen if "the trainer has other optimizers" in str(each.message)]
    assert len(texts) == 1
    assert "(SGD): their LR is not set" in texts[0]


def test_no_rewind_where_weights_are_sharded() -> None:
    class Sharding(pl.strategies.SingleDeviceStrategy):
        restore_checkpoint_after_setup = True  # so have FSDP, DeepSpeed and ModelParallel

    losses = v_curve(120)
    with pytest.raises(ValueError, match=r"under Sharding would lack .* give rewind=False"):
        fit(AutoWUCallback(), losses, strategy=Sharding("cpu"))
    lrs = fit(AutoWUCallback(rewind=False), losses, strategy=Sharding("cpu"))
    assert lrs == core_trace(losses, rewind=False)


@pytest.mark.parametrize("name", ["model", "optimizer"])
def test_what_lightning_gives_is_refused_where_the_callback_is_made(name: str) -> None:
    with pytest.raises(TypeError, match=rf"AutoWUCallback must be without '{name}', which is the Trainer's"):
        AutoWUCallback(**{name: None})


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
