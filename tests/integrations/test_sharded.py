"""Parameters in parts on two processes: the copy for rewinding is saved and put back in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch

import autowu
from autowu.integrations import sharded
from autowu.integrations.torch.tensors import StateDict, with_snapshot
from integrations import ranks
from integrations.contract.contract import Host, core_trace, v_curve
from integrations.sharded import HOSTS

STEPS = 120


@pytest.fixture(params=HOSTS, ids=lambda host: host.name)
def host(request: pytest.FixtureRequest) -> Host:
    return request.param


def losses_of_two() -> np.ndarray:
    return np.stack([v_curve(STEPS, seed=1), np.float32(3 * v_curve(STEPS, minimum=0.3, seed=2))])


@pytest.mark.full
def test_each_process_saves_and_puts_back_its_part(host: Host, tmp_path: Path) -> None:
    losses = losses_of_two()
    expected = core_trace(losses.mean(0))
    whole = tmp_path / "whole"
    broken = tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    assert ranks.train(host, losses, whole) == [expected] * 2
    switch = torch.load(whole / "switch.pt")
    stop = (switch["rewound_to"] + switch["step"]) // 2  # where there is a copy that the rest needs
    before = ranks.train(host, losses, broken, stop_after=stop)
    after = ranks.train(host, losses, broken, resume=True)
    for rank in range(2):
        assert [*before[rank], *after[rank]] == expected
        one, other = (torch.load(folder / f"after-{rank}.pt") for folder in (whole, broken))
        assert one.keys() == other.keys() == set(range(1, STEPS + 1))
        assert_equal(one[switch["step"]], one[switch["rewound_to"]])
        assert any(not torch.equal(*pair) for pair in zip(one[stop], one[switch["step"]], strict=True))
        for step, held in other.items():
            assert_equal(held, one[step])


def assert_equal(one: Any, other: Any) -> None:
    for mine, its in zip(one, other, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=0)


def test_parts_that_are_missing_or_of_another_checkpoint_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded, "is_sharded", lambda _: True)
    saved = in_warm_up(20)
    checkpoint = sharded.PerRank(saved, tmp_path, "scheduler.pt", 0, 2)
    checkpoint.save()
    common = checkpoint.state_dict()
    assert StateDict(common)["snapshot"] is None

    def load(state: dict[str, Any], ranks: int = 2, rank: int = 0) -> autowu.AutoWU:
        fresh = in_warm_up(0)
        before = fresh.state_dict()
        here = sharded.PerRank(fresh, tmp_path, "scheduler.pt", rank, ranks)
        try:
            here.load_state_dict(state)
        except ValueError:
            assert fresh.state_dict()["step"] == before["step"] == 0
            raise
        return fresh

    assert load(common).state_dict()["snapshot"]["places"] == saved.state_dict()["snapshot"]["places"]
    with pytest.raises(
        ValueError, match="was saved by 2 processes, each its part, and here are 4: go on with"
    ):
        load(common, ranks=4)
    with pytest.raises(ValueError, match=r"scheduler-rank-1.pt cannot be read: FileNotFoundError"):
        load(common, rank=1)
    (tmp_path / "scheduler-rank-0.pt").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"scheduler-rank-0.pt cannot be read"):
        load(common)
    sharded.PerRank(in_warm_up(25), tmp_path, "scheduler.pt", 0, 2).save()
    with pytest.raises(ValueError, match=r"rank-0.pt is of step 25, but the checkpoint is of step 20"):
        load(common)


def in_warm_up(steps: int) -> autowu.AutoWU:
    made = autowu.AutoWU(torch.optim.SGD([torch.zeros(3, requires_grad=True)], 0.1), STEPS)
    for loss in v_curve(STEPS)[:steps]:
        made.step(loss)
    return made


def test_parts_that_are_gathered_serve_as_many_processes_only() -> None:
    saved = {**with_snapshot(in_warm_up(20).state_dict(), None), sharded.PARTS: [{}, {}]}
    with pytest.raises(ValueError, match=r"saved by 2 processes, each its part, and here are 1"):
        sharded.with_part(saved)
    whole = in_warm_up(20).state_dict()
    assert sharded.with_part(whole) == whole
    assert sharded.gathered(in_warm_up(20)).keys() == whole.keys()  # nothing is sharded
    part = sharded.with_part({**saved, sharded.PARTS: [whole["snapshot"]]})
    fresh = in_warm_up(0)
    fresh.load_state_dict(part)
    assert fresh.last_epoch == 20
