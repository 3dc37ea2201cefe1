"""Several processes: one decision for all, and a resume with another number of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("torch")

from autowu.config import Config
from integrations.torch.world import World
from reliability import worlds
from reliability.curves import follow
from reliability.promises import Trials, promise
from reliability.worlds import STEPS, losses_of, mean_of

PORTION = 10  # runs that the processes are given at once


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.full)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(request.param, tmp_path_factory.mktemp("world") / "store")
    yield made
    made.close()


@promise(
    "ranks that see different losses, one of them NaN",
    "all hold the LR that the core gives for the mean of the finite losses, at every update",
    full=200,
    plain=10,
)
def test_one_decision(world: World, trials: Trials) -> None:
    for trial in trials:
        if trial % PORTION == 0:
            found = world.run(worlds.traces, trial, PORTION)
        _, expected, _ = follow(Config(total_steps=STEPS), mean_of(losses_of(trial, world.size)))
        for rank in range(world.size):
            assert found[rank][trial % PORTION] == expected


@promise(
    "another number of processes after a resume (`share_losses()` before the save)",
    "every rank goes on with the LRs that the core gives for the mean losses before and after",
    full=100,
    plain=10,
    unit="resumes",
)
def test_another_world_size(world: World, trials: Trials) -> None:
    sizes = [(a, b) for a in (1, 2, 4) for b in (1, 2, 4) if a != b and max(a, b) <= world.size]
    for trial in trials:
        if trial % PORTION == 0:
            found = world.run(worlds.resized, trial, PORTION, sizes)
        before, after = sizes[trial % len(sizes)]
        stop = int(np.random.default_rng(trial).integers(1, STEPS))
        first, second = mean_of(losses_of(trial, before)), mean_of(losses_of(trial + 10**6, after))
        losses = np.concatenate([first[:stop], second[stop:]])
        _, expected, _ = follow(Config(total_steps=STEPS, test_growth=1.5), losses)
        for rank in range(world.size):
            wanted = (expected[:stop] if rank < before else []) + (expected[stop:] if rank < after else [])
            assert found[rank][trial % PORTION] == wanted
