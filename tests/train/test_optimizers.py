"""The optimizers' settings, and which parameters weight decay is for."""

import pytest
import torch

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from train.optimizers import MODEL, build

torchvision_shim.install()


def test_adamp_has_the_settings_of_appendix_a():
    optimizer = build("adamp")
    assert type(optimizer).__mro__[1].__module__.startswith("timm.")
    group = optimizer.param_groups[0]
    assert group["weight_decay"] == 0.1
    assert group["betas"] == (0.9, 0.999)
    assert group["eps"] == 1e-8
    assert group["delta"] == 0.1
    assert group["lr"] == 0.001


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


def test_lamb_clips_unless_told_not_to():
    for clips, moved in ((True, 1.0), (False, 8.0)):
        model = torch.nn.Linear(1, 1, bias=False)
        optimizer = build("lamb", model, lamb_clip=clips)
        model.weight.grad = torch.full((1, 1), 8.0)
        optimizer.step()
        (state,) = optimizer.state.values()
        assert state["exp_avg"].item() == pytest.approx(0.1 * moved)
    with pytest.raises(UserError, match="--no-lamb-clip is for --optimizer lamb, not adamp"):
        build("adamp", lamb_clip=False)


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
