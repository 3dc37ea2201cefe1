"""What a run of the Hugging Face Trainer goes on from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import Trainer, TrainerCallback

import autowu
from autowu.integrations.torch.tensors import StateDict
from integrations import examples
from integrations.contract.contract import KilledError, core_lrs, core_trace, v_curve
from integrations.contract.learner import Learner
from integrations.huggingface import LearningRates, Losses, StopAfter, arguments, trainer_for

EXAMPLE = "huggingface_text.py"


def saved_at(step: int, losses: Sequence[float], folder: Path, **changes: Any) -> None:
    """A checkpoint of a run over ``losses`` in ``folder``, which is ended there as by a kill."""
    changes = {"callbacks": [StopAfter(step)], "save_strategy": "steps", "save_steps": step} | changes
    with pytest.raises(KilledError):
        trainer_for(losses, folder, **changes).train()


@pytest.mark.parametrize("length", [{"max_steps": 160}, {"num_train_epochs": 2}, {"max_steps": 90}], ids=str)
@pytest.mark.parametrize("stop", [20, 70])
def test_a_run_goes_on_with_more_or_fewer_updates(length: dict[str, int], stop: int, tmp_path: Path) -> None:
    losses = v_curve(120)
    saved_at(stop, losses, tmp_path)
    trainer, lrs = resumed(losses, tmp_path, None, **length)
    steps = length.get("max_steps", 240)
    seen = np.tile(losses, 2)[:steps]
    assert lrs == core_lrs(autowu.Config(total_steps=120), seen, {stop: ("extend", steps)})[stop:-1]
    assert (trainer.lr_scheduler.total_steps, trainer.lr_scheduler.learning_rate) == (steps, 0.0)


def test_a_run_that_is_longer_already_is_not_made_shorter_than_it_is(tmp_path: Path) -> None:
    saved_at(40, v_curve(60), tmp_path)
    with pytest.raises(ValueError, match=r"total_steps must be .*, of which 40 are done, not 30"):
        trainer_for(v_curve(60), tmp_path, max_steps=30).train(resume_from_checkpoint=True)


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap, step 15 of 30")
def test_a_callback_cools_a_run_down_and_ends_it(tmp_path: Path) -> None:
    """As the page has it; the checkpoint at its end is one of a run that is complete."""

    class Deadline(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, lr_scheduler: Any, **_: Any) -> None:
            if state.global_step == 60:
                lr_scheduler.cooldown(30)
            if lr_scheduler.last_epoch == lr_scheduler.total_steps:
                control.should_training_stop = control.should_save = True

    losses, recorder = v_curve(120), LearningRates()
    trainer = trainer_for(losses, tmp_path, callbacks=[recorder, Deadline()])
    trainer.train()  # warnings are errors
    ends = {60: ("cooldown", 30)}
    assert recorder.lrs == core_lrs(autowu.Config(total_steps=120), losses[:90], ends)[:-1]
    assert trainer.lr_scheduler.learning_rate == 0
    resumed(losses, tmp_path, "the end of a run of 90 updates, .* planned anew, for the 30 updates")


def resumed(
    losses: Sequence[float], folder: Path, match: str | None, **changes: Any
) -> tuple[Any, list[float]]:
    recorder = LearningRates()
    trainer = trainer_for(losses, folder, callbacks=[recorder, *changes.pop("callbacks", ())], **changes)
    with nullcontext() if match is None else pytest.warns(UserWarning, match=match):
        trainer.train(resume_from_checkpoint=True)
    return trainer, recorder.lrs


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_the_updates_that_are_left_are_planned_where_the_checkpoint_has_no_lr(tmp_path: Path) -> None:
    losses = v_curve(180)
    saved_at(60, losses, tmp_path, save_only_model=True)
    why = r"no scheduler.pt to go on .* as with save_only_model. It is planned anew, for the 120 updates"
    trainer, lrs = resumed(losses, tmp_path, why)
    assert lrs == core_trace(losses[60:])
    assert set(trainer.lr_scheduler.get_last_lr()) == {0.0}


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_the_updates_that_are_left_are_planned_where_the_optimizers_state_is_gone(tmp_path: Path) -> None:
    """The Trainer then leaves the scheduler's state alone, too."""
    losses = v_curve(180)
    saved_at(60, losses, tmp_path)
    (tmp_path / "checkpoint-60" / "optimizer.pt").unlink()
    why = r"does not load scheduler.pt. It is planned anew, for the 120 updates that are left"
    trainer, lrs = resumed(losses, tmp_path, why)
    assert lrs == core_trace(losses[60:])
    assert set(trainer.lr_scheduler.get_last_lr()) == {0.0}


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_what_was_planned_anew_goes_on_from_its_own_checkpoints(tmp_path: Path) -> None:
    losses = v_curve(180)
    saved_at(60, losses, tmp_path, save_only_model=True)
    again = {"callbacks": [StopAfter(120)], "save_strategy": "steps", "save_steps": 60}
    with pytest.raises(KilledError):
        resumed(losses, tmp_path, "planned anew, for the 120 updates", **again)
    _, lrs = resumed(losses, tmp_path, None)
    assert lrs == core_trace(losses[60:])[60:]
    # And with another length: 240 updates in all, 180 of them in this run.
    _, lrs = resumed(losses, tmp_path, None, max_steps=240)
    seen = np.tile(losses, 2)[60:240]
    assert lrs == core_lrs(autowu.Config(total_steps=120), seen, {60: ("extend", 180)})[60:-1]


