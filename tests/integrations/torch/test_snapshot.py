"""The snapshot by itself: what it takes, and that it is put back in place."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import autowu
from autowu.integrations.torch.snapshot import Snapshot
from integrations.torch.rewinding import OPTIMIZERS, Odd, seen
from integrations.torch.training import (
    STEPS,
    Training,
    assert_equal,
    parameters,
    v_curve,
)


@pytest.mark.parametrize("watch", [4.0, None])
def test_one_copy_in_one_place_freed_at_the_end_or_without_the_watch_at_the_switch(watch):
    training = Training(watch=watch)
    places, refs, copies = set(), [], set()
    for loss in v_curve():
        training.update()
        training.scheduler.step(loss)
        snapshot = training.scheduler._snapshot
        if training.scheduler.switch is not None and watch is None:
            break
        if training.scheduler._session.state.snapshot_step:  # the first is of before there was state
            places.add(tuple(tensor.data_ptr() for tensor in snapshot.tensors))
            refs = [*map(weakref.ref, snapshot.tensors)]
            copies.add(training.scheduler._session.state.snapshot_step)
    assert len(copies) > 10
    assert len(places) == 1
    del snapshot
    gc.collect()
    assert [ref() for ref in refs if ref() is not None] == []


def test_the_copy_is_no_larger_than_stated():
    """12 bytes a parameter for AdamW in float32."""
    model = nn.Linear(1000, 100, bias=False)
    optimizer = AdamW(model.parameters())
    made = autowu.AutoWU(optimizer, STEPS)
    for loss in v_curve()[:40]:
        model(torch.ones(1, 1000)).sum().backward()
        optimizer.step()
        made.step(loss)
    size = sum(tensor.nbytes for tensor in made._snapshot.tensors)
    assert 12 * 100_000 <= size <= 12 * 100_000 + 100


def test_state_that_came_into_being_since_is_removed():
    weights = parameters(3, 2)
    optimizer = SGD(weights, lr=0.1, momentum=0.9)
    snapshot = Snapshot([optimizer], None, None)
    snapshot.take()
    before = [weight.detach().clone() for weight in weights]
    for _ in range(3):
        optimizer.step()
    assert len(optimizer.state) == 2
    snapshot.restore()
    assert len(optimizer.state) == 0
    assert_equal([weight.detach() for weight in weights], before)


def test_restoring_twice():
    weights = parameters(3)
    optimizer = Odd(weights)
    for _ in range(3):
        optimizer.step()
    snapshot = Snapshot([optimizer], None, None)
    snapshot.take()
    then = seen(optimizer, nn.ParameterList(weights))
    for _ in range(2):
        for _ in range(4):
            optimizer.step()
        snapshot.restore()
        assert_equal(seen(optimizer, nn.ParameterList(weights)), then)


def test_gradients_and_aliases_survive():
    """The weights are written in place: views, optimizers and compiled graphs hold on to them."""
    weights = parameters(3)
    optimizer = AdamW(weights)
    optimizer.step()
    snapshot = Snapshot([optimizer], None, None)
    snapshot.take()
    view, moment = weights[0].detach()[1:], optimizer.state[weights[0]]["exp_avg"]
    then = view.clone(), moment.clone()
    optimizer.step()
    snapshot.restore()
    assert_equal((view, moment), then)
    assert optimizer.state[weights[0]]["exp_avg"] is moment
    assert weights[0].requires_grad
    assert weights[0].grad is not None


def test_the_first_copy_is_of_before_the_first_update():
    """Which may be one too many: its ReLUs are dead, or its weights NaN."""
    training = Training()
    before = [each.clone() for each in training.model.parameters()]
    training.update()
    kept = training.scheduler._snapshot
    assert kept.kept
    for parameter, first in zip(training.model.parameters(), before, strict=True):
        assert not torch.equal(parameter, first)
    with torch.no_grad():
        kept.restore()
    for parameter, first in zip(training.model.parameters(), before, strict=True):
        assert torch.equal(parameter, first)
    assert all(not held for held in training.optimizer.state.values())  # it begins anew


@pytest.mark.parametrize("updates", [0, 1, 2])
def test_a_state_of_the_first_updates_is_gone_on_from(updates):
    whole, first, second = Training(), Training(), Training()
    expected = whole.run(STEPS)
    begun = first.run(updates)
    second.load(copy.deepcopy(first.state()))
    assert second.scheduler._snapshot.kept == (updates > 0)
    assert begun + second.run(STEPS) == expected
    assert second.scheduler.switch == whole.scheduler.switch


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_from_the_first_copy_a_run_repeats_itself(name):
    """Whatever the optimizer keeps, and wherever: state, counts in its groups, attributes."""
    training, losses = Training(OPTIMIZERS[name]), []
    for _ in range(2):
        losses.append([])
        for step in range(4):
            training.optimizer.zero_grad()
            loss = training.loss(step)
            loss.backward()
            training.optimizer.step()
            losses[-1].append(float(loss.detach()))
        with torch.no_grad():
            training.scheduler._snapshot.restore()
    assert losses[0] == losses[1]
