"""The optimizers' settings, and timm beside a torchvision whose library does not load."""

import subprocess
import sys

import pytest
import torch

from autowu.train import models, optimizers, torchvision_shim

MODEL = models.build("cnn", (1, 8, 8), 10, "batch")


def test_adamp_has_the_settings_of_appendix_a():
    optimizer = optimizers.build("adamp", MODEL)
    assert type(optimizer).__module__.startswith("timm.")
    group = optimizer.param_groups[0]
    assert group["weight_decay"] == 0.1
    assert group["betas"] == (0.9, 0.999)
    assert group["eps"] == 1e-8
    assert group["delta"] == 0.1
    assert group["lr"] == 0.001


def test_lamb_has_the_settings_of_appendix_a_and_clips():
    optimizer = optimizers.build("lamb", MODEL)
    assert type(optimizer).__module__.startswith("timm.")
    group = optimizer.param_groups[0]
    assert group["weight_decay"] == 0.1
    assert group["betas"] == (0.9, 0.999)
    assert group["eps"] == 1e-6
    assert group["lr"] == 0.01
    assert optimizer.defaults["max_grad_norm"] == 1.0
    assert optimizer.defaults["bias_correction"]


def test_adamw_and_sgd():
    adamw = optimizers.build("adamw", MODEL).param_groups[0]
    assert (adamw["betas"], adamw["eps"], adamw["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.1)
    sgd = optimizers.build("sgd", MODEL).param_groups[0]
    assert (sgd["momentum"], sgd["nesterov"], sgd["weight_decay"]) == (0.9, True, 5e-4)


@pytest.mark.parametrize("name", ["adamp", "lamb", "adamw", "sgd"])
def test_weight_decay_and_its_exclusions(name):
    matrices, vectors = optimizers.build(name, MODEL, weight_decay=0.3, lr=0.7).param_groups
    assert {p.ndim for p in matrices["params"]} == {2, 4}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0)
    assert (matrices["lr"], vectors["lr"]) == (0.7, 0.7)

    (group,) = optimizers.build(name, MODEL, weight_decay=0.3, weight_decay_on="all").param_groups
    assert group["weight_decay"] == 0.3
    assert len(group["params"]) == len(list(MODEL.parameters()))


def test_torchvision_and_timm_can_be_imported_after_the_shim():
    code = (
        "from autowu.train import torchvision_shim as shim; first = shim.install(); "
        "import torchvision.transforms.v2, timm; "
        "assert not shim.install(); print(first == (not torchvision.extension._has_ops()))"
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert out.stdout == "True\n", out.stderr


def test_the_shim_leaves_a_torchvision_alone_that_is_imported_or_absent_or_whole(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision_shim, "_declared", [])
    monkeypatch.setitem(sys.modules, "torchvision", object())
    assert not torchvision_shim.install()

    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.setattr(torchvision_shim.importlib.util, "find_spec", lambda name: None)
    assert not torchvision_shim.install()

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    (tmp_path / "_C.so").touch()
    monkeypatch.setattr(torchvision_shim.importlib.util, "find_spec", lambda name: Spec)
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    assert not torchvision_shim.install()