def test_a_run_that_is_complete_can_be_given_more_epochs(tmp_path: Path) -> None:
    losses = v_curve(90)
    trainer_for(losses, tmp_path, save_strategy="epoch", autowu={"rewind": False}).train()
    why = r"the end of a run of 90 updates, and its LR has fallen. It is planned anew, for the 90 updates"
    settings = {"rewind": False}
    trainer, lrs = resumed(losses, tmp_path, why, num_train_epochs=2, autowu=settings)
    assert lrs == core_trace(losses, **settings)
    assert next(iter(trainer.optimizer.state.values()))["step"] == 180  # the optimizer's state goes on


def test_a_checkpoint_from_before_autowu_is_taken_over(tmp_path: Path) -> None:
    losses = v_curve(180)
    args = arguments(tmp_path, save_strategy="steps", save_steps=60, learning_rate=0.3)
    before = Trainer(Learner(), args, train_dataset=Losses(losses, 1), callbacks=[StopAfter(60)])
    with pytest.raises(KilledError):
        before.train()
    why = r"scheduler.pt in the checkpoint is of another scheduler, .* anew, for the 120 updates"
    settings = {"rewind": False}
    trainer, lrs = resumed(losses, tmp_path, why, autowu=settings)
    assert lrs == core_trace(losses[60:], **settings)
    assert next(iter(trainer.optimizer.state.values()))["step"] == 180


def test_a_scheduler_of_the_users_own_needs_the_right_length(tmp_path: Path) -> None:
    losses = v_curve(180)
    saved_at(60, losses, tmp_path, save_only_model=True)
    trainer = trainer_for(losses, tmp_path)
    optimizer = torch.optim.AdamW(trainer.model.parameters())
    trainer.optimizer, trainer.lr_scheduler = optimizer, autowu.AutoWU(optimizer, 180)
    with pytest.raises(ValueError, match="as with save_only_model: give AutoWU total_steps=120, the updates"):
        trainer.train(resume_from_checkpoint=True)


@pytest.mark.full
def test_the_example_goes_on_after_kill_9(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    printed = examples.run(EXAMPLE, "--out", whole, folder=tmp_path)
    for updates, phase in ((50, "warmup"), (300, "decay")):
        broken = tmp_path / f"killed-after-{updates}"
        checkpoint = broken / f"checkpoint-{updates}"
        process = examples.start(EXAMPLE, "--out", broken, folder=tmp_path)
        examples.kill_when((checkpoint / "trainer_state.json").is_file, process)
        assert phase_of(checkpoint) == phase
        again = examples.run(EXAMPLE, "--out", broken, "--resume", folder=tmp_path)
        assert again.splitlines()[-1] == printed.splitlines()[-1]  # the loss on unseen text
        assert trace(broken) == trace(whole)
        last = "checkpoint-400/model.safetensors"
        assert (broken / last).read_bytes() == (whole / last).read_bytes()


def phase_of(checkpoint: Path) -> str:
    saved = torch.load(checkpoint / "scheduler.pt", weights_only=True)
    return "decay" if StateDict(saved)["controller"]["phase"]["kind"] in ("Trial", "Decay") else "warmup"


def trace(folder: Path) -> list[tuple[int, float, float]]:
    """Step, LR and loss of each line of the log, which the Trainer keeps in its checkpoints."""
    state = json.loads((folder / "checkpoint-400" / "trainer_state.json").read_text())
    lines = [(entry["step"], entry["learning_rate"], entry["loss"]) for entry in state["log_history"]]
    assert [step for step, _, _ in lines] == list(range(10, 401, 10))
    return lines
