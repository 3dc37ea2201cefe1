"""Published methods: as their authors' documentation uses them, learning, resumed, over several processes."""

import itertools
import sys
import warnings
from importlib import import_module
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train.settings.options import Peer
from train.learning import STEPS_PER_EPOCH, Digits, assert_resumes, batches, equal

PACKAGES = {
    "nadamw": "timm",
    "schedule-free": "schedulefree",
    "prodigy": "prodigyopt",
    "d-adaptation": "dadaptation",
    "mechanic": "mechanic_pytorch",
    "l-dog": "dog",
    "momo": "momo",
    "gen": "GeN",
    "lr-finder": "torch_lr_finder",
    "greedy": "transformers",
    "salsa": "statopt",
}
OPTIMIZER = dict.fromkeys(PACKAGES, "adamw") | {"l-dog": "sgd", "salsa": "sgd"}
STEPS = 7 * STEPS_PER_EPOCH


def peer(name, steps=STEPS, **chosen):
    """A run of the method, if its package is there."""
    torchvision_shim.install()
    pytest.importorskip(PACKAGES[name])
    return Digits(steps, **{"schedule": name, "optimizer": OPTIMIZER[name]} | chosen)


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


# --- as their authors use them ------------------------------------------------------------------------


def plain(run, step, updates=40):
    """``run``'s weights after a plain loop in which ``step(loss, batch)`` updates them."""
    for batch, _ in zip(batches(0), range(updates), strict=False):
        loss = functional.cross_entropy(run.model(batch.inputs), batch.targets)
        loss.backward()
        step(loss, batch)
        run.model.zero_grad()
    return list(run.model.parameters())


def assert_same(own, theirs, **tolerance):
    own.learn(40)
    for a, b in zip(own.model.parameters(), theirs, strict=True):
        torch.testing.assert_close(a, b, **tolerance or {"rtol": 0, "atol": 0})


def test_schedule_free_is_the_packages():
    own, other = peer("schedule-free", warmup_steps=5), peer("schedule-free")
    optimizer = import_module("schedulefree").AdamWScheduleFree(other.model.parameters(), warmup_steps=5)
    optimizer.train()
    theirs = plain(other, lambda loss, batch: optimizer.step())
    assert_same(own, theirs)
    assert own.method.schedule.get_last_lr()[0] == 0.0025


def test_schedule_free_evaluates_the_average_with_its_own_statistics():
    run = peer("schedule-free")
    run.learn(30)
    x = [run.method.optimizer.state[p]["z"] for p in run.model.parameters()]
    trained = [p.detach().clone() for p in run.model.parameters()]
    statistics = [buffer.clone() for name, buffer in run.model.named_buffers() if "running" in name]
    run.method.eval(batches(30))
    # y = β x + (1 - β) z, so that x = (y - (1 - β) z) / β, with β = 0.9.
    for p, y, z in zip(run.model.parameters(), trained, x, strict=True):
        torch.testing.assert_close(p, (y - 0.1 * z) / 0.9, rtol=1e-4, atol=1e-6)
    assert run.model.training
    average = [buffer for name, buffer in run.model.named_buffers() if "running" in name]
    assert not any(map(torch.equal, statistics, average))
    run.method.train()
    assert all(map(torch.equal, trained, run.model.parameters()))
    assert all(map(torch.equal, statistics, average))


@pytest.mark.parametrize(
    ("name", "module", "optimizer"),
    [("prodigy", "prodigyopt", "Prodigy"), ("d-adaptation", "dadaptation", "DAdaptAdam")],
)
def test_distance_methods_are_the_packages_with_a_cosine(name, module, optimizer):
    own, other = peer(name, steps=60), peer(name, steps=60)
    theirs = getattr(import_module(module), optimizer)(other.model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 60)

    def step(loss, batch):
        theirs.step()
        schedule.step()

    weights = plain(other, step)
    assert_same(own, weights, rtol=1e-4, atol=1e-6)  # PyTorch's cosine is recursive
    group = theirs.param_groups[0]
    assert own.method.schedule.get_last_lr()[0] == pytest.approx(group["d"] * group["lr"], rel=1e-4)


