"""A module for the hosts with PyTorch: it trains for real, while its loss has the value that it is given."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

FIRST = "network.0.weight"


class Learner(nn.Module):
    """A regression with BatchNorm, so that there are buffers as well as parameters to rewind."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        for parameter in self.network.parameters():
            parameter.data.normal_(generator=generator)
        self.inputs = torch.randn(16, 4, generator=generator)

    def forward(self, loss: Tensor) -> dict[str, Tensor]:
        real = (self.network(self.inputs) - self.inputs.sum(1, keepdim=True)).square().mean()
        return {"loss": loss.mean() + (real - real.detach())}


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """A copy of all that training changes."""
    found = dict(model.state_dict())
    for index, state in enumerate(optimizer.state.values()):
        found |= {f"{index}.{key}": value for key, value in state.items()}
    return {name: value.clone() for name, value in found.items()}


def assert_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0, msg=name)


def assert_rewound(after: Mapping[int, Mapping[str, Tensor]], step: int, to: int) -> None:
    """After update ``step``, all is as it was after update ``to``, and was not so one update before."""
    assert to < step - 1
    assert_equal(after[step], after[to])
    changed = {name for name, value in after[step].items() if not torch.equal(after[step - 1][name], value)}
    assert {FIRST, "network.1.running_mean", "0.exp_avg", "0.step"} <= changed
