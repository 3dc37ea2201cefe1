"""What counts as a loss: micro-batches are averaged, and whatever is not one real number is refused."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, SequentialLR

import autowu
from autowu.integrations.torch.pending import PendingLosses
from integrations.torch.training import STEPS, assert_equal, drive, parameters, scheduler, v_curve

NAN = float("nan")


def micro_batches(mean: float, count: int) -> list[float]:
    """``count`` numbers whose mean is ``mean`` without rounding, if that has a few bits."""
    offsets = [i - (count - 1) / 2 for i in range(count)]
    return [mean + offset / 8 for offset in offsets]


@pytest.mark.parametrize("kind", [float, torch.tensor, np.float32])
@pytest.mark.parametrize("count", range(1, 9))
def test_accumulation_is_a_step_with_the_mean(kind, count):
    losses = [round(loss * 1024) / 1024 for loss in v_curve()]
    expected = drive(scheduler(), losses)
    made = scheduler()
    for step, loss in enumerate(losses, 1):
        for micro in micro_batches(loss, count):
            made.observe(kind(micro))
        made.step()
        assert made.get_last_lr() == [expected[step]]
    assert made.switch is not None


def test_observe_and_step_with_a_loss_are_one_update():
    made, expected = scheduler(), drive(scheduler(), v_curve())
    for loss in v_curve():
        made.observe(loss - 0.25)
        made.step(loss + 0.25)
    assert made.get_last_lr() == [expected[-1]]


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_a_missing_micro_batch_makes_the_update_missing():
    made, expected = scheduler(), scheduler()
    for step, loss in enumerate(v_curve()):
        made.observe(loss)
        made.step(NAN if step % 7 == 3 else loss)
        expected.step(NAN if step % 7 == 3 else loss)
    assert made.get_last_lr() == expected.get_last_lr()
    assert made.switch is not None


@pytest.mark.parametrize("partial", [0, 1, 3])
def test_other_devices_and_types_may_come_in_any_order(partial):
    """Nothing is lost where the type of the losses changes, be it within an update."""
    pending, expected = PendingLosses(), []
    pending.expect(50)
    kinds = [float, torch.tensor, np.float64, lambda x: torch.tensor(x, dtype=torch.float64)]
    for update in range(50):
        losses = [update + i / 4 for i in range(partial + 1)]
        for i, loss in enumerate(losses):
            pending.add(kinds[(update + i) % 4](loss))
        pending.close_update()
        expected.append(sum(losses) / len(losses))
    assert pending.read(None).tolist() == expected == pending.read(None).tolist()
    pending.clear()
    assert len(pending) == 0


@pytest.mark.parametrize("kind", [float, torch.tensor])
@pytest.mark.parametrize("micro", [1, 3])
def test_a_wait_of_any_length_keeps_the_order(kind, micro):
    """Also of more losses than a buffer takes one by one, and where a checkpoint cuts an update in two."""
    pending = PendingLosses()
    for wait in (1, 63, 64, 65, 127, 128, 129, 300, 20):
        pending.expect(wait)
        for update in range(wait):
            for i in range(micro):
                if i == micro - 1 and update in (40, 64, 200):
                    assert len(pending) == update
                    pending = PendingLosses.from_dict(pending.to_dict())
                    pending.expect(wait - update)
                pending.add(kind(1.0 + update + 8 * (i - micro // 2)))
            pending.close_update()
        assert pending.read(None).tolist() == [1.0 + update for update in range(wait)]
        pending.clear()
        assert len(pending) == 0


def test_losses_of_another_type_late_in_a_long_wait_keep_the_order():
    pending = PendingLosses()
    pending.expect(200)
    for update in range(200):
        pending.add(torch.tensor(float(update), dtype=torch.float64 if update >= 150 else torch.float32))
        pending.add(torch.tensor(float(update)))
        pending.close_update()
    assert pending.read(None).tolist() == list(range(200))


# --- no loss ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 30, 100])
def test_a_step_without_a_loss_is_an_error_and_changes_nothing(after):
    made = scheduler()
    drive(made, v_curve()[:after])
    before = made.state_dict()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"needs the training loss of the update: call step\(loss\)"):
            made.step()
    assert_equal(made.state_dict(), before)


def test_a_step_closes_the_update():
    made = scheduler()
    made.observe(1.0)
    made.step()
    with pytest.raises(RuntimeError, match="needs the training loss"):
        made.step()


def test_wrappers_that_step_by_themselves_get_the_error():
    optimizer = SGD(parameters(), lr=0.1)
    made = autowu.AutoWU(optimizer, STEPS)
    with pytest.raises(RuntimeError, match="such as SequentialLR, cannot drive it"):
        SequentialLR(optimizer, [made, ConstantLR(optimizer)], milestones=[5])
    made = autowu.AutoWU(optimizer, STEPS)
    chained = ChainedScheduler([made], optimizer)
    optimizer.step()
    with pytest.raises(RuntimeError, match="such as SequentialLR, cannot drive it"):
        chained.step()


# --- wrong losses -------------------------------------------------------------------------------------

WRONG: list[tuple[Any, type[Exception], str]] = [
    (torch.ones(2), ValueError, r"one element, not shape \(2,\)"),
    (torch.ones(0), ValueError, r"one element, not shape \(0,\)"),
    (np.ones((1, 2)), ValueError, r"one element, not shape \(1, 2\)"),
    (np.ones(0), ValueError, r"one element, not shape \(0,\)"),
    ("1.0", TypeError, "not '1.0'"),
    (b"1", TypeError, "not b'1'"),
    ([1.0], TypeError, r"not \[1.0\]"),
    ({"loss": 1.0}, TypeError, "not {'loss': 1.0}"),
    (Decimal(1), TypeError, r"not Decimal\('1'\)"),
    (True, TypeError, "not True"),
    (np.True_, TypeError, "not bool"),
    (torch.tensor(True), TypeError, r"not torch\.bool"),
    (1j, TypeError, "not 1j"),
    (np.complex128(1j), TypeError, "not complex128"),
    (torch.tensor(1j), TypeError, r"not torch\.complex64"),
    (np.array("1.0"), TypeError, "not <U3"),
    (np.array(None), TypeError, "not object"),
    (np.datetime64(0, "s"), TypeError, "not datetime64"),
    (np.ma.masked, TypeError, "not a masked one"),
    (np.ma.array(1.0, mask=True), TypeError, "not a masked one"),
    (torch.ones(1).to_sparse(), TypeError, r"not a torch\.sparse_coo one"),
    (torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged), TypeError, "not a nested one"),
]


@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_a_wrong_loss_is_an_error_and_changes_nothing(wrong, error, message, opened):
    made = scheduler()
    drive(made, map(torch.tensor, v_curve()[:30]))
    if opened:
        made.observe(torch.tensor(1.0))
    before, lr = made.state_dict(), made.get_last_lr()
    for method in (made.observe, made.step):
        with pytest.raises(error, match=message):
            method(wrong)
    assert_equal(made.state_dict(), before)
    assert made.get_last_lr() == lr == [made.optimizer.param_groups[0]["lr"]]


def test_none_is_not_observed():
    with pytest.raises(TypeError, match="must be a tensor, NumPy or Python number, not None"):
        scheduler().observe(None)


def test_a_whole_number_too_large_for_a_float_changes_nothing():
    made = scheduler()
    before = made.state_dict()
    with pytest.raises(OverflowError):
        made.step(10**400)
    assert_equal(made.state_dict(), before)
