"""One loss that is given for many updates is told; losses that are equal for other reasons are none."""

import numpy as np
import pytest
import torch

from autowu.integrations.torch.repeated import Repeats
from integrations.torch.training import drive, scheduler, v_curve


def told(losses, lengths=(1,)):
    """What is found, where the losses are read so many at a time, in turn."""
    repeats, found, at = Repeats(), [], 0
    while at < len(losses):
        for length in lengths:
            if (times := repeats.add(np.asarray(losses[at : at + length], float))) is not None:
                found.append(times)
            at += length
    return found


@pytest.mark.parametrize("lengths", [(1,), (7,), (1, 2, 50), (500,)])
@pytest.mark.parametrize("times", [2, 3, 10, 25, 100])
def test_a_loss_that_is_read_now_and_then_is_told_however_it_is_read(times, lengths):
    losses = np.repeat(v_curve(600), times)
    assert told(losses[:1200], lengths) == [times]
    assert told(losses[times // 2 :][:1200], lengths) == [times]


def test_it_is_told_as_soon_as_it_is_certain():
    assert told(np.repeat(v_curve(), 10)[:51])
    assert not told(np.repeat(v_curve(), 10)[:50])
    assert told(np.repeat(v_curve(), 2)[:41])
    assert not told(np.repeat(v_curve(), 2)[:40])


def ulps(steps):
    """Of full batches at a tiny LR: the last digit changes at every third update."""
    return [float(np.float32(2.3) - np.spacing(np.float32(2.3)) * (step // 3)) for step in range(steps)]


@pytest.mark.parametrize(
    "losses",
    [
        v_curve(),
        [0.7] * 600,
        ulps(600),
        np.repeat(torch.tensor(v_curve()).bfloat16().tolist(), 3),
        np.repeat(torch.tensor(v_curve()).half().tolist(), 3),
        [float("nan")] * 600,
        np.repeat([0.7, float("nan")] * 50, 10),
        np.repeat(v_curve(), [3, 4] * 120),
        (np.arange(600) // 20).astype(float),
    ],
)
def test_losses_that_are_equal_for_other_reasons_are_not(losses):
    assert told(losses, (20,)) == []


def test_the_scheduler_tells_it_once():
    made = scheduler()
    with pytest.warns(UserWarning, match="up to step .* is the same 12 times each") as found:
        drive(made, np.repeat(v_curve(), 12)[:96])
    assert ["is the same" in str(each.message) for each in found].count(True) == 1
