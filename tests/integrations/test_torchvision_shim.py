"""A torchvision that was built for another torch, made here, and whatever torchvision is installed."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")

from autowu.integrations import torchvision_shim  # noqa: E402

# As torchvision does, it passes over a library that does not load, and registers a twin of its operator.
BROKEN = """
import pathlib
import torch
try:
    torch.ops.load_library(pathlib.Path(__file__).with_name("_C.so"))
except OSError:
    pass
@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets
"""
MISSING = "operator torchvision::nms does not exist"


@pytest.fixture
def fake(tmp_path):
    """Makes a package torchvision; gives what a program prints that finds it before any other."""

    def run(program, package=BROKEN):
        folder = tmp_path / "torchvision"
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(package)
        (folder / "_C.so").write_text("built for another torch")
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        return python(program, PYTHONPATH=path)

    return run


def python(program, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_it_is_imported_after_the_shim_and_not_without(fake):
    assert MISSING in fake("import torchvision")
    shim = "from autowu.integrations import torchvision_shim as shim; "
    assert fake(shim + "print(shim.install()); import torchvision; print(shim.install())") == "True\nFalse\n"


@pytest.mark.full
def test_scripts_go_on_to_find_it_in_the_trainer(fake):
    shim = "from autowu.train import torchvision_shim; print(torchvision_shim.install())"
    assert fake(shim + "; import torchvision") == "True\n"


def test_it_helps_after_an_import_that_failed(fake):
    """As in a notebook, whose first cell has imported the framework."""
    program = """
try:
    import torchvision
except RuntimeError as error:
    print(error)
from autowu.integrations import torchvision_shim
print(torchvision_shim.install())
import torchvision
"""
    assert fake(program) == f"{MISSING}\nTrue\n"


@pytest.mark.full
def test_operators_that_others_have_declared_stay(fake):
    program = """
import torch
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from autowu.integrations import torchvision_shim
print(torchvision_shim.install())
import torchvision
"""
    assert fake(program) == "False\n"


@pytest.mark.full
def test_another_error_is_not_hidden(fake):
    program = "from autowu.integrations import torchvision_shim as shim; shim.install(); import torchvision"
    assert "No module named 'of_torchvision'" in fake(program, "import of_torchvision\n")
    assert "operator torchvision::roi_align does not exist" in fake(
        program, BROKEN.replace("::nms", "::roi_align")
    )


def test_it_imports_nothing_and_says_what_it_did(fake):
    program = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stdout)
from autowu.integrations import torchvision_shim
torchvision_shim.install()
print("torchvision" in sys.modules)
"""
    said = fake(program)
    assert said.startswith(
        "autowu.integrations.torchvision_shim: torchvision's compiled operators do not load"
    )
    assert f"beside torch {torch.__version__}" in said
    assert "_C.so" in said  # the linker's reason
    assert said.endswith("\nFalse\n")


def test_one_that_is_imported_or_absent_or_whole_is_left_alone(monkeypatch, tmp_path):
    def not_declared():
        monkeypatch.setattr(torchvision_shim, "_declared", [])
        monkeypatch.setattr(torchvision_shim.torch, "ops", Ops())

    class Ops:
        torchvision = object()
        load_library = staticmethod(lambda path: None)

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    not_declared()
    monkeypatch.setitem(sys.modules, "torchvision", object())
    assert not torchvision_shim.install()

    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.setattr(torchvision_shim.importlib.util, "find_spec", lambda name: None)
    assert not torchvision_shim.install()

    (tmp_path / "_C.so").touch()
    monkeypatch.setattr(torchvision_shim.importlib.util, "find_spec", lambda name: Spec)
    assert not torchvision_shim.install()


@pytest.mark.parametrize(
    ("framework", "program"),
    [
        ("accelerate", "import autowu.integrations.accelerate; from accelerate import Accelerator"),
        *(
            pytest.param(*each, marks=pytest.mark.full)
            for each in (
                ("transformers", "import autowu.integrations.huggingface; from transformers import Trainer"),
                ("lightning", "import autowu.integrations.lightning; import lightning.pytorch"),
                ("pytorch_lightning", "import autowu.integrations.pytorch_lightning"),
                (
                    "timm",
                    "from autowu.train import torchvision_shim; torchvision_shim.install(); import timm",
                ),
            )
        ),
    ],
)
def test_frameworks_can_be_imported_beside_whatever_is_installed(framework, program):
    if not find_spec(framework):
        pytest.skip(f"needs {framework}")
    assert python(program + "; print('imported')").endswith("imported\n")


def test_the_core_knows_nothing_of_it():
    program = "import sys, autowu; print({'torch', 'torchvision'} & set(sys.modules))"
    assert python(program) == "set()\n"
