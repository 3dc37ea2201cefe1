"""What is particular to the Hugging Face Trainer."""

from __future__ import annotations

import importlib
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import EarlyStoppingCallback, LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback

import autowu
from autowu.extras import install
from autowu.integrations import huggingface
from autowu.integrations.torch.tensors import StateDict
from integrations import examples
from integrations.contract.contract import KilledError, core_lrs, core_trace, v_curve
from integrations.contract.learner import FIRST, Learner, assert_equal, assert_rewound, everything
from integrations.huggingface import InOrder, LearningRates, Losses, StopAfter, arguments

EXAMPLE = "huggingface_text.py"
PAPER = {"preset": "paper", "steps_per_epoch": 3}


def trainer_for(
    losses: Sequence[float],
    folder: Path,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    autowu: dict[str, Any] | None = None,
    **changes: Any,
) -> Any:
    data = Losses(losses, 1)
    args = arguments(folder, **changes)
    return InOrder(Learner(), args, train_dataset=data, callbacks=list(callbacks), autowu=autowu)


# --- updates and their losses -------------------------------------------------------------------------


def test_an_epochs_last_update_may_be_of_fewer_batches(tmp_path: Path) -> None:
    # Ten batches an epoch, four in an update: 4, 4 and 2. The Trainer divides by 4, 4 and 2 as well.
    seen = np.round(v_curve(3) * 256) / 256
    recorder = LearningRates()
    losses = np.repeat(seen, [4, 4, 2])
    trainer = trainer_for(
        losses,
        tmp_path,
        callbacks=[recorder],
        autowu=PAPER,
        gradient_accumulation_steps=4,
        num_train_epochs=12,
    )
    trainer.train()
    assert trainer.lr_scheduler.total_steps == 36
    assert recorder.lrs == core_trace(np.tile(seen, 12), **PAPER)


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
@pytest.mark.parametrize("logging_nan_inf_filter", [True, False])
def test_the_filter_for_nan_is_one_of_logs_only(logging_nan_inf_filter: bool, tmp_path: Path) -> None:
    losses, recorder = v_curve(120), LearningRates()
    losses[3:9] = np.nan
    trainer = trainer_for(
        losses, tmp_path, callbacks=[recorder], logging_nan_inf_filter=logging_nan_inf_filter
    )
    trainer.train()
    assert recorder.lrs == core_trace(losses)


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_the_loss_is_the_one_of_the_logs_with_tokens_weighted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed: list[float] = []
    monkeypatch.setattr(autowu.AutoWU, "observe", spy(autowu.AutoWU.observe, observed))
    torch.manual_seed(0)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, **size))
    ids = torch.randint(32, (12, 16))
    # Batches of 15, 14, … tokens that count.
    data = [
        {"input_ids": row, "labels": row.where(torch.arange(16) > count, -100)}
        for count, row in enumerate(ids)
    ]
    args = arguments(tmp_path, gradient_accumulation_steps=3, logging_strategy="steps", logging_steps=1)
    trainer = huggingface.AutoWUTrainer(model, args, train_dataset=data)
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(observed) == 4
    assert observed == pytest.approx(logged, abs=1e-4)


