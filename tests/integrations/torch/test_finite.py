"""A snapshot is worth keeping where the optimizer's state is finite, too, but for what never was."""

import copy

import pytest
import torch
from torch.optim import AdamW

from integrations.torch.training import Training, v_curve

OVERFLOWS = 57  # the update at which the gradients do; the least loss comes after it


def until_rewound(training, *, load_at=None):
    """Real updates until the weights have gone back; gradients overflow once, in their squares alone."""
    for loss in v_curve():
        step = training.scheduler.last_epoch
        training.optimizer.zero_grad()
        training.loss(step).backward()
        if step == OVERFLOWS:
            for parameter in training.model.parameters():
                parameter.grad.fill_(1e25)
        training.optimizer.step()
        training.scheduler.step(loss)
        if step == load_at:
            training = Training(type(training.optimizer)).load(copy.deepcopy(training.state()))
        if training.scheduler.rewinds:
            return training
    raise AssertionError("the weights have not gone back")


@pytest.mark.parametrize("load_at", [None, OVERFLOWS + 3])
def test_weights_that_cannot_move_any_more_are_not_what_is_gone_back_to(load_at):
    with pytest.warns(
        UserWarning, match=r"exp_avg_sq of the optimizer is not finite, though all weig"
    ) as seen:
        training = until_rewound(Training(AdamW), load_at=load_at)
    assert len(seen) == (1 if load_at is None else 2)  # a run that is loaded may tell once more
    assert "step 59 0.weight / exp_avg_sq" in str(seen[0].message)
    assert training.scheduler.switch.rewound_to <= OVERFLOWS
    states = training.optimizer.state.values()
    assert all(each.isfinite().all() for state in states for each in state.values())


def test_a_weight_that_no_loss_depends_on_is_told_of_once():
    # Else no copy would be taken any more, and nobody would know: the losses are as ever.
    training, curve = Training(AdamW), v_curve()

    def run():
        while not training.scheduler.rewinds:
            if training.scheduler.last_epoch == OVERFLOWS:
                with torch.no_grad():
                    next(training.model.parameters()).view(-1)[0] = torch.nan
            training.optimizer.step()
            training.scheduler.step(curve[training.scheduler.last_epoch])

    with pytest.warns(UserWarning, match="copy for rewinding") as seen:
        run()
    message = (
        "AutoWU: at step 59 0.weight is not finite, though the last loss is. As long as it is so no copy for"
        " rewinding is taken; the one before stays."
    )
    assert [str(each.message) for each in seen] == [message]
    assert training.scheduler.switch.rewound_to <= OVERFLOWS
    assert all(each.isfinite().all() for each in training.model.parameters())


class Least(AdamW):
    """It keeps least values, which begin infinite, and remain so where nothing is compared."""

    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        for state in self.state.values():
            state.setdefault("least", torch.full_like(state["exp_avg"], torch.inf))
            state.setdefault("seen", torch.full_like(state["exp_avg"], torch.inf))
            torch.minimum(state["seen"], state["exp_avg"], out=state["seen"])


@pytest.mark.parametrize("load_at", [None, 61])
def test_a_state_that_never_was_finite_keeps_nothing_from_going_back(load_at, monkeypatch):
    monkeypatch.setattr("integrations.torch.test_finite.OVERFLOWS", -1)
    training = until_rewound(Training(Least), load_at=load_at)
    assert training.scheduler.switch.rewound_to == 62
    unjudged = training.scheduler.state_dict()["unjudged"]
    assert [at[-1] for at in unjudged] == ["least"] * len(list(training.model.parameters()))


def test_the_state_of_what_is_frozen_by_now_is_not_judged():
    training = Training(AdamW)
    training.update()
    first = next(training.model.parameters())
    assert training.scheduler._snapshot.healthy()
    training.optimizer.state[first]["exp_avg_sq"].fill_(torch.inf)
    assert not training.scheduler._snapshot.healthy()
    assert training.scheduler._snapshot.broken() == ("0.weight / exp_avg_sq of the optimizer", False)
    first.requires_grad_(False)
    assert training.scheduler._snapshot.healthy()
    assert training.scheduler._snapshot.broken() is None
