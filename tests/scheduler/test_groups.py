"""Parameter groups keep their ratios, and LRs that are tensors are changed in place."""

import pytest
import torch
from torch.optim import SGD, AdamW

import autowu
from scheduler.training import STEPS, core_lrs, drive, group_lrs, parameters, scheduler, v_curve


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