def spy(observe: Any, seen: list[float]) -> Any:
    def wrapped(self: autowu.AutoWU, loss: Tensor) -> None:
        seen.append(loss.item())
        observe(self, loss)

    return wrapped


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused"])
def test_an_update_that_mixed_precision_skips_has_no_loss(optim: str, tmp_path: Path) -> None:
    class Overflowing(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
            if state.global_step in skipped:
                next(model.parameters()).grad.fill_(torch.inf)

    losses, skipped, recorder, weights = v_curve(120), [4, 5, 50], LearningRates(), Weights()
    losses[5] = 1e30
    trainer = trainer_for(
        losses,
        tmp_path,
        callbacks=[recorder, weights, Overflowing()],
        autowu=PAPER,  # which takes notice of a spike
        optim=optim,
        max_grad_norm=0.0,
    )
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    trainer.train()
    assert all(torch.equal(weights.after[step + 1][FIRST], weights.after[step][FIRST]) for step in skipped)
    if optim == "adamw_torch":
        assert recorder.lrs == core_trace([*np.delete(losses, skipped), 0, 0, 0], **PAPER)[:117]
    else:
        # A fused optimizer skips within its step, which nobody sees: for the Trainer it is an update.
        assert recorder.lrs == core_trace(losses, **PAPER)


def test_train_may_be_called_again(tmp_path: Path) -> None:
    losses = v_curve(60)
    trainer = trainer_for(losses, tmp_path)
    for _ in range(2):
        trainer.add_callback(recorder := LearningRates())
        trainer.train()
        trainer.remove_callback(recorder)
        assert recorder.lrs == core_trace(losses)


# --- rewind -------------------------------------------------------------------------------------------


class Weights(TrainerCallback):
    """Knows all that training changes, after each update."""

    def __init__(self) -> None:
        self.after: dict[int, dict[str, Tensor]] = {}

    def on_step_end(
        self, args: Any, state: Any, control: Any, *, model: Any, optimizer: Any, **_: Any
    ) -> None:
        self.after[state.global_step] = everything(model, optimizer)


def test_weights_buffers_and_optimizer_state_go_back_also_in_a_resumed_run(tmp_path: Path) -> None:
    losses, whole = v_curve(120), Weights()
    trainer = trainer_for(losses, tmp_path, callbacks=[whole])
    trainer.train()
    switch = trainer.lr_scheduler.switch
    assert_rewound(whole.after, switch.step, to=switch.rewound_to)

    halfway = (switch.rewound_to + switch.step) // 2
    saving = {"save_strategy": "steps", "save_steps": halfway}
    with pytest.raises(KilledError):
        trainer_for(losses, tmp_path, callbacks=[StopAfter(halfway)], **saving).train()
    resumed = Weights()
    trainer = trainer_for(losses, tmp_path, callbacks=[resumed])
    trainer.train(resume_from_checkpoint=True)
    assert trainer.lr_scheduler.switch == switch
    assert list(resumed.after) == list(range(halfway + 1, 121))
    for step, found in resumed.after.items():
        assert_equal(found, whole.after[step])


# --- checkpoints --------------------------------------------------------------------------------------


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


def test_the_updates_that_are_left_are_planned_where_the_checkpoint_has_no_lr(tmp_path: Path) -> None:
    losses = v_curve(180)
    saved_at(60, losses, tmp_path, save_only_model=True)
    why = r"no scheduler.pt to go on .* as with save_only_model. It is planned anew, for the 120 updates"
    trainer, lrs = resumed(losses, tmp_path, why)
    assert lrs == core_trace(losses[60:])
    assert set(trainer.lr_scheduler.get_last_lr()) == {0.0}


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


# --- the length of the run ----------------------------------------------------------------------------


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


def test_a_stream_without_a_length_is_planned_by_max_steps(tmp_path: Path) -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            return ({"loss": value} for value in torch.tensor(losses, dtype=torch.float32))

    losses, recorder = v_curve(120), LearningRates()
    args = arguments(tmp_path, max_steps=120)
    trainer = InOrder(Learner(), args, train_dataset=Stream(), callbacks=[recorder])
    trainer.train()
    assert recorder.lrs == core_trace(losses)


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


# --- errors -------------------------------------------------------------------------------------------


def test_mistakes_are_named_before_the_first_update(tmp_path: Path) -> None:
    losses = v_curve(6)
    with pytest.raises(TypeError, match="no setting 'sed'; did you mean 'seed'"):
        trainer_for(losses, tmp_path, autowu={"sed": 1}).train()
    with pytest.raises(ValueError, match="steps_per_epoch is missing"):
        trainer_for(losses, tmp_path, autowu={"preset": "paper"}).train()
    trainer = trainer_for(losses, tmp_path)
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
    trainer.optimizer, trainer.lr_scheduler = optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer)
    with pytest.raises(TypeError, match="the Trainer's scheduler must be AutoWU, not ConstantLR"):
        trainer.train()


def test_hosts_that_step_or_shard_by_themselves(tmp_path: Path) -> None:
    trainer = trainer_for(v_curve(6), tmp_path)
    trainer.create_optimizer()
    trainer.is_deepspeed_enabled = True
    with pytest.raises(ValueError, match="cannot run under DeepSpeed"):
        trainer.create_scheduler(6)
    trainer.is_deepspeed_enabled, trainer.is_fsdp_enabled = False, True
    with pytest.raises(ValueError, match="under version 1 of FSDP"):
        trainer.create_scheduler(6)


@pytest.mark.parametrize("package", ["transformers", "torch"])
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, huggingface.__name__)
    with pytest.raises(ImportError, match=re.escape(f"needs {package}: {install('huggingface')}")):
        importlib.import_module(huggingface.__name__)
