"""Several real processes: one decision for all, reached at tests alone."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from autowu.config import Config
from integrations.torch import ranks
from integrations.torch.training import PAPER, STEPS, assert_equal, blown_up, core_lrs, v_curve
from integrations.torch.world import World

NAN = float("nan")
SHARDING = pytest.mark.skipif(not ranks.SHARDING, reason="needs FSDP2 and DTensor, of torch 2.6")


@pytest.fixture(scope="module", params=[1, 2, pytest.param(4, marks=pytest.mark.full)])
def world(request, tmp_path_factory) -> Iterator[World]:
    made = World(request.param, tmp_path_factory.mktemp("world") / "store")
    yield made
    made.close()


def losses_of(rank: int) -> list[float]:
    """A curve of its own for each rank; sums of a few of them are exact."""
    return [round(4096 * loss) / 4096 + rank / 8 for loss in v_curve(seed=rank)]


def finite_mean(losses: list[list[float]]) -> list[float]:
    array = np.array(losses)
    finite = np.isfinite(array)
    count = finite.sum(0)
    return np.where(count, np.where(finite, array, 0).sum(0) / np.maximum(count, 1), NAN).tolist()


def assert_one_decision(world: World, losses: list[list[float]], **settings) -> None:
    traces = world.run(ranks.trace, losses, settings, [])
    config = Config.preset(settings.pop("preset", "default"), total_steps=STEPS, **settings)
    expected = core_lrs(config, finite_mean(losses))
    for trace in traces:
        assert trace.lrs == expected
        assert trace.switch == traces[0].switch
        if world.size > 1:
            assert set(trace.collectives) == {
                1,
                *trace.tests,
            }  # at the first, whether all have one run in hand
            assert len(trace.collectives) <= 1 + 3 * len(trace.tests)
        else:
            assert trace.collectives == []
    assert traces[0].switch is not None
    assert not traces[0].switch.capped


@pytest.mark.parametrize("settings", [{}, PAPER, {"decay": "plateau"}], ids=["default", "paper", "plateau"])
def test_different_losses_make_one_decision(world, settings):
    assert_one_decision(world, [losses_of(rank) for rank in range(world.size)], **settings)


def test_all_ranks_go_back_together_where_the_loss_rises_in_the_decay(world):
    losses = [[loss + rank / 8 for loss in blown_up()] for rank in range(world.size)]
    traces = world.run(ranks.trace, losses, {}, [])
    expected = core_lrs(Config(total_steps=STEPS), finite_mean(losses))
    for trace in traces:
        (cut,) = trace.cuts
        assert trace.lrs == expected
        assert (trace.switch, trace.cuts) == (traces[0].switch, traces[0].cuts)
        assert trace.restored == [trace.switch.step, cut.step]
        assert set(trace.collectives) == ({1, *trace.tests} if world.size > 1 else set())


def test_losses_missing_here_and_there(world):
    """That a rank may have none at all is tested in tests/reliability."""
    losses = [losses_of(rank) for rank in range(world.size)]
    bad = itertools.cycle([NAN, float("inf"), -float("inf")])
    for rank, each in enumerate(losses):
        for step in [30, *range(5 + rank, STEPS, 11)]:
            each[step] = next(bad)
    assert_one_decision(world, losses)


def test_each_for_itself(world):
    losses = [losses_of(rank) if rank % 2 == 0 else losses_of(rank)[::-1] for rank in range(world.size)]
    for rank, trace in enumerate(world.run(ranks.trace, losses, {"distributed": False}, [])):
        assert trace.lrs == core_lrs(Config(total_steps=STEPS), losses[rank])
        assert trace.collectives == []


def test_groups_of_their_own(world):
    """The first rank of a group decides for the group, whatever its rank in the world is."""
    half = (world.size + 1) // 2
    members = [group for group in (list(range(half)), list(range(half, world.size))) if group]
    losses = [
        losses_of(rank) if rank in members[0] else losses_of(rank)[20:] + [2.0] * 20
        for rank in range(world.size)
    ]
    traces = world.run(ranks.trace, losses, {}, members)
    for group in members:
        expected = core_lrs(Config(total_steps=STEPS), finite_mean([losses[rank] for rank in group]))
        assert [traces[rank].lrs for rank in group] == [expected] * len(group)
    assert world.size == 1 or traces[0].lrs != traces[-1].lrs


@pytest.mark.parametrize("way", ["ddp.join()", "Join([ddp])"])
def test_a_rank_with_fewer_batches_takes_part_in_the_decisions(world, way):
    answers = world.run(ranks.uneven, way, v_curve(), [STEPS, *[150] * (world.size - 1)])
    assert answers == [answers[0]] * world.size
    updates, lrs, weight, switch = answers[0]
    assert (updates, lrs, weight) == (STEPS, [0.0], pytest.approx(weight))
    assert switch.rewound_to is not None


def test_each_rank_resumes_from_its_own_state(world):
    losses = [losses_of(rank) for rank in range(world.size)]
    expected = core_lrs(Config(total_steps=STEPS), finite_mean(losses))[-1:]
    for whole, broken in world.run(ranks.resumed, losses, [0, 7, 33, 50, 64, 65, 66, 130]):
        assert whole == broken == expected


def test_no_rank_copies_unless_all_weights_are_finite(world):
    copied = world.run(ranks.broken_weights)
    assert copied == [copied[0]] * world.size
    assert all(step is None or not 40 <= step < 50 for step in copied[0])
    assert copied[0][-1] >= 50


# --- sharded parameters -------------------------------------------------------------------------------


def assert_rewound(answers) -> None:
    for recorded, after, before, switch in answers:
        assert_equal(after, recorded)
        assert switch == answers[0][3]
        assert switch.rewound_to < switch.step
        moved = [not torch.equal(a, b) for a, b in zip(after, before, strict=True) if a.numel()]
        assert any(moved)


@SHARDING
@pytest.mark.parametrize("name", ["AdamW", pytest.param("SGD", marks=pytest.mark.full)])
def test_fully_sharded_models(world, name):
    assert_rewound(world.run(ranks.fully_sharded, name))


@SHARDING
def test_all_ranks_shards_are_in_one_checkpoint(world, tmp_path):
    for whole, again in world.run(ranks.in_one_checkpoint, str(tmp_path / "checkpoint")):
        assert_equal(again, whole)


@pytest.mark.parametrize("by", ["FSDP1", "ZeroRedundancyOptimizer"])
def test_another_ranks_part_is_refused(world, by):
    first, *others = world.run(ranks.with_the_first_ranks_state, by)
    assert first is None
    for rank, error in enumerate(others, 1):
        assert f"is of rank 0, and this is rank {rank}, which has other shards" in error


@SHARDING
def test_parameters_and_losses_that_are_dtensors(world):
    assert_rewound(world.run(ranks.sharded_by_hand))
