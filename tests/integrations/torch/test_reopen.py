"""A switch that proves wrong, in real training: warm-up goes on, from where it is, and a resume too."""

import copy
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from integrations.torch.test_resume import saved
from integrations.torch.training import Training, assert_equal, core_lrs, group_lrs

STEPS = 600
FROM = 85


class Alarmed(Training):
    """A run whose scheduler sees a transient from update ``FROM`` until its first warm-up ends."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(partial(SGD, lr=0.1, momentum=0.9), total_steps=STEPS, **settings)
        self.seen: list[float] = []

    def update(self) -> Tensor:
        loss = super().update().detach()
        scheduler = self.scheduler
        if scheduler.last_epoch >= FROM and scheduler.switch is None and not scheduler.reopenings:
            loss = loss + 0.5
        self.seen.append(float(loss))
        return loss


@cache
def whole() -> tuple[Alarmed, list[float]]:
    run = Alarmed()
    return run, run.run(STEPS)


def test_warm_up_goes_on() -> None:
    run = Alarmed()
    phases, switches, read_at = [], [], []
    while run.scheduler.last_epoch < STEPS:
        run.run(run.scheduler.last_epoch + 1)
        phases.append(run.scheduler.phase)
        switches.append(run.scheduler.switch)
        read_at.append(run.scheduler._session.due)
    (reopening,) = run.scheduler.reopenings
    first, again = reopening.switch.step, reopening.step
    assert run.scheduler.switch is not None
    last = run.scheduler.switch.step
    expected = ["warmup"] * (first - 1) + ["decay"] * (again - first) + ["warmup"] * (last - again)
    assert phases == expected + ["decay"] * (STEPS - last + 1)
    assert [switch is None for switch in switches] == [phase == "warmup" for phase in phases]
    assert run.scheduler.switch.peak_lr > 2 * reopening.switch.peak_lr
    assert read_at[first - 1] == again  # losses are kept until then
    assert read_at[-1] is None  # and no longer than needed
    assert len(run.scheduler._pending) == 0
    assert len(run.scheduler._session.state.losses) == 0


def test_the_lr_is_that_of_the_core() -> None:
    run, lrs = whole()
    assert core_lrs(run.scheduler.config, run.seen)[:STEPS] == lrs


def test_the_copy_is_freed_at_the_switch_and_taken_anew() -> None:
    run = Alarmed()
    copies = []
    while run.scheduler.last_epoch < STEPS:
        run.run(run.scheduler.last_epoch + 1)
        copies.append(run.scheduler.state_dict()["snapshot"] is not None)
    (reopening,), switch = run.scheduler.reopenings, run.scheduler.switch
    assert switch is not None
    assert not any(copies[reopening.switch.step - 1 : reopening.step])
    assert copies[switch.step - 2]
    assert not any(copies[switch.step - 1 :])
    assert switch.rewound_to is not None
    assert switch.rewound_to > reopening.step


def test_the_second_rewind_puts_back_weights_of_the_second_warm_up() -> None:
    run, _ = whole()
    switch = run.scheduler.switch
    assert switch is not None
    again = Alarmed()
    again.run(switch.rewound_to)
    kept = copy.deepcopy(again.model.state_dict())
    again.run(switch.step)
    assert_equal(dict(again.model.state_dict()), dict(kept))


def test_a_break_at_every_turn() -> None:
    run, lrs = whole()
    (reopening,), switch = run.scheduler.reopenings, run.scheduler.switch
    assert switch is not None
    first, again = reopening.switch.step, reopening.step
    for step in (first - 1, first, first + 7, again - 1, again, again + 1, again + 9, switch.step):
        broken = Alarmed()
        broken.run(step)
        state = saved(broken.state())
        resumed = Alarmed().load(state)
        assert_equal(resumed.state(), state)
        assert resumed.run(STEPS) == lrs[step:], step
        assert_equal(resumed.state(), run.state(), f"{step}: ")


def test_off_and_the_paper_have_none() -> None:
    for settings in ({"reopen": None}, {"preset": "paper", "steps_per_epoch": 10}):
        run = Alarmed(**settings)
        run.run(STEPS)
        assert run.scheduler.switch is not None
        assert run.scheduler.reopenings == ()


def test_a_state_of_another_setting_is_refused() -> None:
    state = Alarmed().scheduler.state_dict()
    with pytest.raises(ValueError, match=r"reopen is None here, but 4\.0 in the saved state"):
        Alarmed(reopen=None).scheduler.load_state_dict(state)


def test_the_loss_is_read_once_while_the_switch_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = whole()
    (reopening,) = run.scheduler.reopenings
    again, reads = Alarmed(), list[int]()
    read = again.scheduler._pending.read

    def counted(group: Any) -> Any:
        reads.append(again.scheduler.last_epoch)
        return read(group)

    monkeypatch.setattr(again.scheduler._pending, "read", counted)
    again.run(reopening.step)
    assert [step for step in reads if step > reopening.switch.step] == [reopening.step]
    assert group_lrs(again.scheduler) == [reopening.lr]
    assert torch.isfinite(torch.tensor(again.seen)).all()
