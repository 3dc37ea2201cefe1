"""The scheduler as PyTorch and its hosts see it: its type, its LR trace, what it reports and leaves alone."""

import re
import sys
import warnings

import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

import autowu
from autowu.config import Config
from autowu.extras import install
from integrations.torch.training import (
    PAPER,
    STEPS,
    Training,
    core_lrs,
    drive,
    group_lrs,
    parameters,
    scheduler,
    v_curve,
)

PRESETS = pytest.mark.parametrize("settings", [{}, PAPER], ids=["default", "paper"])

# As many bits as they hold, or in turn; that all types and shapes are taken is tested in tests/reliability.
KINDS = {
    "float": lambda x: x,
    "float64": lambda x: torch.tensor(x, dtype=torch.float64),
    "float32": torch.tensor,
    "float16": lambda x: torch.tensor(x, dtype=torch.float16),
    "bfloat16": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "changing": lambda x: x if round(1000 * x) % 2 else torch.tensor(x, dtype=torch.float64),
}


def test_it_is_an_lr_scheduler():
    made = scheduler()
    assert isinstance(made, LRScheduler)
    assert not isinstance(made, ReduceLROnPlateau)


@PRESETS
@pytest.mark.parametrize("kind", KINDS)
def test_the_lrs_are_the_cores_bit_for_bit(kind, settings):
    losses = [KINDS[kind](x) for x in v_curve()]
    made = scheduler(**settings)
    expected = core_lrs(
        made.config,
        [float(np.asarray(x.detach().double() if isinstance(x, torch.Tensor) else x).item()) for x in losses],
    )
    assert drive(made, losses) == expected
    assert made.switch is not None
    assert not made.switch.capped


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@PRESETS
@pytest.mark.parametrize("total_steps", [1, 2, 3, 7])
def test_the_shortest_runs(total_steps, settings):
    made = scheduler(total_steps, **settings)
    lrs = drive(made, [1.0] * total_steps)
    assert lrs == core_lrs(made.config, [1.0] * total_steps)
    assert all(lr > 0 for lr in lrs[:-1])


@pytest.mark.parametrize("decay", ["cosine", "constant-cosine", "linear", "1-sqrt", "plateau"])
def test_every_decay(decay):
    made = scheduler(decay=decay)
    assert drive(made, v_curve()) == core_lrs(Config(total_steps=STEPS, decay=decay), v_curve())


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_missing_losses_are_left_out():
    losses = [float("nan") if step % 7 == 3 else loss for step, loss in enumerate(v_curve())]
    made = scheduler()
    assert drive(made, [torch.tensor(loss) for loss in losses]) == core_lrs(made.config, losses)
    assert made.switch is not None


def test_the_loss_is_copied_at_once():
    """CUDA graphs, and loops that sum losses in place, write the next loss into the same tensor."""
    made, static = scheduler(), torch.empty(())
    for loss in v_curve():
        made.step(static.fill_(loss))
        static.fill_(float("nan"))
    assert group_lrs(made)[0] == drive(scheduler(), v_curve())[-1]
    assert [v.p_min for v in made.verdicts] != []


@PRESETS
def test_what_it_reports(settings):
    made = scheduler(**settings)
    assert (made.phase, made.verdicts, made.switch) == ("warmup", (), None)
    tests = 0
    for step, loss in enumerate(v_curve(), 1):
        made.step(loss)
        assert made.get_last_lr() == made.get_lr() == [group["lr"] for group in made.optimizer.param_groups]
        assert made.last_epoch == step
        assert len(made.verdicts) >= tests
        tests = len(made.verdicts)
        assert made.phase == ("warmup" if made.switch is None else "decay")
    assert made.phase == "decay"
    assert [v.streak for v in made.verdicts[-3:]] == [1, 2, 3]
    assert made.verdicts[-1].step == made.switch.step
    assert made.switch.t_star == made.verdicts[-1].peak_at(made.config.basin)


def test_what_it_reports_cannot_be_used_to_change_it():
    made = scheduler()
    made.get_last_lr().clear()
    assert len(made.get_last_lr()) == 1


