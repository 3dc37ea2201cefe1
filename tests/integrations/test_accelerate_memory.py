"""An Accelerator lets go of what it held."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

pytest.importorskip("accelerate")

import torch
from accelerate import Accelerator
from torch import nn

from autowu import AutoWU
from autowu.integrations.accelerate import AcceleratedAutoWU


def begin() -> tuple[Any, ...]:
    accelerator, model = Accelerator(cpu=True), nn.Linear(2, 2)
    optimizer = accelerator.prepare(torch.optim.AdamW(model.parameters()))
    scheduler = AcceleratedAutoWU(accelerator, AutoWU(optimizer, 120, model=model))
    return accelerator, model, optimizer, scheduler


@pytest.mark.filterwarnings("ignore:AutoWU. the run ended after")
def test_an_accelerator_that_nobody_holds_is_gone_at_once_with_its_model() -> None:
    accelerator, model, optimizer, scheduler = begin()
    for loss in (2.0, 1.0):
        scheduler.step(loss)
    accelerator.end_training()
    held = [weakref.ref(each) for each in (accelerator, model, optimizer, scheduler)]
    gc.collect()
    gc.disable()
    try:
        del accelerator, model, optimizer, scheduler
        assert [each() for each in held] == [None] * 4
    finally:
        gc.enable()


def test_a_scheduler_whose_accelerator_is_gone_says_so() -> None:
    scheduler = begin()[-1]
    with pytest.raises(RuntimeError, match=r"the Accelerator .* is gone"):
        scheduler.step(1.0)
