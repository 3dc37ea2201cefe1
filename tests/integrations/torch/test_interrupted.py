"""A decision that is interrupted (Ctrl-C waits for the device there), or fails, is made up for."""

import copy

import pytest

from autowu.integrations.torch import snapshot
from autowu.integrations.torch.pending import PendingLosses
from integrations.torch.training import STEPS, drive, scheduler, v_curve


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
