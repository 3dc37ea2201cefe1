"""timm beside a torchvision whose library does not load."""

import subprocess
import sys

import torch

from autowu.integrations import torchvision_shim


def test_torchvision_and_timm_can_be_imported_after_the_shim():
    code = (
        "from autowu.integrations import torchvision_shim as shim; first = shim.install(); "
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
