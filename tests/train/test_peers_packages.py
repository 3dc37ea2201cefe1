"""Published methods do what their authors' packages do in a plain loop, to the bit or to rounding."""

import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.nn import functional

from train.learning import STEPS_PER_EPOCH, batches, equal
from train.peers import peer


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
