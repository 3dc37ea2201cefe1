"""What is particular to the Hugging Face Trainer."""

from __future__ import annotations

import importlib
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from torch import Tensor
from transformers import DefaultFlowCallback, LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback

import autowu
from autowu.extras import install
from autowu.integrations import huggingface
from integrations.contract.contract import KilledError, core_trace, v_curve
from integrations.contract.learner import FIRST, Learner, assert_equal, assert_rewound, everything
from integrations.huggingface import LearningRates, StopAfter, arguments, trainer_for

PAPER = {"preset": "paper", "steps_per_epoch": 3}


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


class OwnStep(huggingface.AutoWUTrainer):
    """Written for the Trainer of before: it does without any other training_step."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        loss = self.compute_loss(model, self._prepare_inputs(inputs)) / self.args.gradient_accumulation_steps
        self.accelerator.backward(loss)
        return loss.detach()


class Twice(huggingface.AutoWUTrainer):
    """Two passes for each batch, as sharpness-aware minimization makes."""

    def training_step(self, *arguments: Any) -> Tensor:
        super().training_step(*arguments)
        return super().training_step(*arguments)


class OneBuffer(huggingface.AutoWUTrainer):
    """Each micro-batch writes its loss into the same memory, as a CUDA graph does."""

    def training_step(self, *arguments: Any) -> Tensor:
        loss = super().training_step(*arguments)
        self.buffer = getattr(self, "buffer", torch.zeros_like(loss))
        return self.buffer.copy_(loss)


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@pytest.mark.parametrize("kind", [OwnStep, Twice, OneBuffer])
def test_a_training_step_of_a_subclass_gives_the_loss_by_what_it_returns(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed: list[float] = []
    monkeypatch.setattr(autowu.AutoWU, "observe", spy(autowu.AutoWU.observe, observed))
    args = arguments(tmp_path, gradient_accumulation_steps=2)
    trainer = kind(Learner(), args, train_dataset=[{"loss": torch.tensor(2.0)}, {"loss": torch.tensor(4.0)}])
    trainer.train()
    assert observed == [3.0]


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@pytest.mark.parametrize("around", ["the class's", "the instance's"])
def test_a_training_step_that_the_trainer_is_given_gives_the_loss_once(
    around: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed: list[float] = []
    monkeypatch.setattr(autowu.AutoWU, "observe", spy(autowu.AutoWU.observe, observed))
    trainer = trainer_for([2.0, 4.0], tmp_path, gradient_accumulation_steps=2)
    step = trainer.training_step if around == "the instance's" else partial(Trainer.training_step, trainer)
    trainer.training_step = partial(lambda own, *arguments: own(*arguments), step)
    trainer.train()
    assert observed == [3.0]


def test_a_training_step_that_is_replaced_on_the_way_is_an_error(tmp_path: Path) -> None:
    class Replacing(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.training_step = partial(Trainer.training_step, trainer)

    trainer = trainer_for([2.0], tmp_path, callbacks=[Replacing()])
    with pytest.raises(ValueError, match=r"training_step was replaced .* before train\(\), or in a subclass"):
        trainer.train()


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


def test_callbacks_may_be_removed_without_autowus(tmp_path: Path) -> None:
    losses = v_curve(60)
    trainer = trainer_for(losses, tmp_path)
    for callback in list(trainer.callback_handler.callbacks):
        trainer.remove_callback(callback)
    trainer.add_callback(recorder := LearningRates())
    trainer.add_callback(DefaultFlowCallback)  # which the Trainer cannot do without
    trainer.train()
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

    on_train_begin = on_step_end


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
    assert list(resumed.after) == list(range(halfway, 121))
    for step, found in resumed.after.items():
        assert_equal(found, whole.after[step])


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


@pytest.mark.parametrize(
    ("autowu", "text"),
    [
        ({"total_steps": 50}, "without 'total_steps', which is the Trainer's (set max_steps or num_train_"),
        ({"model": Learner()}, "without 'model', which is the Trainer's (it is the one"),
        ({"optimizer": None}, "without 'optimizer', which is the Trainer's (give it optimizers=("),
        (True, "autowu must be a dict of AutoWU's arguments, such as {'seed': 1}, not True"),
    ],
)
def test_what_is_the_trainers_is_refused_where_it_is_made(autowu: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        trainer_for([1.0], tmp_path, autowu=autowu)


class OwnScheduler(huggingface.AutoWUTrainer):
    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        self.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer or self.optimizer)
        return self.lr_scheduler


def test_a_scheduler_that_a_subclass_makes_is_refused(tmp_path: Path) -> None:
    args = arguments(tmp_path, save_strategy="steps", save_steps=1)
    data = [{"loss": torch.tensor(2.0)}] * 2
    with pytest.warns(UserWarning, match="warm-up ended at its cap"):
        huggingface.AutoWUTrainer(Learner(), args, train_dataset=data).train()
    for done, checkpoint in enumerate([None, str(tmp_path / "checkpoint-1")]):
        trainer = OwnScheduler(Learner(), args, train_dataset=data)
        with pytest.raises(
            TypeError, match=r"must be AutoWU, not ConstantLR: .* leave out a create_scheduler"
        ):
            trainer.train(checkpoint)
        assert trainer.state.global_step == done


def test_a_mixin_that_comes_last_is_refused() -> None:
    with pytest.raises(TypeError, match=r"has to come first: class Late\(AutoWUMixin, …\)"):
        type("Late", (Trainer, huggingface.AutoWUMixin), {})


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
