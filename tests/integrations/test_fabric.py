"""AutoWU in a loop with Lightning's Fabric: its optimizers are copies of the dict of those within."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning.fabric")

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

import autowu
from integrations.contract.contract import core_trace, v_curve

STEPS = 120


def train(
    path: Path, *, save_at: int | None = None, resume: bool = False
) -> tuple[list[float], list[Tensor]]:
    """The LR of each update, which are those that train, and what the model is in the end."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    plain = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    inner = torch.optim.AdamW(plain.parameters())
    model, optimizer = fabric.setup(plain, inner)
    scheduler = autowu.AutoWU(optimizer, STEPS, model=model)
    state: dict[str, Any] = {"scheduler": scheduler, "model": model, "optimizer": optimizer}
    if resume:
        fabric.load(path, state)
    losses, lrs = v_curve(STEPS), list[float]()
    for step in range(scheduler.last_epoch, STEPS):
        inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        fabric.backward(loss)
        lrs.append(inner.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(losses[step])
        if step + 1 == save_at:
            fabric.save(path, state)
    assert scheduler.rewinds
    return lrs, [each.clone() for each in plain.state_dict().values()]


@pytest.mark.parametrize("save_at", [20, 32, 70])
def test_a_run_goes_on_bit_for_bit(save_at: int, tmp_path: Path) -> None:
    lrs, weights = train(tmp_path / "saved.ckpt", save_at=save_at)
    assert lrs == core_trace(v_curve(STEPS))
    resumed, others = train(tmp_path / "saved.ckpt", resume=True)
    assert resumed == lrs[save_at:]
    assert all(map(torch.equal, weights, others))
