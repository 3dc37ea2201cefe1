"""AdamP is timm's, to the bit, and reads nothing from the device."""

import copy

import pytest
import torch
from torch import nn

from autowu.integrations import torchvision_shim
from autowu.train import models
from autowu.train.optimizers import table
from autowu.train.run.randomness import generator
from autowu.train.settings.options import Settings
from train.learning import TASK

torchvision_shim.install()
from autowu.train.optimizers import adamp  # noqa: E402, which imports timm


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
    message = f"{name} must be False|unexpected keyword argument '{name}'"  # of an old timm, which has none
    with pytest.raises((ValueError, TypeError), match=message):
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