@pytest.mark.parametrize("decay", ["linear", "constant-cosine", "plateau"])
def test_after_total_steps_the_lr_stays_and_one_warning_says_so(decay):
    made = scheduler(decay=decay)
    last = drive(made, v_curve())[-1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(STEPS):
            made.step(torch.tensor(5.0))
            assert group_lrs(made) == [last]
    assert len(caught) == 1
    assert f"total_steps={STEPS}" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("error")
def test_where_the_warning_is_an_error_it_comes_once_too():
    made = scheduler(3, **PAPER)
    drive(made, [1.0, 2.0, 3.0])
    with pytest.raises(UserWarning, match="total_steps=3"):
        made.step(4.0)
    made.step(5.0)
    assert made.last_epoch == 5


def test_a_warm_up_that_ends_at_its_cap_without_a_minimum_says_so_once():
    made = scheduler(40)
    with pytest.warns(UserWarning, match="warm-up ended at its cap, step 20 of 40, ") as caught:
        drive(made, [1.0] * 40)
    warning, no_fall = caught
    assert "at step 30 of 40 the loss is not below its first values" in str(no_fall.message)
    assert f"at an LR of {made.switch.peak_lr:.3g}. A run of fewer than 300 updates" in str(warning.message)
    assert warning.filename == scheduler.__code__.co_filename  # where step() is called


def test_a_warm_up_that_ends_at_its_cap_in_a_longer_run():
    made = scheduler(300, max_lr=1.0)
    with pytest.warns(UserWarning, match="cap, step 150 of 300, ") as caught:
        drive(made, np.linspace(2, 1, 300))  # it falls all the time
    (warning,) = caught
    assert "a fixed schedule" not in str(warning.message)
    assert made.switch.peak_lr == 1.0


def test_a_cap_with_evidence_or_by_the_papers_rule_is_not_warned_of():
    paper = scheduler(40, **PAPER)
    drive(paper, [1.0] * 40)  # warnings are errors
    assert paper.switch.capped
    late = scheduler(patience=1000)
    drive(late, v_curve())
    assert late.switch.capped
    assert late.switch.t_star == late.verdicts[-1].peak_at(late.config.basin)


def test_autocast_losses_train():
    training = Training()
    lrs = []
    while training.scheduler.last_epoch < STEPS:
        with torch.autocast("cpu", torch.bfloat16):
            loss = training.loss(training.scheduler.last_epoch)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        training.scheduler.step(loss)
        lrs.append(group_lrs(training.scheduler)[0])
    assert training.scheduler.switch is not None
    assert not training.scheduler.switch.capped
    assert float(loss.detach()) < 0.3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"total_steps": 0}, ValueError, "total_steps must be an integer ≥ 1, not 0"),
        ({"total_steps": 2.5}, TypeError, "total_steps must be an integer ≥ 1, not 2.5"),
        (
            {"total_steps": 10, "confidense": 0.9},
            TypeError,
            "no setting 'confidense'; did you mean 'confidence'",
        ),
        ({"total_steps": 10, "preset": "papers"}, ValueError, "preset must be one of 'default', 'paper'"),
        ({"total_steps": 10, "preset": "paper"}, ValueError, "steps_per_epoch is missing"),
        ({"model": "m"}, TypeError, r"model must be a torch\.nn\.Module or None, not 'm'"),
        ({"model": torch.nn.Linear(2, 2).parameters()}, TypeError, "model must be .*, not <generator object"),
        ({"model": torch.nn.Linear(2, 2).state_dict()}, TypeError, r"model must be .*, not OrderedDict\("),
        ({"snapshot_device": "gpu"}, ValueError, "snapshot_device must be a device such as .*, not 'gpu'"),
        ({"snapshot_device": 0.5}, TypeError, r"snapshot_device must be a device such as .*, not 0\.5"),
        ({"snapshot_device": "meta"}, ValueError, "snapshot_device must be a device that is here.* 'meta'"),
        ({"snapshot_device": "cpu:7"}, ValueError, "snapshot_device must be a device that is here.* 'cpu:7'"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    optimizer = SGD(parameters(), lr=0.1)
    with pytest.raises(error, match=message):
        autowu.AutoWU(optimizer, **arguments)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert "initial_lr" not in optimizer.param_groups[0]


@pytest.mark.parametrize("device", ["cuda:1", torch.device("cuda", 1)])
def test_a_device_for_the_copy_that_is_not_here(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"snapshot_device must be .* here, such as 'cpu', not 'cuda:1'"):
        scheduler(snapshot_device=device)
    scheduler(snapshot_device="cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="not 'cuda'"):
        scheduler(snapshot_device="cuda")
    assert not torch.cuda.is_initialized()  # nothing was allocated there


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "autowu.integrations.torch.scheduler")
    with pytest.raises(ImportError, match=re.escape(f"autowu.AutoWU needs torch: {install('torch')}")):
        _ = autowu.AutoWU


def test_an_optimizer_is_needed():
    with pytest.raises(TypeError, match=r"must be a torch\.optim\.Optimizer, not Linear"):
        autowu.AutoWU(torch.nn.Linear(2, 2), 10)
