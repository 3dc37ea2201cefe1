"""Accelerate: a loop that goes back to a checkpoint of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("accelerate")

from accelerate import Accelerator

from integrations.accelerate import Loop
from integrations.contract.contract import core_trace, v_curve


def test_a_loop_that_gives_an_update_up_halfway_and_goes_back_has_the_lrs_of_one_that_did_not(
    tmp_path: Path,
) -> None:
    losses = np.repeat(np.round(v_curve(120) * 256) / 256, 2)
    loop = Loop(losses, Accelerator(cpu=True, gradient_accumulation_steps=2), 120)
    loop.run(after_update=lambda updates: updates == 20)
    loop.accelerator.save_state(tmp_path)
    with loop.accelerator.accumulate(loop.model):
        loop.scheduler.step(1e30)
        loop.optimizer.zero_grad()
    loop.accelerator.load_state(tmp_path)
    assert loop.run(40) == core_trace(losses[::2])
