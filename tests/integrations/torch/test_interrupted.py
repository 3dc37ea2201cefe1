"""A decision that is interrupted (Ctrl-C waits for the device there), or fails, is made up for."""

import copy

import pytest
import torch

from autowu.integrations import session
from autowu.integrations.torch import snapshot
from autowu.integrations.torch.groups import Groups
from autowu.integrations.torch.pending import PendingLosses
from integrations.interrupted import lines_of, press
from integrations.torch.training import STEPS, drive, group_lrs, scheduler, v_curve


class Interrupts:
    """Stands before a function, and interrupts one of its calls."""

    def __init__(self, monkeypatch, owner, name, call):
        self.left, original = call, getattr(owner, name)

        def interrupting(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, interrupting)


PLACES = [
    (PendingLosses, "read", 1),
    (PendingLosses, "read", 5),
    (snapshot.Snapshot, "healthy", 1),
    (snapshot, "copy_all", 3),
    (snapshot, "write", 1),  # where the weights go back
]


@pytest.mark.parametrize(("owner", "name", "call"), PLACES)
@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("micro", [False, True])
def test_the_run_goes_on_as_if_it_had_not_been_interrupted(monkeypatch, owner, name, call, saved, micro):
    whole, made = scheduler(), scheduler()
    drive(whole, v_curve())
    interrupts = Interrupts(monkeypatch, owner, name, call)
    times = 0
    while made.last_epoch < STEPS:
        loss = v_curve()[made.last_epoch]
        try:
            if micro:
                made.observe(loss)
            made.step(None if micro else loss)
        except KeyboardInterrupt:
            times += 1
            if saved:
                state = copy.deepcopy(made.state_dict())
                made = scheduler()
                made.load_state_dict(state)
    assert times == 1
    assert interrupts.left <= 0
    assert made.switch == whole.switch
    assert [each.step for each in made.verdicts] == [each.step for each in whole.verdicts]
    assert [each.p_min for each in made.verdicts] == [each.p_min for each in whole.verdicts]
    assert made.get_last_lr() == whole.get_last_lr()


@pytest.mark.parametrize("by_handler", [False, True])
def test_what_is_counted_and_asked_within_an_interrupted_decision_is_so_once(monkeypatch, by_handler):
    made, observe = scheduler(), session.machine.observe
    drive(made, v_curve()[:30])

    def interrupted(*_):
        monkeypatch.setattr(session.machine, "observe", observe)
        if by_handler:
            made.extend(300)
        raise KeyboardInterrupt

    monkeypatch.setattr(session.machine, "observe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.step(float("nan"))
    assert made.last_epoch == 31
    assert made.total_steps == (300 if by_handler else STEPS)
    with pytest.warns(UserWarning, match="not finite"):
        made.step(v_curve()[31])
    assert (made.nonfinite, made.last_epoch) == (1, 32)


PARTS = ("scheduler.py", "pending.py", "groups.py", "session.py", "ranks.py")


def lines_of_step(made, loss, at=None, then=press):
    return lines_of(lambda: made.step(loss), PARTS, at, then)


def weights(made):
    return made.optimizer.param_groups[0]["params"][0]


def update(made):
    made.optimizer.step()
    with torch.no_grad():
        weights(made).fill_(made.last_epoch + 1)


@pytest.mark.parametrize(  # a test with a copy, the switch; an update like any, a decision of the decay
    "step", [27, 68, *(pytest.param(step, marks=pytest.mark.full) for step in (2, 80))]
)
def test_at_whatever_line_a_step_either_counts_or_does_not_and_the_lr_fits(step):
    whole, made = scheduler(), scheduler()
    lrs = drive(whole, v_curve()[: step + 2])
    for loss in v_curve()[: step - 1]:
        update(made)
        made.step(loss)
    loss = v_curve()[step - 1]
    lines = lines_of_step(copy.deepcopy(made), loss)
    assert len(lines) > 20
    for at in lines:
        one = copy.deepcopy(made)
        update(one)
        lines_of_step(one, loss, at)
        assert one.last_epoch in (step - 1, step), at
        assert group_lrs(one) == [one.learning_rate], at
        if one.switch is not None and made.switch is None:  # decided upon: nothing of it is missing
            assert weights(one)[0].item() == one.switch.rewound_to, at
        other = scheduler()
        other.load_state_dict(copy.deepcopy(one.state_dict()))
        for again in (one, other):
            while again.last_epoch < step + 2:
                again.step(v_curve()[again.last_epoch])
            assert again.switch == whole.switch, at
            assert group_lrs(again) == lrs[-1:], at


@pytest.mark.parametrize("step", [68, *(pytest.param(step, marks=pytest.mark.full) for step in (2, 27, 80))])
def test_a_signals_handler_may_save_the_state_at_whatever_line(step):
    whole, made = scheduler(), scheduler()
    lrs = drive(whole, v_curve()[: step + 2])
    for loss in v_curve()[: step - 1]:
        update(made)
        made.step(loss)
    loss, states = v_curve()[step - 1], []
    for at in lines_of_step(copy.deepcopy(made), loss):
        one, other = copy.deepcopy(made), scheduler()
        update(one)
        lines_of_step(one, loss, at, lambda one=one: states.append(copy.deepcopy(one.state_dict())))
        other.load_state_dict(states[-1])
        assert other.last_epoch in (step - 1, step), at
        for again in (one, other):
            while again.last_epoch < step + 2:
                again.step(v_curve()[again.last_epoch])
            assert again.switch == whole.switch, at
            assert group_lrs(again) == lrs[-1:], at


def test_what_was_interrupted_in_taking_in_a_group_is_done_at_the_next_step(monkeypatch):
    made = scheduler(lr=0.1)
    drive(made, v_curve()[:5])
    made.optimizer.add_param_group({"params": [torch.zeros(2, requires_grad=True)], "lr": 0.01})
    Interrupts(monkeypatch, Groups, "_know", 1)
    with pytest.raises(KeyboardInterrupt):
        made.step(1.0)
    made.step(1.0)
    assert made.last_epoch == 6
    assert group_lrs(made) == pytest.approx([made.learning_rate, made.learning_rate / 10])
