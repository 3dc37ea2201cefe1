"""The paper's baseline schedule against its formula."""

import math

import pytest
import torch

from autowu.train.schedules import Baseline, warmup_cosine


def test_warmup_is_a_line_from_zero_to_the_peak():
    assert [warmup_cosine(step, 4, 20) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]


def test_decay_is_a_cosine_to_zero():
    for step in range(4, 21):
        u = (step - 4) / (20 - 4)
        assert warmup_cosine(step, 4, 20) == pytest.approx((1 + math.cos(math.pi * u)) / 2, abs=1e-15)
    assert warmup_cosine(12, 4, 20) == pytest.approx(0.5, abs=1e-15)
    assert warmup_cosine(20, 4, 20) == 0
    assert warmup_cosine(19, 4, 20) > 0


def test_without_warmup_it_starts_at_the_peak():
    assert warmup_cosine(0, 0, 10) == 1


@pytest.mark.parametrize(("batch_size", "peak"), [(256, 0.001), (1024, 0.002), (64, 0.0005), (16384, 0.008)])
def test_the_peak_grows_with_the_square_root_of_the_batch_size(batch_size, peak):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.001)
    schedule = Baseline(optimizer, total_steps=30, warmup_steps=10, batch_size=batch_size)
    lrs, phases = [], []
    for _ in range(30):
        lrs.append(optimizer.param_groups[0]["lr"])
        phases.append(schedule.phase)
        assert schedule.get_last_lr() == [lrs[-1]]
        optimizer.step()
        schedule.step(torch.tensor(1.0))
    assert lrs == pytest.approx([peak * warmup_cosine(step, 10, 30) for step in range(30)], rel=1e-12)
    assert max(lrs) == pytest.approx(peak, rel=1e-12)
    assert phases == ["warmup"] * 10 + ["decay"] * 20
    assert schedule.switch is None
    assert not schedule.verdicts
