"""Parameter groups keep their ratios, and LRs that are tensors are changed in place."""

import math

import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer

import autowu
from integrations.torch.training import STEPS, core_lrs, drive, group_lrs, parameters, scheduler, v_curve


def groups(lrs, default=0.1, **settings):
    """An SGD with a group for each of ``lrs``; None is the default."""
    own = [{} if lr is None else {"lr": lr} for lr in lrs]
    params = [{"params": [p]} | lr for p, lr in zip(parameters(*[3] * len(lrs)), own, strict=True)]
    return SGD(params, lr=default, momentum=0.9)


def test_groups_keep_their_ratio_to_the_default_lr():
    made = autowu.AutoWU(groups([None, 0.01, 1.0]), STEPS)
    expected = core_lrs(made.config, v_curve())
    assert group_lrs(made) == [expected[0], expected[0] * (0.01 / 0.1), expected[0] * (1.0 / 0.1)]
    for step, loss in enumerate(v_curve(), 1):
        made.step(loss)
        lr = expected[step]
        assert group_lrs(made) == [lr, lr * (0.01 / 0.1), lr * (1.0 / 0.1)]
        assert made.get_last_lr() == group_lrs(made)


def test_the_default_lr_itself_does_not_matter():
    assert drive(scheduler(lr=3e-3), v_curve()) == drive(scheduler(lr=7.0), v_curve())
    assert drive(scheduler(lr=0.0), v_curve()) == drive(scheduler(lr=7.0), v_curve())


@pytest.mark.parametrize(
    ("lrs", "message"),
    [
        ([0.1, 0.01], r"default lr, 0\.001\. Groups with 0\.01, 0\.1 get 10, 100 times the schedule's LR"),
        ([0.0, 0.1], r"Groups with 0, 0\.1 get 0, 100 times"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], r"Groups with 0\.1, 0\.2, 0\.3, 0\.4, … get 100, 200, 300, 400, … times"),
    ],
)
def test_a_default_lr_that_no_group_has_is_warned_of_with_what_follows(lrs, message):
    optimizer = groups(lrs, default=1e-3)
    with pytest.warns(UserWarning, match=message) as caught:
        made = autowu.AutoWU(optimizer, STEPS)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert group_lrs(made) == [made.config.min_lr * (lr / 1e-3) for lr in lrs]  # the contract is as it was


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: groups([0.01, None]),
        lambda: groups([0.01, 0.1]),
        lambda: groups([0.3, 0.3], default=0.0),
        lambda: AdamW([{"params": parameters(2), "lr": torch.tensor(0.1).bfloat16()}], lr=0.1),
        lambda: AdamW([{"params": parameters(2), "lr": 0.1}], lr=torch.tensor(0.1)),
        lambda: NoDefault(parameters(2)),
    ],
)
def test_a_default_lr_that_a_group_has_or_that_is_none_is_not_warned_of(optimizer):
    autowu.AutoWU(optimizer(), STEPS)  # warnings are errors


class NoDefault(Optimizer):
    """Its groups have LRs, and it has none."""

    def __init__(self, params):
        super().__init__([{"params": params, "lr": 0.1}], {})


@pytest.mark.parametrize("dropped", [False, True])
def test_an_optimizer_that_comes_from_a_checkpoint_is_not_warned_of(dropped):
    """Its LRs are those of then, and the scheduler's own state, which comes next, says what they mean."""
    first = autowu.AutoWU(AdamW(parameters(2), lr=0.1), STEPS)
    first.optimizer.step()
    drive(first, v_curve()[:50])
    state = first.optimizer.state_dict()
    if dropped:  # as torch.distributed.checkpoint does
        del state["param_groups"][0]["initial_lr"]
    optimizer = AdamW(parameters(2), lr=0.003)
    optimizer.load_state_dict(state)
    resumed = autowu.AutoWU(optimizer, STEPS)
    resumed.load_state_dict(first.state_dict())
    assert group_lrs(resumed) == group_lrs(first)


def test_ratios_to_a_default_lr_of_zero_are_an_error():
    with pytest.raises(ValueError, match="default lr must be > 0"):
        autowu.AutoWU(groups([0.1, 0.2], default=0.0), STEPS)


def test_a_frozen_group_stays_at_zero():
    made = autowu.AutoWU(groups([None, 0.0]), STEPS)
    drive(made, v_curve())
    assert group_lrs(made)[1] == 0


def test_a_group_added_later():
    made = autowu.AutoWU(groups([None, 0.01]), STEPS)
    expected = core_lrs(made.config, v_curve())
    for step, loss in enumerate(v_curve(), 1):
        if step == 30:
            made.optimizer.add_param_group({"params": parameters(2), "lr": 0.2})
        made.step(loss)
        ratios = [1.0, 0.01 / 0.1] + [0.2 / 0.1] * (step >= 30)
        assert group_lrs(made) == [expected[step] * ratio for ratio in ratios]
        assert len(made.get_last_lr()) == len(ratios)
    assert made.switch is not None


