"""The optimizers' settings, Muon beside AdamW, and timm beside a torchvision whose library does not load."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import autowu
from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train import models
from autowu.train.optimizers import muon, table
from autowu.train.run.randomness import generator
from autowu.train.settings.options import Settings
from train.learning import TASK, TEXT, Digits, assert_resumes

torchvision_shim.install()
from autowu.train.optimizers import adamp  # noqa: E402, which imports timm

MODEL = models.build(Settings(model="cnn"), TASK)


def build(name, model=MODEL, **settings):
    return table.build(Settings(optimizer=name, **settings), model)


def test_adamp_has_the_settings_of_appendix_a():
    optimizer = build("adamp")
    assert type(optimizer).__mro__[1].__module__.startswith("timm.")
    group = optimizer.param_groups[0]
    assert group["weight_decay"] == 0.1
    assert group["betas"] == (0.9, 0.999)
    assert group["eps"] == 1e-8
    assert group["delta"] == 0.1
    assert group["lr"] == 0.001


def adamp_and_timm_s(updates, *, size=1.0, weight_decay=0.1):
    """Two copies of a network after the same updates; and how many tensors of weights timm projected."""
    from timm.optim import adamp as theirs

    torch.manual_seed(0)
    networks = [models.build(Settings(model="cnn"), TASK)]
    with torch.no_grad():
        for parameter in networks[0].parameters():
            parameter.mul_(size)
    networks.append(copy.deepcopy(networks[0]))
    groups = [table.groups(network, weight_decay, "matrices") for network in networks]
    pair = [adamp.AdamP(groups[0], lr=0.01), theirs.AdamP(groups[1], lr=0.01)]
    projected = 0

    def counting(*arguments):
        nonlocal projected
        update, ratio = project(*arguments)
        projected += ratio != 1
        return update, ratio

    project, theirs.projection = theirs.projection, counting
    try:
        for step in range(updates):
            inputs = torch.rand((32, 1, 8, 8), generator=generator(step, "test"))
            for network, optimizer in zip(networks, pair, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = 0.01 * (step + 1)
                torch.nn.functional.cross_entropy(network(inputs), torch.arange(32) % 10).backward()
                optimizer.step()
                optimizer.zero_grad()
    finally:
        theirs.projection = project
    return networks, pair, projected


@pytest.fixture(params=["asked", "not asked"])
def asked(request, monkeypatch):
    """Whether AdamP may read from the device: both ways are tried on the CPU."""
    if request.param == "not asked":
        monkeypatch.setattr(adamp, "ASKED", frozenset())
        monkeypatch.setattr(adamp, "projection", None)


@pytest.mark.parametrize("weight_decay", [0.1, 0.0])
@pytest.mark.usefixtures("asked")
def test_adamp_is_timm_s_bit_for_bit(weight_decay):
    (ours, theirs), (optimizer, other), projected = adamp_and_timm_s(30, weight_decay=weight_decay)
    tensors = sum(p.ndim > 1 for p in ours.parameters())
    assert 0 < projected < 30 * tensors  # so both answers were given
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
        for name, value in other.state[b].items():
            assert torch.equal(torch.as_tensor(optimizer.state[a][name]), torch.as_tensor(value))


@pytest.mark.usefixtures("asked")
def test_adamp_is_timm_s_with_weights_of_zero_and_of_nan():
    for size in (0.0, float("nan")):
        (ours, theirs), _, _ = adamp_and_timm_s(3, size=size)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def weights_and_gradients(dtype=torch.float32):
    """Of three tensors, for five updates; every second gradient is all but orthogonal to its weights."""
    numbers = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=numbers).to(dtype) for shape in ((6, 4), (8, 3, 3, 3), (5,))]
    gradients = []
    for step in range(5):
        gradients.append([torch.randn(weight.shape, generator=numbers) for weight in weights])
        if step % 2:
            for weight, gradient in zip(weights[:2], gradients[-1], strict=False):
                rows, along = gradient.flatten(1), weight.float().flatten(1)
                rows -= along * ((rows * along).sum(1) / (along * along).sum(1))[:, None]
    return weights, [[gradient.to(dtype) for gradient in each] for each in gradients]


def updated(optimizer_class, weights, gradients):
    """The weights after the updates."""
    parameters = [nn.Parameter(weight.clone()) for weight in weights]
    optimizer = optimizer_class(parameters, lr=0.03, weight_decay=0.3, wd_ratio=0.1)
    for each in gradients:
        for parameter, gradient in zip(parameters, each, strict=True):
            parameter.grad = gradient
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("asked")
def test_adamp_is_timm_s_in_every_format(dtype):
    from timm.optim import adamp as theirs

    given = weights_and_gradients(dtype)
    for ours, other in zip(updated(adamp.AdamP, *given), updated(theirs.AdamP, *given), strict=True):
        assert torch.equal(ours, other)


def test_adamp_of_shards_is_that_of_the_whole(tmp_path):
    tensor = pytest.importorskip("torch.distributed.tensor")
    if not hasattr(tensor, "Shard"):
        pytest.skip("PyTorch 2.5 or newer has it")
    Shard, distribute_tensor = tensor.Shard, tensor.distribute_tensor

    weights, gradients = weights_and_gradients()
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = torch.distributed.init_device_mesh("cpu", (1,))

        def shards(tensors):
            return [distribute_tensor(tensor, mesh, [Shard(0)]) for tensor in tensors]

        found = updated(adamp.AdamP, shards(weights), map(shards, gradients))
        whole = updated(adamp.AdamP, weights, gradients)
        for ours, other in zip(found, whole, strict=True):
            torch.testing.assert_close(ours.full_tensor(), other, rtol=1e-5, atol=1e-6)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", ["nesterov", "caution"])
def test_adamp_refuses_what_it_does_not_do(name):
    # An old timm has no caution to refuse.
    with pytest.raises(
        (ValueError, TypeError), match=f"{name} must be False|unexpected .* argument '{name}'"
    ):
        adamp.AdamP([nn.Parameter(torch.zeros(2))], **{name: True})


def test_adamp_reads_nothing_from_the_device():
    """Meta tensors have no numbers: to read one is an error, as it is with timm's."""
    from timm.optim import adamp as theirs

    with torch.device("meta"):
        network = nn.Conv2d(3, 8, 3)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    adamp.AdamP(network.parameters(), weight_decay=0.1).step()
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        theirs.AdamP(network.parameters(), weight_decay=0.1).step()


