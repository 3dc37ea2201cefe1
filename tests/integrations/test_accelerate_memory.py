"""An Accelerator lets go of what it held, and of a scheduler that is out of use."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
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


@pytest.mark.parametrize("prepared", [True, False])
def test_a_scheduler_takes_the_place_of_the_one_that_its_optimizer_had(
    prepared: bool, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    accelerator, model, optimizer, first = begin()
    other = AcceleratedAutoWU(accelerator, AutoWU(torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1), 7))
    again = AutoWU(optimizer if prepared else optimizer.optimizer, 2, model=model)
    second = AcceleratedAutoWU(accelerator, again)
    assert accelerator._schedulers == [second, other]
    first.scheduler.step(1.0)
    second.scheduler.step(1.0)
    accelerator.save_state(tmp_path)
    saved = torch.load(tmp_path / "scheduler.bin", weights_only=True)
    assert saved["asked"] == 2
    second.scheduler.step(1.0)
    accelerator.end_training()  # of the first, which has made one update of 120, nothing is said
    assert not [each for each in recwarn if "the run ended after" in str(each.message)]


def test_a_scheduler_whose_accelerator_is_gone_says_so() -> None:
    scheduler = begin()[-1]
    with pytest.raises(RuntimeError, match=r"the Accelerator .* is gone"):
        scheduler.step(1.0)
