"""The contract of `contract.py`, for every host whose framework is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autowu import Config, replay
from autowu.runlog.run import read
from integrations import ranks
from integrations.contract.contract import Ends, Host, core_lrs, core_trace, v_curve
from integrations.contract.registry import hosts

STEPS = 120
PAPER: dict[str, Any] = {"preset": "paper", "steps_per_epoch": 6}
IN_WARMUP, IN_DECAY, AFTER_A_CUT = 17, 80, 60
# The default preset tests after each update of so short a run. Here five losses wait for the next test.
WAITING = PAPER | {"rewind": True}


HOSTS = {host.name: host for host in hosts()}
SECOND = ("keras-torch", "pytorch_lightning")
"""Another backend, another name of the same package: these pass the whole contract in the full tests."""


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.full) if name in SECOND else name for name in HOSTS]
)
def host(request: pytest.FixtureRequest) -> Host:
    return HOSTS[request.param]


def assert_same(host: Host, lrs: list[float], expected: list[float]) -> None:
    assert len(lrs) == len(expected)
    if host.exact:
        assert lrs == expected
    else:
        np.testing.assert_array_equal(np.float32(lrs), np.float32(expected))


@pytest.mark.parametrize(
    "settings", [{}, {"decay": "cosine", "seed": 3}, PAPER], ids=["default", "cosine", "paper"]
)
@pytest.mark.parametrize("name", HOSTS)
def test_the_lr_trace_is_the_cores(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    host, losses = HOSTS[name], v_curve(STEPS)
    assert_same(host, host.train(losses, tmp_path, **settings), core_trace(losses, **settings))


def test_the_curve_that_all_hosts_see_has_a_cut_and_one_that_is_taken_back() -> None:
    cuts = replay(v_curve(STEPS)).cuts
    assert [cut.factor for cut in cuts] == [1 / 3, 1.0]
    assert cuts[0].step < AFTER_A_CUT < cuts[1].step < IN_DECAY


# `paper` is the one that minds the scale: a sum in place of the mean would not show in the other.
@pytest.mark.parametrize("settings", [{}, PAPER], ids=["default", "paper"])
def test_four_micro_batches_make_one_update(host: Host, settings: dict[str, Any], tmp_path: Path) -> None:
    # Quarters of a power of two, so that neither sum nor mean rounds, in whatever order a host takes them.
    updates = np.round(v_curve(STEPS) * 256) / 256
    micro = (updates[:, None] + np.array([-0.5, 0.25, 0.5, -0.25]) / 64).ravel()
    lrs = host.train(micro, tmp_path, accumulation=4, **settings)
    assert_same(host, lrs, core_trace(updates, **settings))


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_losses_that_are_nan_are_left_out(host: Host, tmp_path: Path) -> None:
    losses = v_curve(STEPS)
    losses[[5, 21, 22, 50]] = np.nan
    assert_same(host, host.train(losses, tmp_path), core_trace(losses))


@pytest.mark.parametrize(
    ("stop", "settings"),
    [(IN_WARMUP, {}), (IN_WARMUP, WAITING), (IN_DECAY, {}), (AFTER_A_CUT, {})],
    ids=["warmup", "losses-that-wait", "decay", "after-a-cut"],
)
def test_a_run_goes_on_from_the_hosts_own_checkpoint(
    host: Host, stop: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    losses = v_curve(STEPS)
    expected = core_trace(losses, **settings)
    assert_same(host, host.train(losses, tmp_path, stop_after=stop, **settings), expected[:stop])
    assert_same(host, host.train(losses, tmp_path, resume=True, **settings), expected[stop:])


def test_the_log_of_a_run_with_a_break_is_that_of_the_whole_run(host: Host, tmp_path: Path) -> None:
    losses, folder, own = v_curve(STEPS), tmp_path / "log", tmp_path / "host"
    own.mkdir()
    host.train(losses, own, stop_after=AFTER_A_CUT, log=str(folder))
    before = read(folder)
    assert not before.finished
    assert len(before.steps) <= AFTER_A_CUT
    host.train(losses, own, resume=True, log=str(folder))
    run, expected = read(folder), replay(losses)
    assert run.notes == ()
    assert run.steps.tolist() == list(range(1, STEPS + 1))
    assert run.lrs.tolist() == core_trace(losses)
    np.testing.assert_array_equal(run.losses, losses)
    assert (run.switch, run.cuts) == (expected.state.switch, expected.cuts)
    assert [(test.step, test.p_min) for test in run.tests] == [
        (test.step, test.p_min) for test in expected.tests
    ]


@pytest.mark.parametrize(
    "ends",
    [
        {60: ("extend", 300), 90: ("cooldown", 30)},
        {IN_WARMUP: ("extend", 240), 40: ("extend", 121)},
        {IN_WARMUP: ("cooldown", STEPS - IN_WARMUP)},
    ],
    ids=["longer-and-cooled-down", "longer-in-warmup-and-shorter", "cooled-down-in-warmup"],
)
def test_the_end_of_a_run_is_moved_while_it_goes_on(host: Host, ends: Ends, tmp_path: Path) -> None:
    losses = v_curve(STEPS)
    expected = core_trace(losses, ends=ends)
    assert expected != core_trace(losses)
    assert_same(host, host.train(losses, tmp_path, ends=ends), expected)


def test_a_run_without_a_length_is_cooled_down(host: Host, tmp_path: Path) -> None:
    losses, run = (
        v_curve(STEPS),
        {"endless": host.endless, "warmup_limit": 60, "ends": {90: ("cooldown", 30)}},
    )
    assert_same(host, host.train(losses, tmp_path, **run), core_trace(losses, **run))


@pytest.mark.parametrize("steps", [150, 100], ids=["longer", "shorter"])
@pytest.mark.parametrize("stop", [IN_WARMUP, IN_DECAY], ids=["warmup", "decay"])
def test_a_run_goes_on_with_another_length(host: Host, stop: int, steps: int, tmp_path: Path) -> None:
    losses, config = v_curve(150), Config(total_steps=STEPS)
    host.train(losses[:STEPS], tmp_path, stop_after=stop)
    expected = core_lrs(config, losses[:steps], {stop: ("extend", steps)})
    assert_same(host, host.train(losses[:steps], tmp_path, resume=True), expected[stop:-1])


@pytest.mark.full
@pytest.mark.parametrize("host", [name for name in HOSTS if HOSTS[name].processes], indirect=True)
def test_two_processes_decide_by_their_mean_loss_and_one_saves_for_both(host: Host, tmp_path: Path) -> None:
    losses = np.stack([v_curve(STEPS, seed=1), np.float32(3 * v_curve(STEPS, minimum=0.4, seed=2))])
    losses[0, [5, 21]] = np.nan
    losses[1, [6, 21]] = np.nan
    expected = core_trace(
        [row.mean() if (row := both[np.isfinite(both)]).size else np.nan for both in losses.T],
        **WAITING,
    )
    assert expected not in (core_trace(losses[0], **WAITING), core_trace(losses[1], **WAITING))
    before = ranks.train(host, losses, tmp_path, stop_after=IN_WARMUP, **WAITING)
    after = ranks.train(host, losses, tmp_path, resume=True, **WAITING)
    for rank in range(2):
        assert_same(host, [*before[rank], *after[rank]], expected)
