"""A plateau at the start that only a large LR leaves."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import SGD, Adam, AdamW, Optimizer

import autowu


def learned(seed: int, make: Callable[..., Optimizer], signs: int, batch: int, total: int) -> bool:
    """Whether the parity of three among so many signs is, by a network of one hidden layer."""
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(signs, 128), nn.ReLU(), nn.Linear(128, 1))
    optimizer = make(model.parameters(), lr=1e-3)
    scheduler = autowu.AutoWU(optimizer, total)

    def margins(count: int) -> Tensor:
        x = torch.randint(0, 2, (count, signs), generator=draw) * 2.0 - 1
        return x[:, :3].prod(1) * model(x)[:, 0]

    for _ in range(total):
        loss = softplus(-margins(batch)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step(loss)
    with torch.no_grad():
        return bool((margins(2000) > 0).float().mean() > 0.95)


@pytest.mark.filterwarnings("ignore:AutoWU:UserWarning")
def test_parity_is_learned_by_sgd_at_whatever_seed() -> None:
    """Its loss rises by 2% before it falls: of twelve seeds eight had ended at chance."""
    assert all(learned(seed, partial(SGD, momentum=0.9), 20, 64, 1200) for seed in range(6))


@pytest.mark.filterwarnings("ignore:AutoWU:UserWarning")
@pytest.mark.parametrize(
    ("make", "signs", "batch", "total"),
    [(AdamW, 30, 32, 2000), (Adam, 24, 16, 2500)],
)
def test_parity_is_learned_from_few_examples_at_a_time(
    make: Callable[..., Optimizer], signs: int, batch: int, total: int
) -> None:
    """Ten of these twelve had ended at chance, with peaks of a thousandth. Any from 0.01 to 0.1 does."""
    assert sum(learned(seed, make, signs, batch, total) for seed in range(6)) >= 5
