"""Calls of the scheduler from within functions that torch.compile compiles: it is left out of them."""

from __future__ import annotations

from typing import Any, cast

import torch

# Gives what compiles the frames that are run; None outside of compiled functions.
compiler: Any = getattr(cast("Any", torch)._C._dynamo.eval_frame, "get_eval_frame_callback", lambda: None)


def leave_out(kind: type) -> None:
    """From now on a compiled function calls both as they are. (Before, it would cost others an import.)"""
    cast("Any", torch.compiler.disable)(_leave_out)(kind)


def _leave_out(kind: type) -> None:
    for name in ("observe", "step"):
        function: Any = getattr(kind, name)
        if not getattr(function, "_torchdynamo_disable", False):
            setattr(kind, name, torch.compiler.disable(function))
