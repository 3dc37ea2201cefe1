"""A plateau at the start that only a large LR leaves."""

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import autowu


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap:UserWarning")
def test_parity_is_learned_by_sgd_at_whatever_seed() -> None:
    """Its loss rises by 2% before it falls: of twelve seeds eight had ended at chance."""
    for seed in range(6):
        draw = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 1))
        optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
        scheduler = autowu.AutoWU(optimizer, 1200)
        for _ in range(1200):
            x = torch.randint(0, 2, (64, 20), generator=draw) * 2.0 - 1
            loss = softplus(-x[:, :3].prod(1) * model(x)[:, 0]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step(loss)
        x = torch.randint(0, 2, (2000, 20), generator=draw) * 2.0 - 1
        with torch.no_grad():
            assert ((model(x)[:, 0] * x[:, :3].prod(1)) > 0).float().mean() > 0.95
