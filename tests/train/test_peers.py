"""Published methods: learning, resumed, over several processes."""

import sys
from typing import get_args

import pytest
import torch

from autowu.errors import UserError
from autowu.train.settings.options import Peer
from train.learning import Digits, assert_resumes, equal
from train.peers import OPTIMIZER, PACKAGES, STEPS, peer


def test_every_peer_is_tested():
    assert set(PACKAGES) == set(get_args(Peer))


@pytest.mark.parametrize("name", PACKAGES)
def test_it_learns_digits(name):
    run = peer(name)
    found = run.prepare()
    run.learn(STEPS)
    assert run.accuracy() > 0.93
    assert run.method.settings["preset"] == name
    assert run.method.settings["total_steps"] == STEPS
    assert bool(found) == (name == "lr-finder")
    assert run.method.schedule.phase in ("warmup", "decay")
    assert run.method.schedule.switch is None
    assert not run.method.schedule.verdicts


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("name", PACKAGES)
def test_it_resumes_bit_for_bit_from_a_plain_state(name, model):
    run = peer(name)
    run.prepare()
    run.learn(2)
    states = run.method.optimizer.state_dict()["state"]
    assert all(isinstance(state, dict) for state in states.values())  # as PyTorch's optimizers have it
    assert_resumes(30, 27, schedule=name, optimizer=OPTIMIZER[name], model=model, weight_decay_on="all")


@pytest.mark.parametrize("name", PACKAGES)
def test_an_evaluation_leaves_no_trace(name):
    looked, not_looked = peer(name), peer(name)
    for run in (looked, not_looked):
        run.prepare()
        run.learn(7)
    looked.accuracy()
    looked.accuracy()
    assert equal(looked.state_dict(), not_looked.state_dict())
    assert looked.learn(7) == not_looked.learn(7)


# --- several processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["momo", "gen", "greedy", "salsa"])
def test_it_decides_by_the_mean_over_processes_alone(name):
    """A process whose own losses differ, and for which ``reduce`` gives the same means, does the same."""
    means: list[torch.Tensor] = []

    def mean(value):
        means.append(value)
        return value

    here = peer(name, reduce=mean)
    here.learn(24)
    there = peer(name, reduce=lambda value: means.pop(0))
    there.own_loss = lambda loss: 2 * loss + 1
    there.learn(24)
    assert not means
    assert equal(here.state_dict(), there.state_dict())


# --- what cannot be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        *((name, {"optimizer": "lamb"}, f"--schedule {name} is an optimizer itself, in place of")
          for name in ("nadamw", "schedule-free", "prodigy", "d-adaptation", "l-dog", "momo", "salsa")),
        ("momo", {"optimizer": "lamb"}, "in place of adamw or sgd: leave --optimizer lamb out"),
        *((name, {"warmup_steps": 3}, f"--warmup-steps and --warmup-epochs are not for --schedule {name}")
          for name in ("l-dog", "momo", "gen", "greedy", "salsa")),
        ("momo", {"weight_decay": 0.1}, "one weight decay for all parameters: --weight-decay-on all"),
        ("gen", {"precision": "16-mixed"}, "is for --precision 32-true or bf16-mixed, not 16-mixed"),
        ("lr-finder", {"lr": 0.1}, "--lr is not for --schedule lr-finder, which finds it"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said(name, chosen, message):
    with pytest.raises(UserError, match=message):
        peer(name, **chosen)


@pytest.mark.parametrize("name", sorted(PACKAGES.keys() - {"nadamw", "greedy"}))
def test_a_missing_package_is_named(name, monkeypatch):
    module = f"autowu.train.schedules.peers.{name.replace('-', '_')}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    with pytest.raises(ImportError) as error:
        Digits(STEPS, schedule=name, optimizer=OPTIMIZER[name])
    assert error.value.name == PACKAGES[name]
    monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize("name", ["prodigy", "d-adaptation", "salsa", "lr-finder", "gen"])
def test_nothing_is_printed(name, capfd):
    run = peer(name, weight_decay=0.01)
    run.prepare()
    run.learn(8)
    assert capfd.readouterr() == ("", "")
