"""Other people's loops: pickled, copied, compiled, under inference mode, stepped by an engine."""

import copy
import io
import json
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import autowu
from integrations.torch.training import STEPS, core_lrs, group_lrs, v_curve


def begin():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = AdamW(model.parameters())
    return model, optimizer, autowu.AutoWU(optimizer, STEPS, model=model)


def train(model, optimizer, made, losses):
    for step, loss in enumerate(losses):
        model(torch.linspace(-1, 1, 12).view(4, 3) * (step % 3 + 1)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        made.step(torch.tensor(loss))
    return [p.detach().clone() for p in model.parameters()]


def saved(objects):
    file = io.BytesIO()
    torch.save(objects, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "pickle": lambda objects: pickle.loads(pickle.dumps(objects)),
    "deepcopy": copy.deepcopy,
    "torch.save": saved,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize(
    "at", [40, 64, *(pytest.param(at, marks=pytest.mark.full) for at in (0, 5, 63, 100, 200))]
)
def test_a_copied_run_goes_on_as_the_original(way, at):
    unbroken = begin()
    expected = train(*unbroken, v_curve())
    one = begin()
    train(*one, v_curve()[:at])
    model, optimizer, made = COPIES[way](one)
    assert made.optimizer is optimizer
    assert all(map(torch.equal, expected, train_from(model, optimizer, made, at)))
    assert made.switch == unbroken[2].switch
    assert all(map(torch.equal, expected, train_from(*one, at)))  # the copy took nothing from it


@pytest.mark.parametrize("as_loss", [float, torch.tensor])
def test_a_copy_of_a_copy_has_room_for_all_losses_that_are_still_to_come(as_loss):
    made = autowu.AutoWU(
        SGD([nn.Parameter(torch.ones(2))], lr=0.1), 4_000, preset="paper", steps_per_epoch=200
    )
    for at in (0, 20, 100, 130):
        while made.last_epoch < at:
            made.step(as_loss(1.0))
        made = copy.deepcopy(made)
    while made.last_epoch < 300:
        made.step(as_loss(1.0))


def train_from(model, optimizer, made, at):
    for step in range(at, STEPS):
        model(torch.linspace(-1, 1, 12).view(4, 3) * (step % 3 + 1)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        made.step(torch.tensor(v_curve()[step]))
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_step_under_inference_mode_is_one_like_any(mode):
    expected = train(*begin(), v_curve())
    model, optimizer, made = begin()
    for step, loss in enumerate(v_curve()):
        model(torch.linspace(-1, 1, 12).view(4, 3) * (step % 3 + 1)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 2:
            with mode():
                made.step(torch.tensor(loss))
        else:
            made.step(torch.tensor(loss))
    assert all(map(torch.equal, expected, model.parameters()))


COMPILED = """
import json, sys, torch, autowu
optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=torch.tensor(1e-3))
scheduler = autowu.AutoWU(optimizer, 240)

graphs = []
def backend(graph, _):
    graphs.append(graph)
    return graph.forward

@torch.compile(backend=backend)
def update(loss):
    optimizer.step()
    scheduler.step(loss)

lrs, compiled = [], []
for loss in json.loads(sys.argv[1]):
    optimizer.param_groups[0]["params"][0].grad = torch.full((3,), 0.1)
    update(torch.tensor(loss))
    lrs.append(optimizer.param_groups[0]["lr"].item())
    compiled.append(len(graphs))
print(json.dumps([lrs, compiled]))
"""


def test_a_compiled_function_may_step_both():
    """In a process of its own: the compiler leaves traces in one."""
    run = subprocess.run(
        [sys.executable, "-c", COMPILED, json.dumps(v_curve())], check=True, capture_output=True, text=True
    )
    expected = core_lrs(autowu.Config(total_steps=STEPS), v_curve())[1:]
    lrs, compiled = json.loads(run.stdout)
    assert lrs == [torch.tensor(lr).item() for lr in expected]
    assert compiled[2] == compiled[-1]  # no count and no LR that has changed is compiled anew


# --- engines ------------------------------------------------------------------------------------------


class Engine:
    """Steps a scheduler as DeepSpeed's engine does, after each applied update."""

    def __init__(self, optimizer, scheduler, accumulation=1, batch_size=32):
        self.optimizer, self.scheduler = optimizer, scheduler
        self.accumulation, self.batch_size, self.micro_steps = accumulation, batch_size, 0

    def step(self):
        self.micro_steps += 1
        if self.micro_steps % self.accumulation:
            return
        self.optimizer.step()
        try:
            self.scheduler.step()
        except TypeError:  # "Hack to work with Megatron 2.0": the batch size
            self.scheduler.step(self.batch_size)


def test_an_engine_that_steps_without_a_loss_is_told_at_once():
    made = autowu.AutoWU(SGD([nn.Parameter(torch.ones(3))], lr=0.1), STEPS)
    engine = Engine(made.optimizer, made)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"needs the training loss of the update: call step\(loss\)"):
            engine.step()
    assert made.last_epoch == 0
    assert not len(made.state_dict()["pending"]["losses"])


@pytest.mark.parametrize("batch_size", [32, 1])
def test_an_integer_right_after_a_step_without_a_loss_is_no_loss(batch_size):
    made = autowu.AutoWU(SGD([nn.Parameter(torch.ones(3))], lr=0.1), STEPS)
    with pytest.raises(RuntimeError):
        made.step()
    for _ in range(2):
        with pytest.raises(ValueError, match=f"not the integer {batch_size} right after a step"):
            made.step(batch_size)
    assert made.last_epoch == 0
    made.step(0.7)
    made.step(3)  # a whole number is a loss like any
    assert made.last_epoch == 2


@pytest.mark.parametrize("accumulation", [1, 4])
def test_an_engine_is_driven_by_observing_the_loss_before_its_step(accumulation):
    made = autowu.AutoWU(SGD([nn.Parameter(torch.ones(3))], lr=0.1), STEPS)
    engine = Engine(made.optimizer, made, accumulation)
    lrs = [group_lrs(made)[0]]
    for loss in v_curve():
        for _ in range(accumulation):
            made.observe(torch.tensor(loss))
            engine.step()
        lrs.append(group_lrs(made)[0])
    assert lrs == core_lrs(made.config, v_curve())
    state = pickle.loads(pickle.dumps(made.state_dict()))  # what the engine's checkpoint does with it
    again = autowu.AutoWU(SGD([nn.Parameter(torch.ones(3))], lr=0.1), STEPS)
    again.load_state_dict(state)
    assert group_lrs(again) == group_lrs(made)


def test_a_loss_that_never_falls_is_told_and_its_run_is_not_undone():
    """As of GANs and in reinforcement learning."""
    torch.manual_seed(0)
    model, optimizer, made = begin()
    losses = [1 + 0.1 * torch.randn(()).item() for _ in range(STEPS)]
    with pytest.warns(UserWarning, match="The loss has shown no fall.*AutoWU is not for it"):
        train(model, optimizer, made, losses)
    assert made.switch.reason == "no fall"
    assert made.switch.rewound_to is None
