"""Parameters in parts on two processes: the copy for rewinding is saved and put back in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch

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
