"""Muon for hidden weights, beside AdamW for the rest."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import autowu
from autowu.errors import UserError
from autowu.train import models
from autowu.train.optimizers import muon, table
from autowu.train.settings.options import Settings
from train.learning import TASK, TEXT, Digits, assert_resumes
from train.optimizers import MODEL, build

has_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch 2.9 or newer has it")


def names_by_optimizer(model, optimizer):
    """Names of the parameters for Muon, and of the others."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [
        {names[p] for group in optimizer.param_groups if group["muon"] == flag for p in group["params"]}
        for flag in (True, False)
    ]


@has_muon
def test_muon_takes_hidden_weights_and_adamw_the_rest():
    cnn = models.build(Settings(model="cnn"), TASK)
    by_muon, by_adamw = names_by_optimizer(cnn, build("muon", cnn))
    assert by_muon == {"features.1.0.weight", "features.2.0.weight"}
    assert {"features.0.0.weight", "classify.weight", "classify.bias", "features.1.1.weight"} < by_adamw

    gpt = models.build(Settings(model="gpt", data="some.txt"), TEXT)
    by_muon, by_adamw = names_by_optimizer(gpt, build("muon", gpt))
    layers = ("query_key_value", "attention_out", "mlp_in", "mlp_out")
    assert by_muon == {f"blocks.{i}.{layer}.weight" for i in range(2) for layer in layers}
    assert {"tokens.weight", "positions.weight"} < by_adamw

    vit = models.build(Settings(model="vit"), TASK)
    by_muon, by_adamw = names_by_optimizer(vit, build("muon", vit))
    assert len(by_muon) == 4 * 4
    assert {"patches.weight", "positions", "classify.weight"} < by_adamw

    grouped = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
    )
    by_muon, _ = names_by_optimizer(grouped, build("muon", grouped))
    assert by_muon == {"2.weight"}


@has_muon
@pytest.mark.parametrize("on", ["matrices", "all"])
def test_muons_groups_have_weight_decay_as_the_others(on):
    optimizer = build("muon", weight_decay=0.3, weight_decay_on=on)
    decays = {
        (group["muon"], parameter.ndim >= 2): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decays == {(True, True): 0.3, (False, True): 0.3, (False, False): 0.3 if on == "all" else 0.0}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(MODEL.parameters()))


def gradients(parameters, step):
    torch.manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)


@has_muon
@pytest.mark.parametrize("channels_last", [False, True])
def test_muon_is_pytorchs_on_matrices_and_on_kernels_as_matrices(channels_last):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3), nn.Linear(6, 5), nn.Linear(5, 2))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    kernel, weight = model[1].weight, model[2].weight

    def as_matrix(tensor):
        return (tensor.permute(0, 2, 3, 1) if channels_last else tensor).reshape(len(tensor), -1)

    rest = [p for p in model.parameters() if p is not kernel and p is not weight]
    copies = [nn.Parameter(as_matrix(kernel.detach()).clone()), nn.Parameter(weight.detach().clone())]
    rest_copies = [nn.Parameter(p.detach().clone()) for p in rest]
    options = {"lr": 0.01, "weight_decay": 0.1}
    theirs = torch.optim.Muon(copies, adjust_lr_fn="match_rms_adamw", **options)
    adamw = torch.optim.AdamW(rest_copies, **options)
    own = build("muon", model, schedule="constant", lr=0.01, weight_decay_on="all")
    for step in range(4):
        gradients(model.parameters(), step)
        for parameter, twin in zip([kernel, weight, *rest], [*copies, *rest_copies], strict=True):
            twin.grad = (as_matrix(parameter.grad) if parameter is kernel else parameter.grad).clone()
        own.step(), theirs.step(), adamw.step()
    assert torch.equal(as_matrix(kernel), copies[0])
    assert torch.equal(weight, copies[1])
    assert all(map(torch.equal, rest, rest_copies))


@has_muon
def test_muon_skips_parameters_without_a_gradient():
    model = models.build(Settings(model="mlp"), TASK)
    optimizer = build("muon", model)
    before = copy.deepcopy(model.state_dict())
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@has_muon
def test_a_schedule_keeps_the_ratios_of_muons_groups():
    optimizer = build("muon")
    optimizer.param_groups[0]["lr"] *= 3
    schedule = autowu.AutoWU(optimizer, 100)
    assert schedule.get_last_lr() == pytest.approx([3e-5, 1e-5, 1e-5])
    assert [group["lr"] for group in optimizer.param_groups] == schedule.get_last_lr()


@has_muon
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_muon_resumes_bit_for_bit(model):
    assert_resumes(30, 11, optimizer="muon", schedule="constant", model=model)


@has_muon
def test_autowu_drives_muon_rewinds_it_and_resumes():
    run = Digits(352, optimizer="muon")
    run.learn(352)
    switch = run.method.schedule.switch
    assert switch is not None
    assert switch.rewound_to is not None
    assert run.accuracy() > 0.95
    assert_resumes(switch.step + 8, switch.step - 4, optimizer="muon", set={"warmup_fraction": 0.9})


@has_muon
def test_rewinding_puts_muons_state_back():
    from autowu.integrations.torch.snapshot import Snapshot

    model = models.build(Settings(model="cnn"), TASK)
    optimizer = build("muon", model)

    def updates(first):
        for step in range(first, first + 3):
            gradients(model.parameters(), step)
            optimizer.step()
        return copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))

    updates(0)
    snapshot = Snapshot([optimizer], model, None)
    snapshot.take()
    weights, state = updates(3)
    snapshot.restore()
    again, state_again = updates(3)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert all(torch.equal(state[i][key], state_again[i][key]) for i in state for key in state[i])


def test_muon_needs_hidden_layers():
    with pytest.raises(UserError, match="--optimizer muon is for models with hidden layers"):
        muon.split(table.groups(nn.Linear(3, 2), 0.1, "matrices"), nn.Linear(3, 2))


def test_an_old_pytorch_has_no_muon(monkeypatch):
    monkeypatch.setattr(table.torch, "optim", SimpleNamespace())
    with pytest.raises(UserError, match=r"--optimizer muon needs PyTorch 2\.9 or newer, not 2\."):
        build("muon")
