"""How many updates Lightning is planned to make, wherever it is, and what is told of runs that make fewer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning.pytorch")

import lightning.pytorch as pl
import torch

from integrations.contract.contract import KilledError, v_curve
from integrations.lightning import QUIET, Batches, lightnings_warnings, module_class, packages, recorder_class

_, AutoWUCallback = packages("lightning.pytorch")
OneParameter = module_class(pl)
Recorder = recorder_class(pl)


@pytest.fixture(autouse=True)
def _lightnings_warnings() -> Iterator[None]:
    with lightnings_warnings():
        yield


def fit(callback: Any, losses: Any, callbacks: list[Any]) -> None:
    pl.Trainer(**QUIET, max_epochs=1, callbacks=[callback, *callbacks]).fit(OneParameter(), Batches(losses))


def batches(number: int) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.ones(number))


def planned_and_made(callback: Any, model: Any = None, **settings: Any) -> tuple[int, int]:
    """Of a trainer with ``settings``, over seven batches an epoch."""
    ckpt_path, callbacks = settings.pop("ckpt_path", None), settings.pop("callbacks", [])
    trainer = pl.Trainer(**QUIET | {"max_epochs": 3} | settings, callbacks=[callback, *callbacks])
    with suppress(KilledError), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "AutoWU: warm-up ended|You're resuming from a checkpoint|.*sanity")
        trainer.fit(model or OneParameter(), batches(7), ckpt_path=ckpt_path)
    scheduler = callback.scheduler
    return scheduler.total_steps, scheduler.last_epoch


@pytest.mark.parametrize(
    ("settings", "updates"),
    [
        ({"limit_train_batches": 5}, 15),
        ({"max_steps": 11}, 11),
        ({"accumulate_grad_batches": 3, "max_steps": 8}, 8),
        ({"max_epochs": -1, "max_steps": 11}, 11),
        ({"overfit_batches": 2}, 6),
    ],
    ids=str,
)
def test_the_trainers_limits_are_planned_for(settings: dict[str, Any], updates: int) -> None:
    assert planned_and_made(AutoWUCallback(), **settings) == (updates, updates)


@pytest.mark.parametrize(("scheduling", "updates"), [({1: 3}, 7 + 3 + 3), ({0: 2, 2: 7}, 4 + 4 + 1)])
def test_accumulation_may_change_from_epoch_to_epoch(scheduling: dict[int, int], updates: int) -> None:
    changing = pl.callbacks.GradientAccumulationScheduler(scheduling)
    assert planned_and_made(AutoWUCallback(), callbacks=[changing]) == (updates, updates)


def test_a_second_fit_is_planned_for_the_updates_that_are_left() -> None:
    callback = AutoWUCallback()
    trainer = pl.Trainer(**QUIET, max_epochs=3, callbacks=[callback])
    model = OneParameter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "AutoWU: warm-up ended")
        trainer.fit(model, batches(7))
        trainer.fit_loop.max_epochs = 5
        trainer.fit(model, batches(7))
    assert (callback.scheduler.total_steps, callback.scheduler.last_epoch) == (14, 14)
    assert callback.scheduler.get_last_lr() == [0.0]


def saved_before(updates: int, path: Path, **settings: Any) -> None:
    """A checkpoint of a run without AutoWU."""
    trainer = pl.Trainer(**QUIET, max_epochs=3, callbacks=[Recorder(updates, path)], **settings)
    with suppress(KilledError):
        trainer.fit(OneParameter(), batches(7))


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("updates", [2, 3, 5])  # within an epoch and, with accumulation, at its end
def test_what_is_left_after_a_checkpoint_of_before_is_planned(
    updates: int, accumulation: int, tmp_path: Path
) -> None:
    path, settings = tmp_path / "saved.ckpt", {"accumulate_grad_batches": accumulation}
    saved_before(updates, path, **settings)
    left = 3 * -(-7 // accumulation) - updates
    assert planned_and_made(AutoWUCallback(), ckpt_path=path, **settings) == (left, left)


def test_a_run_planned_in_its_middle_goes_on_from_its_own_checkpoints(tmp_path: Path) -> None:
    before, within = tmp_path / "before.ckpt", tmp_path / "within.ckpt"
    saved_before(4, before)
    first = planned_and_made(AutoWUCallback(), ckpt_path=before, callbacks=[Recorder(9, within)])
    assert first == (17, 5)
    assert planned_and_made(AutoWUCallback(), ckpt_path=within) == (17, 17)


@pytest.mark.parametrize(("limits", "updates"), [
    ({"max_epochs": 5}, 35), ({"max_epochs": 2}, 14), ({"max_epochs": -1, "max_steps": 30}, 30),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*`max_epochs` was not set")
def test_a_run_goes_on_with_more_or_fewer_epochs_or_steps(
    limits: dict[str, int], updates: int, tmp_path: Path
) -> None:
    path, callback = tmp_path / "saved.ckpt", AutoWUCallback()
    assert planned_and_made(AutoWUCallback(), callbacks=[Recorder(9, path)]) == (21, 9)
    assert planned_and_made(callback, ckpt_path=path, **limits) == (updates, updates)
    assert callback.scheduler.learning_rate == 0


@pytest.mark.parametrize("manual", [False, True])
def test_a_run_without_limits_is_open_and_ends_by_a_cooldown(manual: bool, tmp_path: Path) -> None:
    """With automatic optimization it is then resumed with a limit, and so has an end."""

    class Deadline(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 30:
                callback.scheduler.cooldown(10)
            trainer.should_stop = callback.scheduler.last_epoch == callback.scheduler.total_steps

    path, callback = tmp_path / "saved.ckpt", AutoWUCallback(warmup_limit=20)
    made = planned_and_made(
        callback, OneParameter(1 if manual else None), callbacks=[Recorder(25, path)], max_epochs=-1
    )
    assert (made, callback.scheduler.phase) == ((None, 25), "stable")
    callback = AutoWUCallback(warmup_limit=20)
    model = OneParameter(1 if manual else None)
    made = planned_and_made(callback, model, callbacks=[Deadline()], max_epochs=-1, ckpt_path=path)
    assert (made, callback.scheduler.learning_rate) == ((40, 40), 0)
    if not manual:
        limited = planned_and_made(AutoWUCallback(warmup_limit=20), ckpt_path=path, max_epochs=5)
        assert limited == (35, 35)


def test_a_run_that_is_complete_can_be_given_more_epochs(tmp_path: Path) -> None:
    path = tmp_path / "saved.ckpt"
    assert planned_and_made(AutoWUCallback(), callbacks=[SaveAtTheEnd(path)]) == (21, 21)
    assert planned_and_made(AutoWUCallback(), ckpt_path=path, max_epochs=5) == (14, 14)


class SaveAtTheEnd(pl.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("stop", [70, 115])
def test_a_run_that_is_ended_while_its_lr_is_high_says_so_once(stop: int) -> None:
    class Enough(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = trainer.global_step == stop

    callback = AutoWUCallback()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(callback, v_curve(120), callbacks=[Enough()])
    fallen = callback.scheduler.get_last_lr()[0] <= 0.1 * callback.scheduler.switch.peak_lr
    said = [str(each.message) for each in caught if "the run ended after" in str(each.message)]
    assert fallen == (stop == 115)
    assert len(said) == (stop == 70)


def test_a_rehearsal_ends_early_in_silence() -> None:
    assert planned_and_made(AutoWUCallback(12_000), fast_dev_run=2) == (12_000, 2)


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_callbacks_that_end_a_run_or_set_an_lr_are_told() -> None:
    with pytest.warns(UserWarning, match="AutoWU: EarlyStopping may end the run while the LR is still high"):
        fit(
            AutoWUCallback(),
            [1.0],
            callbacks=[pl.callbacks.EarlyStopping("loss", check_on_train_epoch_end=False)],
        )
    with pytest.raises(ValueError, match="StochasticWeightAveraging sets an LR of its own"):
        fit(AutoWUCallback(), [1.0], callbacks=[pl.callbacks.StochasticWeightAveraging(0.1, 1)])