def test_lamb_has_the_settings_of_appendix_a_and_clips():
    optimizer = build("lamb")
    assert type(optimizer).__module__.startswith("timm.")
    group = optimizer.param_groups[0]
    assert group["weight_decay"] == 0.1
    assert group["betas"] == (0.9, 0.999)
    assert group["eps"] == 1e-6
    assert group["lr"] == 0.01
    assert optimizer.defaults["max_grad_norm"] == 1.0
    assert optimizer.defaults["bias_correction"]


def test_adamw_and_sgd():
    adamw = build("adamw").param_groups[0]
    assert (adamw["betas"], adamw["eps"], adamw["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.1)
    sgd = build("sgd").param_groups[0]
    assert (sgd["momentum"], sgd["nesterov"], sgd["weight_decay"]) == (0.9, True, 5e-4)


@pytest.mark.parametrize("name", ["adamp", "lamb", "adamw", "sgd"])
def test_weight_decay_and_its_exclusions(name):
    chosen = {"weight_decay": 0.3, "schedule": "baseline", "lr": 0.7}
    matrices, vectors = build(name, **chosen).param_groups
    assert {p.ndim for p in matrices["params"]} == {2, 4}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0)
    assert (matrices["lr"], vectors["lr"]) == (0.7, 0.7)

    (group,) = build(name, **chosen, weight_decay_on="all").param_groups
    assert group["weight_decay"] == 0.3
    assert len(group["params"]) == len(list(MODEL.parameters()))


# --- Muon ---------------------------------------------------------------------------------------------

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
    snapshot = Snapshot(optimizer, model, None)
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
