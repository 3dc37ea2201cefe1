"""Lets ``import torchvision`` work where its compiled operators do not load.

A torchvision built for CUDA beside a PyTorch built for CPUs (or for another CUDA) cannot load its library
``_C``. It goes on without, and then registers a Python twin of an operator that ``_C`` would have declared:
``RuntimeError: operator torchvision::nms does not exist`` (pytorch/vision#9085). timm imports torchvision,
so it fails as well, though neither its optimizers nor its models need those operators.

Declaring the two operators is enough to make transforms, models, data sets and timm work. They still have
no kernel: whoever calls ``torchvision.ops.nms`` gets an error that says so.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[torch.library.Library] = []  # a declaration lasts as long as its Library object


def install() -> bool:
    """Declare torchvision's operators if its own library cannot; to be called before torchvision's import.

    Does nothing where torchvision is already imported, is absent, or loads its library.

    Returns:
        Whether the operators had to be declared.
    """
    if _declared or "torchvision" in sys.modules or _compiled_operators_load():
        return False
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return True


def _compiled_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")  # looks for the folder, imports nothing
    if spec is None or not spec.submodule_search_locations:
        return True  # absent: there is nothing to put right
    folder = Path(spec.submodule_search_locations[0])
    for library in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(library)
        except (ImportError, OSError):
            continue
        return True
    return False