def test_a_group_removed_later_is_an_error_with_both_counts():
    made = autowu.AutoWU(groups([None, 0.01, 0.02]), STEPS)
    drive(made, v_curve()[:10])
    del made.optimizer.param_groups[1]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="has 2 parameter groups, fewer than the 3"):
            made.step(1.0)
        assert made.last_epoch == 10
        assert not made._pending.open


# --- LRs that are tensors -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_lr_is_changed_in_place(dtype):
    optimizer = AdamW(parameters(3, 2), lr=torch.tensor(1e-3, dtype=dtype))
    lr = optimizer.param_groups[0]["lr"]
    made = autowu.AutoWU(optimizer, STEPS)
    expected = core_lrs(made.config, v_curve())
    for step, loss in enumerate(v_curve(), 1):
        made.step(loss)
        assert optimizer.param_groups[0]["lr"] is lr
        assert lr.dtype == dtype
        assert lr.item() == torch.tensor(expected[step], dtype=dtype).item()
        assert made.get_last_lr()[0] == pytest.approx(lr.item(), rel=1e-6)


def test_a_tensor_lr_that_has_a_gradient_is_written_to():
    optimizer = SGD(parameters(3), lr=torch.tensor(1e-3, requires_grad=True))
    made = autowu.AutoWU(optimizer, STEPS)
    expected = core_lrs(made.config, v_curve())
    for step, loss in enumerate(v_curve(), 1):
        made.step(loss)
        assert optimizer.param_groups[0]["lr"].item() == pytest.approx(expected[step])
    assert optimizer.param_groups[0]["lr"].requires_grad


def test_a_tensor_lr_that_was_made_under_inference_mode_is_written_to():
    with torch.inference_mode():
        lr = torch.tensor(1e-3)
    optimizer = SGD(parameters(3), lr=0.5)
    optimizer.param_groups[0]["lr"] = lr
    made = autowu.AutoWU(optimizer, STEPS)
    made.step(1.0)
    assert optimizer.param_groups[0]["lr"].item() == pytest.approx(made.learning_rate)


@pytest.mark.parametrize("lr", [torch.tensor(1), torch.tensor(1e-3 + 0j), torch.full((2,), 1e-3)])
def test_a_tensor_that_cannot_hold_an_lr_is_refused(lr):
    optimizer = SGD(parameters(3), lr=0.1)
    optimizer.param_groups[0]["lr"] = lr
    with pytest.raises(ValueError, match=r"group 0 of SGD must be a floating-point tensor with one element"):
        autowu.AutoWU(optimizer, STEPS)


def test_groups_with_tensor_lrs_of_their_own():
    optimizer = AdamW(
        [{"params": parameters(2), "lr": torch.tensor(0.02)}, {"params": parameters(3)}],
        lr=torch.tensor(0.01),
    )
    made = autowu.AutoWU(optimizer, STEPS)
    own, default = (group["lr"] for group in optimizer.param_groups)
    for loss in v_curve()[:50]:
        made.step(loss)
        assert own.item() == pytest.approx(2 * default.item(), rel=1e-6)
    assert default.item() == torch.tensor(core_lrs(made.config, v_curve()[:50])[-1]).item()


def test_a_tensor_lr_does_not_change_the_default():
    """Groups without their own LR share the default's tensor."""
    optimizer = AdamW(parameters(2), lr=torch.tensor(0.01))
    made = autowu.AutoWU(optimizer, STEPS)
    drive(made, v_curve()[:20])
    for size in (3, 4):
        optimizer.add_param_group({"params": parameters(size)})
        drive(made, v_curve()[20:30])
        assert len(set(group_lrs(made))) == 1
    again = autowu.AutoWU(optimizer, STEPS)
    assert (
        group_lrs(again)
        == group_lrs(autowu.AutoWU(AdamW(parameters(2, 3, 4), lr=torch.tensor(0.01)), STEPS)) * 3
    )


@pytest.mark.parametrize("lr", [math.nan, math.inf])
def test_an_lr_that_is_not_finite_is_refused_with_its_group(lr):
    first, second = parameters(2, 3)
    optimizer = AdamW([{"params": [first]}, {"params": [second], "lr": lr}])
    with pytest.raises(ValueError, match=f"the lr in group 1 of AdamW must be a finite number, not {lr}"):
        autowu.AutoWU(optimizer, STEPS)
    made = autowu.AutoWU(AdamW([first]), STEPS)
    made.step(1.0)
    made.optimizer.add_param_group({"params": [second], "lr": lr})
    with pytest.raises(ValueError, match="group 1 of AdamW must be a finite number"):
        made.step(1.0)
    assert made.last_epoch == 1