def test_mechanic_is_the_packages():
    own, other = peer("mechanic", steps=60), peer("mechanic", steps=60)
    mechanize = import_module("mechanic_pytorch").mechanize
    theirs = mechanize(torch.optim.AdamW)(other.model.parameters(), lr=1.0, weight_decay=0.1)
    cosine = torch.optim.lr_scheduler.LambdaLR(theirs, lambda n: 0.5 * (1 + np.cos(np.pi * n / 60)).item())

    def step(loss, batch):
        theirs.step()
        cosine.step()

    own = peer("mechanic", steps=60, weight_decay_on="all")
    assert_same(own, plain(other, step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_l_dog_is_the_packages_with_its_averaging(model):
    own, other = peer("l-dog", model=model), peer("l-dog", model=model)
    dog = import_module("dog")
    optimizer = dog.LDoG(other.model.parameters(), reps_rel=1e-4)  # the advice for networks with BatchNorm
    averager = dog.PolynomialDecayAverager(other.model)

    def step(loss, batch):
        optimizer.step()
        averager.step()

    assert_same(own, plain(other, step))
    own.method.eval()
    assert equal(dict(own.model.state_dict()), dict(averager.averaged_model.state_dict()))


@pytest.mark.parametrize(("optimizer", "theirs"), [("adamw", "MomoAdam"), ("sgd", "Momo")])
def test_momo_is_the_packages(optimizer, theirs):
    own, other = peer("momo", optimizer=optimizer), peer("momo", optimizer=optimizer)
    reference = getattr(import_module("momo"), theirs)(other.model.parameters())
    assert_same(own, plain(other, lambda loss, batch: reference.step(loss=loss)))


def test_gen_is_the_packages():
    own, other = peer("gen", steps=100), peer("gen", steps=100)
    optimizer = torch.optim.AdamW(other.model.parameters(), lr=1e-4, weight_decay=0.1)
    done = 0

    def step(loss, batch):
        nonlocal done
        if (done + 1) % 4 == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import_module("GeN").lr_parabola(
                    other.model,
                    optimizer,
                    tr_iter=iter([batch]),
                    device="cpu",
                    task="image_cls",
                    scale=1 - done / 100,
                )
        optimizer.step()
        done += 1

    own = peer("gen", steps=100, weight_decay_on="all")
    assert_same(own, plain(other, step))
    assert own.method.schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]] != [1e-4]


def test_nadamw_has_algoperfs_configuration():
    run = peer("nadamw", steps=100)
    lrs = []
    for _ in range(100):
        lrs.append(run.method.schedule.get_last_lr()[0])
        run.method.schedule.step(torch.tensor(0.0))
    peak = 0.00190834618600756
    assert lrs[:11] == pytest.approx([peak * step / 10 for step in range(11)])
    assert lrs[55] == pytest.approx(peak / 2)
    assert lrs[-1] < peak / 1000
    group = run.method.optimizer.param_groups[0]
    assert group["betas"] == pytest.approx((0.90909347751, 0.998898321921855))
    assert (group["weight_decay"], group["eps"]) == (0.08121616522670176, 1e-8)


def test_nadamw_is_adamw_with_nesterovs_momentum():
    # Dozat (2016) without momentum decay: m̂ = (β₁ m + (1 - β₁) g) / (1 - β₁ⁿ), v̂ = v / (1 - β₂ⁿ).
    run = peer("nadamw", warmup_steps=0, weight_decay=0.0)
    parameter = next(run.model.parameters())
    x = parameter.detach().clone().double()
    beta1, beta2 = run.method.optimizer.param_groups[0]["betas"]
    m = v = torch.zeros_like(x)
    for step, batch in zip(range(1, 6), batches(0), strict=False):
        lr = run.method.optimizer.param_groups[0]["lr"]
        functional.cross_entropy(run.model(batch.inputs), batch.targets).backward()
        g = parameter.grad.double()
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        ahead = (beta1 * m + (1 - beta1) * g) / (1 - beta1**step)
        x = x - lr * ahead / ((v / (1 - beta2**step)).sqrt() + 1e-8)
        run.method.optimizer.step()
        run.method.schedule.step(torch.tensor(0.0))
        run.model.zero_grad()
    torch.testing.assert_close(parameter, x.float(), rtol=1e-4, atol=1e-6)


