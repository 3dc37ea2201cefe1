"""How long the Hugging Face Trainer trains, and what is told of a run that ends earlier."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import EarlyStoppingCallback, TrainerCallback

from integrations.contract.contract import core_trace, v_curve
from integrations.contract.learner import Learner
from integrations.huggingface import InOrder, LearningRates, Losses, arguments, trainer_for


@pytest.mark.parametrize("stop", [100, 171])
def test_a_run_that_is_ended_while_its_lr_is_high_says_so_once(stop: int, tmp_path: Path) -> None:
    class Enough(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = state.global_step == stop

    trainer = trainer_for(v_curve(180), tmp_path, callbacks=[Enough()])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train()
    fallen = trainer.lr_scheduler.get_last_lr()[0] <= 0.1 * trainer.lr_scheduler.switch.peak_lr
    said = [str(each.message) for each in caught if "the run ended after" in str(each.message)]
    assert fallen == (stop == 171)
    assert len(said) == (stop == 100)


def test_early_stopping_is_warned_of(tmp_path: Path) -> None:
    class Patient(EarlyStoppingCallback):
        pass

    trainer = trainer_for(v_curve(6), tmp_path)
    trainer.add_callback(Patient())
    trainer.create_optimizer()
    with pytest.warns(UserWarning, match="AutoWU: Patient may end the run while the LR is still high"):
        trainer.create_scheduler(6)


def test_a_trainer_by_rewards_is_warned_of(tmp_path: Path) -> None:
    class GRPOTrainer(InOrder):
        """By its name that of TRL."""

    class Mine(GRPOTrainer):
        pass

    trainer = Mine(Learner(), arguments(tmp_path, max_steps=6), train_dataset=Losses(v_curve(6), 1))
    trainer.create_optimizer()
    with pytest.warns(UserWarning, match="AutoWU: GRPOTrainer trains by rewards, of which its loss is no"):
        trainer.create_scheduler(6)


def test_a_stream_without_a_length_is_planned_by_max_steps(tmp_path: Path) -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            return ({"loss": value} for value in torch.tensor(losses, dtype=torch.float32))

    losses, recorder = v_curve(120), LearningRates()
    args = arguments(tmp_path, max_steps=120)
    trainer = InOrder(Learner(), args, train_dataset=Stream(), callbacks=[recorder])
    trainer.train()
    assert recorder.lrs == core_trace(losses)


def test_a_smaller_batch_after_running_out_of_memory_begins_a_schedule_of_its_own(tmp_path: Path) -> None:
    class Small(InOrder):
        steps = 0

        def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
            self.steps += 1
            if self._train_batch_size > 1 and self.steps > 5:
                raise RuntimeError("CUDA out of memory. Tried to allocate")
            return super().training_step(*args, **kwargs)

    losses = v_curve(60)
    args = arguments(tmp_path, per_device_train_batch_size=2, auto_find_batch_size=True)
    trainer = Small(Learner(), args, train_dataset=Losses(losses, 1))
    lrs: list[float] = []
    trainer.create_optimizer().register_step_pre_hook(lambda each, *_: lrs.append(each.param_groups[0]["lr"]))
    trainer.train()
    assert trainer.lr_scheduler.total_steps == trainer.state.global_step == 60
    assert lrs[5:] == core_trace(losses)


def test_each_trial_of_a_search_has_a_schedule_of_its_own_length(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    recorder, epochs = LearningRates(), iter([2, 3, 2])
    losses = v_curve(60)
    trainer = InOrder(
        model_init=Learner,
        args=arguments(tmp_path),
        train_dataset=Losses(losses, 1),
        eval_dataset=Losses([1.0], 1),
        callbacks=[recorder],
    )
    trainer.hyperparameter_search(
        backend="optuna",
        n_trials=3,
        compute_objective=len,
        hp_space=lambda trial: {"num_train_epochs": trial.suggest_int("epochs", at := next(epochs), at)},
    )
    two, three = (core_trace(np.tile(losses, number)) for number in (2, 3))
    assert recorder.lrs == [*two, *three, *two]
