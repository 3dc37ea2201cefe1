"""What is particular to Accelerate."""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("accelerate")

import torch
from accelerate import Accelerator, DistributedType
from accelerate.scheduler import AcceleratedScheduler
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor

import limits
from autowu import AutoWU
from autowu.extras import install
from autowu.integrations import accelerate
from autowu.integrations.torch.tensors import StateDict
from integrations import examples
from integrations.accelerate import Loop
from integrations.contract.contract import core_trace, v_curve
from integrations.contract.learner import assert_equal, assert_rewound, everything

EXAMPLE = "accelerate_digits.py"
PAPER: dict[str, Any] = {"preset": "paper", "steps_per_epoch": 3}


def loop_over(losses: Any, updates: int | None = 0, *, accumulation: int = 1, **settings: Any) -> Loop:
    """A loop of so many updates: of 0 as many as there are losses, of None without a length."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    return Loop(losses, accelerator, len(losses) if updates == 0 else updates, **settings)


# --- updates and their losses -------------------------------------------------------------------------


def test_an_epochs_last_update_may_be_of_fewer_batches() -> None:
    # Ten batches an epoch, four in an update: 4, 4 and 2.
    seen = np.round(v_curve(3) * 256) / 256
    loop = loop_over(np.repeat(seen, [4, 4, 2]), 36, accumulation=4, **PAPER)
    for _ in range(12):
        loop.run()
    assert loop.lrs == core_trace(np.tile(seen, 12), **PAPER)


def test_an_update_that_mixed_precision_skips_has_no_loss() -> None:
    losses, skipped = v_curve(120), [4, 5, 50]
    losses[5] = 1e30
    weights: list[Tensor] = []
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    loop = Loop(losses, accelerator, 120)

    def overflow(update: int) -> None:
        weights.append(loop.model.network[0].weight.detach().clone())
        if update in skipped:
            loop.model.network[0].weight.grad.fill_(torch.inf)

    lrs = loop.run(before_update=overflow)
    assert [step for step in range(119) if torch.equal(weights[step], weights[step + 1])] == skipped
    assert loop.scheduler.last_epoch == 117
    assert lrs == core_trace([*np.delete(losses, skipped), 0, 0, 0])[:117]


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_what_a_micro_batch_cannot_give_is_refused() -> None:
    loop = loop_over([1.0, 1.0])
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'loss'"):
        loop.scheduler.step()
    with pytest.raises(ValueError, match="loss must have one element"):
        loop.scheduler.step(torch.ones(2))
    loop.scheduler.step(1.0)
    assert loop.scheduler.last_epoch == 1


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_the_graph_of_a_loss_is_not_kept() -> None:
    loop = loop_over(np.ones(8), 2, accumulation=4)
    loop.run(after_update=lambda updates: True)
    assert not loop.scheduler._losses
    with loop.accelerator.accumulate(loop.model):
        loop.scheduler.step(loop.model(torch.ones(1))["loss"])
    assert [loss.grad_fn for loss in loop.scheduler._losses] == [None]


# --- rewind -------------------------------------------------------------------------------------------


def test_weights_buffers_and_optimizer_state_go_back_also_in_a_resumed_run(tmp_path: Path) -> None:
    losses = v_curve(120)
    whole, first, resumed = loop_over(losses), loop_over(losses), loop_over(losses)
    after: dict[int, dict[str, Tensor]] = {}
    whole.run(after_update=lambda updates: after.update({updates: everything(whole.model, whole.optimizer)}))
    switch = whole.scheduler.switch
    assert_rewound(after, switch.step, to=switch.rewound_to)

    halfway = (switch.rewound_to + switch.step) // 2
    first.run(after_update=lambda updates: updates == halfway)
    first.accelerator.save_state(tmp_path)
    resumed.accelerator.load_state(tmp_path)

    def same(updates: int) -> None:
        assert_equal(everything(resumed.model, resumed.optimizer), after[updates])

    lrs = resumed.run(halfway, after_update=same)
    assert first.lrs + lrs == whole.lrs == core_trace(losses)
    assert resumed.scheduler.switch == switch


# --- checkpoints --------------------------------------------------------------------------------------


def test_the_scheduler_is_saved_as_accelerates_own_and_without_pickled_objects(tmp_path: Path) -> None:
    loop = loop_over(v_curve(120))
    loop.run(after_update=lambda updates: updates == 30)
    loop.accelerator.save_state(tmp_path)
    assert not list(tmp_path.glob("custom_checkpoint*"))  # those are loaded with weights_only=False
    saved = torch.load(tmp_path / "scheduler.bin", weights_only=True)
    assert saved["step"] == 30
    assert StateDict(saved)["snapshot"] is not None


def test_it_is_printed_as_autowu() -> None:
    assert repr(loop_over(v_curve(120)).scheduler) == "AutoWU(warmup, step 0 of 120, lr=1e-05)"


def test_prepare_leaves_it_alone() -> None:
    loop = loop_over(v_curve(120))
    assert loop.accelerator.prepare(loop.scheduler) is loop.scheduler
    assert loop.accelerator._schedulers == [loop.scheduler]


def test_a_run_of_too_few_updates_does_not_go_on(tmp_path: Path) -> None:
    loop = loop_over(v_curve(60))
    loop.run(after_update=lambda updates: updates == 40)
    loop.accelerator.save_state(tmp_path)
    with pytest.raises(ValueError, match=r"total_steps must be .*, of which 40 are done, not 30"):
        loop_over(v_curve(30)).accelerator.load_state(tmp_path)


@pytest.mark.full
def test_the_example_goes_on_after_kill_9(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    printed = examples.run(EXAMPLE, "--out", whole, folder=tmp_path).splitlines()
    for epochs, phase in ((3, "warmup"), (20, "decay")):
        broken = tmp_path / f"killed-after-{epochs}"
        process = examples.start(EXAMPLE, "--out", broken, folder=tmp_path)
        examples.kill_when((broken / f"epoch-{epochs:03}").is_dir, process)
        (broken / "unfinished").mkdir(exist_ok=True)
        (broken / "unfinished" / "model.safetensors").write_bytes(b"cut off")
        again = examples.run(EXAMPLE, "--out", broken, "--resume", folder=tmp_path).splitlines()
        assert again == printed[-len(again) :]
        assert printed[-len(again) - 1].endswith(phase)
        assert_same_state(broken / "epoch-040", whole / "epoch-040")


def assert_same_state(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "optimizer.bin", "scheduler.bin"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.full
def test_two_processes_that_are_killed_in_warm_up_go_on_as_if_unbroken(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    assert two_processes(whole).wait(limits.HANG) == 0
    process = two_processes(broken)
    limits.wait_for((broken / "at-020").is_dir, lambda: process.poll() is None)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(broken / "unfinished", ignore_errors=True)
    assert (broken / "trace-0").read_text().splitlines()[-1].split()[1] == "warmup"
    assert two_processes(broken).wait(limits.HANG) == 0

    lines = (whole / "trace-0").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(update) for update in range(1, 121)]
    assert {line.split()[1] for line in lines} == {"warmup", "decay"}
    for trace in (whole / "trace-1", broken / "trace-0", broken / "trace-1"):
        assert sorted(set(trace.read_text().splitlines()), key=lambda line: int(line.split()[0])) == lines


def two_processes(folder: Path) -> subprocess.Popen[bytes]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    tests = Path(__file__).parents[1]
    path = [str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, *launch, "-m", "integrations.accelerate_killed", str(folder)],
        cwd=tests,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)},
        start_new_session=True,  # so that all of them can be killed at once
    )


def test_the_log_names_the_optimizer_and_not_accelerates_around_it(tmp_path: Path) -> None:
    loop = loop_over(v_curve(120), log=tmp_path / "log")
    loop.run()
    assert json.loads((tmp_path / "log" / "run.json").read_text())["config"]["optimizer"] == "AdamW"


# --- several trainings with one Accelerator ------------------------------------------------------------


def test_what_free_memory_forgets_is_set_free_and_not_saved(tmp_path: Path) -> None:
    """As find_executable_batch_size has it, for which the memory must be free before the next attempt."""
    losses = v_curve(120)
    loop = loop_over(losses)
    accelerator = loop.accelerator
    loop.run(after_update=lambda updates: updates == 40)
    held = [weakref.ref(each) for each in (loop.model, loop.scheduler, loop.scheduler.scheduler)]
    del loop
    accelerator.free_memory()
    gc.collect()
    assert [each() for each in held] == [None, None, None]

    loop = Loop(losses, accelerator, len(losses))
    loop.run(after_update=lambda updates: updates == 60)
    lr = loop.scheduler.learning_rate
    accelerator.save_state(tmp_path)
    assert [path.name for path in tmp_path.glob("scheduler*")] == ["scheduler.bin"]
    loop.run(skip=60)
    accelerator.load_state(tmp_path)
    assert loop.scheduler.learning_rate == lr


def test_what_free_memory_forgets_is_not_asked_again_though_it_is_held(tmp_path: Path) -> None:
    loop = loop_over(v_curve(120))
    loop.run(after_update=lambda updates: updates == 40)
    loop.accelerator.free_memory()
    loop.accelerator.save_state(tmp_path)
    loop.accelerator.load_state(tmp_path)
    loop.accelerator.end_training()  # it warns of none
    assert not list(tmp_path.glob("scheduler*"))


# --- the length of the run ----------------------------------------------------------------------------


def test_a_run_that_ends_before_its_lr_has_fallen_says_so_once() -> None:
    """Such as one whose length was counted before `prepare` dealt the batches out to two processes."""
    losses = v_curve(120)
    loop = loop_over(losses, 2 * len(losses))
    loop.run()
    peak_lr = loop.scheduler.switch.peak_lr
    share = rf"the run ended after 120 of the 240 updates .* \({loop.lrs[-1] / peak_lr:.0%} of its peak\)"
    with pytest.warns(UserWarning, match=share) as warned:
        loop.accelerator.end_training()
    assert len(warned) == 1


def test_a_run_without_a_length_is_told_of_the_cooldown_that_it_lacked() -> None:
    loop = loop_over(v_curve(120), None, warmup_limit=60)
    loop.run()
    assert (loop.scheduler.phase, loop.scheduler.total_steps) == ("stable", None)
    with pytest.warns(UserWarning, match=r"ended after 120 updates, .*: call cooldown\(steps\)") as warned:
        loop.accelerator.end_training()
    assert len(warned) == 1


@pytest.mark.parametrize("updates", [120, 0])
def test_a_run_of_its_length_or_of_no_update_ends_in_silence(updates: int) -> None:
    loop = loop_over(v_curve(120))
    if updates:
        loop.run()
    loop.accelerator.end_training()
    assert loop.scheduler.last_epoch == updates


def test_accumulation_may_go_on_over_the_ends_of_epochs() -> None:
    # Ten batches an epoch, four in an update: 25 updates in ten epochs, not three in each.
    seen = np.round(v_curve(25) * 256) / 256
    micro = np.repeat(seen, 4).reshape(10, 10)
    plugin = GradientAccumulationPlugin(num_steps=4, sync_with_dataloader=False)
    loop = Loop(micro[0], Accelerator(cpu=True, gradient_accumulation_plugin=plugin), 25, **PAPER)
    for row in micro:
        loop.batches.dataset.tensors[0].copy_(torch.tensor(row))
        loop.run()
    assert loop.lrs == core_trace(seen, **PAPER)


# --- errors -------------------------------------------------------------------------------------------


def test_hosts_that_step_or_shard_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    for kind, message in (("DEEPSPEED", "cannot run under DEEPSPEED"), ("FSDP", "under version 1 of FSDP")):
        monkeypatch.setattr(Accelerator, "distributed_type", DistributedType[kind])
        with pytest.raises(ValueError, match=message):
            accelerate.AcceleratedAutoWU(accelerator, AutoWU(optimizer, 10))
    with pytest.raises(TypeError, match="scheduler must be AutoWU, not ConstantLR"):
        accelerate.AcceleratedAutoWU(accelerator, torch.optim.lr_scheduler.ConstantLR(optimizer))
    prepared = AcceleratedScheduler(AutoWU(optimizer, 10), optimizer)
    with pytest.raises(TypeError, match=r"leave it out of accelerator\.prepare"):
        accelerate.AcceleratedAutoWU(accelerator, prepared)


@pytest.mark.parametrize("package", ["accelerate", "torch"])
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, accelerate.__name__)
    with pytest.raises(ImportError, match=re.escape(f"needs {package}: {install('accelerate')}")):
        importlib.import_module(accelerate.__name__)