def test_greedy_is_the_packages():
    own, other = peer("greedy", lr=0.002), peer("greedy")
    optimizer = torch.optim.AdamW(other.model.parameters(), lr=0.002, weight_decay=0.1)
    greedy = import_module("transformers.optimization").GreedyLR(optimizer)

    def step(loss, batch):
        optimizer.step()
        greedy.step(loss.item())

    own = peer("greedy", lr=0.002, weight_decay_on="all")
    assert_same(own, plain(other, step))
    assert own.method.schedule.get_last_lr()[0] == greedy.get_last_lr()[0] != 0.002


def test_salsa_is_the_packages():
    own, other = peer("salsa"), peer("salsa")
    optimizer = import_module("statopt").SALSA(
        other.model.parameters(),
        lr=1e-3,
        momentum=0.9,
        weight_decay=5e-4,
        gamma=STEPS_PER_EPOCH**-0.5,
        testfreq=STEPS_PER_EPOCH,
    )

    def step(loss, batch):
        def evaluate(eval_mode=True):
            if eval_mode:
                other.model.eval()
            with torch.no_grad():
                return functional.cross_entropy(other.model(batch.inputs), batch.targets)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # add_() with its arguments in an old order
            optimizer.step(evaluate)
        other.model.train()

    own = peer("salsa", weight_decay_on="all")
    assert_same(own, plain(other, step))
    assert own.method.schedule.get_last_lr()[0] == optimizer.param_groups[0]["lr"] > 0.01


# --- the range test -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_range_test_leaves_the_weights_alone_and_its_suggestion_is_the_peak(model):
    run = peer("lr-finder", model=model)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    found = run.prepare()
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert all(parameter.grad is None for parameter in run.model.parameters())
    assert not run.method.optimizer.state
    assert 1e-4 < found["peak_lr"] < 1
    assert found["range_test_updates"] <= 100
    assert run.method.schedule.peak_lr == found["peak_lr"]
    lrs = [group["lr"] for group in run.method.optimizer.param_groups]
    assert lrs == pytest.approx([found["peak_lr"] / 25] * 2)
    assert run.prepare() == found  # the same data, the same suggestion

    package = import_module("torch_lr_finder")
    plain = peer("lr-finder", model=model)
    optimizer = torch.optim.AdamW(plain.model.parameters(), lr=1e-7, weight_decay=0.1)
    finder = package.LRFinder(plain.model, optimizer, torch.nn.CrossEntropyLoss())
    data = list(itertools.islice(batches(0), 100))
    loader = torch.utils.data.DataLoader(data, batch_size=None, collate_fn=tuple)
    finder.range_test(loader, end_lr=10, num_iter=100)
    _, suggestion = finder.plot(ax=import_module("matplotlib.figure").Figure().subplots())
    chosen = peer("lr-finder", model=model, weight_decay_on="all")
    assert chosen.prepare()["peak_lr"] == pytest.approx(suggestion)


def test_a_loss_that_explodes_at_once_gives_no_suggestion():
    run = peer("lr-finder")
    calls = []

    def explodes(outputs, targets):
        calls.append(1)
        return functional.cross_entropy(outputs, targets) * 10.0 ** len(calls)

    with pytest.raises(UserError, match="--schedule lr-finder: Need at least 17 iterations"):
        run.method.prepare(run.model, batches(0), explodes)


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


def test_the_range_test_follows_the_mean_loss_and_the_mean_gradients():
    still = peer("lr-finder", reduce=lambda value: value if value.ndim == 0 else 0 * value, weight_decay=0.0)
    assert still.prepare()["range_test_best_loss"] > 2

    run = peer("lr-finder", reduce=lambda value: value + 1 if value.ndim == 0 else value)
    alone = peer("lr-finder")
    assert run.prepare()["range_test_best_loss"] == pytest.approx(alone.prepare()["range_test_best_loss"] + 1)


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
