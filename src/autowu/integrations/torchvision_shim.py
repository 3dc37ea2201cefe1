"""Lets ``import torchvision`` work where its compiled operators do not load.

A torchvision built for CUDA beside a PyTorch built for CPUs (or for another CUDA) cannot load its library
``_C``. It goes on without, and then registers a Python twin of an operator that ``_C`` would have declared:
``RuntimeError: operator torchvision::nms does not exist`` (pytorch/vision#9085). Lightning, timm and parts of
transformers import torchvision, so they fail as well, though they hardly ever need those operators.

Declaring the two operators is enough to make transforms, models, data sets and all of these work. They still
have no kernel: whoever calls ``torchvision.ops.nms`` gets torchvision's own error, which says so.
"""

from __future__ import annotations

import importlib.util
import logging
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

    Does nothing where torchvision is already imported, is absent, or loads its library, or where the
    operators are declared already. It imports nothing, and hides no error but that one.

    Returns:
        Whether the operators had to be declared.
    """
    if _declared or "torchvision" in sys.modules or hasattr(torch.ops.torchvision, "nms"):
        return False
    reason = _why_not()
    if reason is None:
        return False
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
    logging.getLogger(__name__).info(
        "torchvision's compiled operators do not load beside torch %s (%s); AutoWU has declared them, so that"
        " it can be imported; who needs the operators has to install a torchvision built for this torch",
        torch.__version__,
        reason,
    )
    return True


def _why_not() -> str | None:
    """Why torchvision's compiled operators do not load; None if they do, or there is no torchvision."""
    spec = importlib.util.find_spec("torchvision")  # looks for the folder, imports nothing
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0])
    reason = f"there are none in {folder}"
    for library in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(library)
        except (ImportError, OSError) as error:  # those that torchvision passes over
            reason = " ".join(str(error).split())
        else:
            return None
    return reason
