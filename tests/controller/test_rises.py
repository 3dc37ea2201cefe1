"""A loss that rises before lift-off: noise hid its fall, a plateau is left so, or the data make it rise."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from autowu import Config
from autowu.controller import anew, machine
from autowu.controller.plain import to_plain
from autowu.controller.rate import grown
from autowu.controller.state import Decay, Grow, Growth, Horizon, Reason, Search, State
from autowu.detector.trend import Level

from .helpers import (
    equal,
    follow,
    lift_off,
    noisy,
    response,
    run,
    through_plain,
    too_large,
    watched,
)


def test_a_sweep_in_which_the_loss_rises_starts_again_three_decades_lower() -> None:
    """The loss never fell plainly, and the LR is far too large already: what is left is below it."""
    config = Config(total_steps=1000)
    losses = 2.3 + 0.01 * np.random.default_rng(0).standard_normal(60)
    losses[35:] += 0.2 * np.arange(1, 26)
    states = follow(config, losses)
    again = next(state for state in states if isinstance(state.phase, Search))
    seen = again.phase.growth.start
    assert 38 <= seen <= 42  # with the third loss of five that is plainly above the first ones
    start = pytest.approx(1e-5 * 1e5 ** (seen / 40) / 1000, rel=1e-12)
    assert again.phase.growth == Growth(seen, start, 387, before=Growth(0, 1e-5, 40, open=True))
    assert (again.restores, again.first) == (1, seen)


def test_a_rise_at_once_starts_again_at_the_start() -> None:
    losses = 1.0 + 0.5 * np.arange(30)
    states = follow(Config(total_steps=1000), losses)
    again = next(state for state in states if isinstance(state.phase, Search))
    assert again.phase.growth == Growth(11, 1e-5, 387, before=Growth(0, 1e-5, 40, open=True))


MIDDLE = math.sqrt(1e-5)  # of the range of LRs


def explodes(edge: float, sd: float = 0.1, seed: int = 0) -> Callable[[int, float], float]:
    """No fall that can be seen, and a loss ten times as high from the LR ``edge`` on."""
    draws = np.random.default_rng(seed).standard_normal(100_000)
    return lambda step, lr: (2.3 if lr < edge else 23.0) + sd * float(draws[step])


@pytest.mark.parametrize("total", [400, 2000, 20_000])
@pytest.mark.parametrize("edge", [3e-4, 1e-2, 0.3])
def test_a_loss_that_only_explodes_gets_a_tenth_of_the_lr_that_it_explodes_at_or_less(
    edge: float, total: int
) -> None:
    config = Config(total_steps=total)
    states, lrs = watched(config, explodes(edge), total // 2 + 1)
    state = states[-1]
    assert lift_off(states) is None
    assert too_large(states) is not None
    assert state.switch is not None
    assert (state.switch.t_star, state.restores) == (None, 2)
    assert state.switch.capped == (edge == 0.3)
    tenth = edge / 10 * (2.5 if total < 1000 else 1.6)
    most, least = MIDDLE * (1 + 1e-12), MIDDLE * (1 - 1e-12)
    assert min(edge / 10, least) <= state.switch.peak_lr <= min(tenth, most)
    # Twice at such LRs: until it is seen, and then for a decade.
    high = np.count_nonzero(lrs[: state.switch.step] >= edge)
    assert state.switch.capped or high < 40 + total // 40 + config.growth_steps // 5


@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_may_be_left_where_the_loss_has_risen(seed: int) -> None:
    """Parity of three bits, by SGD: at LRs that it needs the loss rises by a fifth before it falls."""
    draws, learned = np.random.default_rng(seed).standard_normal(1600), 0.0

    def loss(step: int, lr: float) -> float:
        nonlocal learned
        learned += max(0.0, lr - 0.1) / 10
        return (0.69 + 0.14 * min(1.0, lr / 0.05)) * math.exp(-learned) + 0.03 * float(draws[step])

    states, _ = watched(Config(total_steps=1600), loss, 800)
    switch = states[-1].switch
    assert switch is not None
    assert lift_off(states) is not None
    assert switch.peak_lr > 0.05


def test_a_rise_seen_twice_at_much_lower_an_lr_is_not_the_lr_s_doing() -> None:
    """The data jump in the sweep; the weights go back, and the loss stays high. Then all is as ever."""

    def jumps(step: int, lr: float) -> float:
        return float(response(np.array(lr), 0.02)) + (3.0 if step >= 12 else 0.0) + 0.02 * float(draws[step])

    draws = np.random.default_rng(0).standard_normal(1000)
    states, _ = watched(Config(total_steps=1000), jumps, 501)
    state, rise = states[-1], too_large(states)
    assert rise is not None
    assert rise < 1e-2
    assert lift_off(states) is not None
    assert state.switch is not None
    assert 0.01 < state.switch.peak_lr < 0.04


def resumed(config: Config, loss: Callable[[int, float], float], every: int) -> State:
    """The end of warm-up, through a checkpoint every so many updates."""
    state = machine.start(config)
    for step in range(config.warmup_steps + 1):
        if step % every == 0:
            state = through_plain(config, state)
        lr = machine.learning_rate(config, state, step)
        state = machine.observe(config, state, np.array([loss(step, lr)]))
    return state


@pytest.mark.parametrize("loss", [explodes(0.01), noisy(0.02), noisy(0.1, sd=0.6)])
def test_a_run_goes_on_from_any_checkpoint_before_lift_off(loss: Callable[[int, float], float]) -> None:
    config = Config(total_steps=600)
    whole = resumed(config, loss, 10_000)
    risen = too_large(watched(config, loss, config.warmup_steps + 1)[0]) is not None
    assert risen == (loss(0, 1.0) > 10)
    for every in (1, 7):
        assert equal(to_plain(resumed(config, loss, every)), to_plain(whole))


@pytest.mark.parametrize(
    ("total", "at"), [(1000, 5), (4000, 8), (4000, 12), (4000, 16), (12_000, 24), (60_000, 60)]
)
def test_data_that_jump_at_the_start_do_not_fix_the_least_lr(total: int, at: int) -> None:
    """From so low an LR growth cannot go back: that the loss is high there again says nothing."""
    draws = np.random.default_rng(0).standard_normal(total)

    def jumps(step: int, lr: float) -> float:
        return float(response(np.array(lr), 0.02)) + (3.0 if step >= at else 0.0) + 0.02 * float(draws[step])

    state, _ = run(Config(total_steps=total), jumps, total // 2 + 1)
    assert state.switch is not None
    assert 0.01 < state.switch.peak_lr < 0.04


@pytest.mark.parametrize("edge", [1e-4, 1e-3])
@pytest.mark.parametrize("delay", [10, 15, 20])
def test_a_divergence_that_takes_its_time_is_no_jump_of_the_data(edge: float, delay: int) -> None:
    """The fast growth is far beyond the edge when the loss shows it; the slow one is not."""
    config = Config(total_steps=400)
    draws = np.random.default_rng(0).standard_normal(400)
    state, too_large = machine.start(config), 0
    for step in range(201):
        lr = machine.learning_rate(config, state, step)
        too_large = too_large + 1 if lr >= edge or too_large >= delay else 0
        before, loss = state.restores, (23.0 if too_large >= delay else 2.3) + 0.05 * float(draws[step])
        state = machine.observe(config, state, np.array([loss]))
        too_large = too_large if state.restores == before else 0
    assert state.switch is not None
    assert state.switch.reason is Reason.RISE
    assert edge / 10 < state.switch.peak_lr < edge


def test_where_noise_hides_fall_and_rise_alike_the_middle_of_the_range_bounds_the_lr() -> None:
    """The best LR is 0.001; at a tenth of that at which the rise is seen, the loss has long risen."""
    found = []
    for seed in range(60):
        draws = np.random.default_rng(seed).standard_normal(400)

        def loss(step: int, lr: float, draws: np.ndarray = draws) -> float:
            fall = 0.1 * math.exp(-0.5 * math.log(lr / 0.001) ** 2)
            rise = 0.15 * max(0.0, math.log10(lr / 0.002))
            return 2.3 - fall + rise + (0.1 + 0.1 * lr**0.3) * float(draws[step])

        states, lrs = watched(Config(total_steps=400), loss, 200)
        state = states[-1]
        if state.switch is not None and too_large(states) is not None and lift_off(states) is None:
            found.append((state.switch.peak_lr, 0.1 * lrs[state.switch.step - 1]))
            assert state.switch.rewound_to == 0
            assert state.switch.t_star is None
    assert len(found) >= 20
    assert all(peak_lr < 0.9 * tenth for peak_lr, tenth in found)
    assert (
        max(peak_lr for peak_lr, _ in found)
        < 1.001 * MIDDLE
        < 0.01
        < np.median([tenth for _, tenth in found])
    )


@pytest.mark.parametrize("level", [0.7, 2.3, -40.0])
@pytest.mark.parametrize(("rise", "counts"), [(0.08, False), (0.15, True)])
def test_a_plateau_may_rise_by_a_tenth(level: float, rise: float, counts: bool) -> None:
    """As the loss of parity does with SGD, at LRs that it needs to be learned at all."""
    draws = np.random.default_rng(0).standard_normal(600)

    def loss(step: int, lr: float) -> float:
        return level + abs(level) * (rise * (lr > 0.05) + 0.02 * float(draws[step]))

    states, _ = watched(Config(total_steps=1200), loss, 600)
    assert too_large(states) is not None  # the fast growth goes back for any
    assert (states[-1].switch.reason is Reason.RISE) is counts


@pytest.mark.parametrize("level", [-3000.0, 40.0, 3000.0])
@pytest.mark.parametrize(("rise", "counts"), [(3.0, False), (8.0, True)])
def test_of_a_large_level_a_small_share_may_be_a_real_rise(level: float, rise: float, counts: bool) -> None:
    """Such as that of a likelihood of many values: what counts there is five noise levels."""
    draws = np.random.default_rng(0).standard_normal(600)

    def loss(step: int, lr: float) -> float:
        return level + rise * (lr > 0.05) + float(draws[step])

    states, _ = watched(Config(total_steps=1200), loss, 600)
    assert too_large(states) is not None
    assert (states[-1].switch.reason is Reason.RISE) is counts


@pytest.mark.parametrize("beyond", [0.5, math.nan])
def test_where_nothing_fell_it_is_a_tenth_of_the_lr_of_the_rise_wherever_the_loss_is_least(
    beyond: float,
) -> None:
    """On a plateau that is a matter of chance."""
    found = []
    for seed in range(20):
        draws = np.random.default_rng(seed).standard_normal(4000)

        def loss(step: int, lr: float, draws: np.ndarray = draws) -> float:
            return 2.3 + (beyond * math.log10(lr / 1e-3) if lr > 1e-3 else 0.0) + 0.05 * float(draws[step])

        states, _ = watched(Config(total_steps=4000), loss, 2000)
        switch, known = states[-1].switch, too_large(states)
        assert switch is not None
        assert known is not None
        assert switch.t_star is None
        assert not switch.capped
        assert all(verdict.streak <= 1 for verdict in states[-1].verdicts)  # each is a test of its own
        found.append(switch.peak_lr)
        if math.isfinite(beyond):
            assert switch.peak_lr == pytest.approx(known / 10, rel=1e-12)
    assert all(1e-4 <= peak_lr < 6e-4 for peak_lr in found)


@pytest.mark.parametrize(("total", "at"), [(120, 43), (160, 60), (1000, 150)])
def test_a_rise_in_slow_growth_bounds_the_lr(total: int, at: int) -> None:
    config, draws = Config(total_steps=total, max_lr=1.0), np.random.default_rng(0).standard_normal(total)
    states, lrs = watched(config, lambda step, lr: (8.0 if step >= at else 2.3) + 0.01 * draws[step])
    switch = states[-1].switch
    assert switch is not None
    assert switch.step <= at + 20 + config.growth_steps // 5
    assert switch.rewound_to == 0
    assert max(lrs[at] / 10, 1e-5) <= switch.peak_lr <= max(lrs[at + 15] / 10, 1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_a_small_fall_once_growth_is_slow_is_no_lift_off(seed: int) -> None:
    """As where the answers come to be of the right size, and nothing is learned; an LR of 0.2 leaves that."""
    draws, learned = np.random.default_rng(seed).standard_normal(1200), 0.0

    def loss(step: int, lr: float) -> float:
        nonlocal learned
        learned += max(0.0, lr - 0.1)
        calibrated = 0.05 * math.exp(-step / 30)
        risen = 0.03 * min(1.0, lr / 0.05)
        return 0.69 * math.exp(-learned) + calibrated + risen + 0.03 * float(draws[step])

    states, _ = watched(Config(total_steps=1200), loss, 600)
    switch = states[-1].switch
    assert switch is not None
    assert switch.peak_lr > 0.02


@pytest.mark.parametrize("total", [400, 1000, 4000])
@pytest.mark.parametrize(("height", "share"), [(1.0, 0.1), (1.0, 0.2), (3.0, 0.3), (3.0, 0.5)])
def test_a_loss_that_the_data_raise_for_long_finds_its_lr(height: float, share: float, total: int) -> None:
    """Such as a term that is annealed in: it is as high with the weights of before."""
    draws = np.random.default_rng(0).standard_normal(total)

    def annealed(step: int, lr: float) -> float:
        more = height * min(step / (share * total), 1.0)
        return float(response(np.array(lr), 0.02)) + more + 0.02 * float(draws[step])

    state, _ = run(Config(total_steps=total), annealed, total // 2 + 1)
    assert state.switch is not None
    assert 3e-3 < state.switch.peak_lr < 0.1
    assert state.restores <= 3


@pytest.mark.parametrize("length", [6, 8, 12])
def test_the_end_of_a_burst_does_no_harm(length: int) -> None:
    """A burst in the sweep sends it back; its end may be taken for a fall, at next to no LR."""

    def burst(step: int, lr: float) -> float:
        high = 3.0 if 12 <= step < 12 + length else 0.0
        return float(response(np.array(lr), 0.02)) + high + 0.02 * float(draws[step])

    draws = np.random.default_rng(1).standard_normal(1000)
    states, _ = watched(Config(total_steps=1000), burst, 501)
    state, rise = states[-1], too_large(states)
    assert rise is not None
    assert rise < 1e-3
    assert state.switch is not None
    assert 0.01 < state.switch.peak_lr < 0.04


@pytest.mark.parametrize(("missing", "dead"), [(3, False), (6, False), (7, True)])
def test_a_few_losses_that_are_missing_are_no_dead_network(missing: int, dead: bool) -> None:
    """A run of 240 updates reads each of them in the sweep: three in a row are three reads."""
    config = Config(total_steps=240)
    clean = noisy(0.03)
    states, _ = watched(
        config, lambda step, lr: math.nan if 12 <= step < 12 + missing else clean(step, lr), 60
    )
    assert any(state.nonfinite_reads >= config.patience or state.restores for state in states) == dead


@pytest.mark.parametrize(("total", "step"), [(240, 85), (2_000, 300)])
def test_lift_off_that_was_noise_is_taken_back_only_where_growth_has_the_time(total: int, step: int) -> None:
    """Growth anew from 1e-5 came to 2e-4 in what was left of 240 updates: a ViT ended at 30%, not 80."""
    config = Config(total_steps=total)
    begun = Growth(30, 5.6e-4, config.growth_steps)
    grow = Grow(begun, lift_off=50, origin=Level(2.3, 25))
    state = State(grow, Horizon(total), step=step, read=step, snapshot_step=60)
    found = anew.hidden_fall(config, state)
    lr = grown(config, begun, step)
    if total == 240:
        assert isinstance(found.phase, Decay)
        switch = found.phase.switch
        assert lr / 10 > MIDDLE
        assert (switch.peak_lr, switch.rewound_to) == (pytest.approx(MIDDLE), 60)
        assert (switch.reason, switch.capped) == (Reason.RISE, False)
    else:
        assert isinstance(found.phase, Search)
        assert found.phase.growth == Growth(step, config.min_lr, config.growth_steps, before=begun)


def test_an_lr_that_growth_has_passed_tenfold_was_not_too_large() -> None:
    """The sweep's rise was chance; slow growth comes to a hundred times its LR before the loss explodes."""
    draws = np.random.default_rng(0).standard_normal(1500)
    seen = []

    def loss(step: int, lr: float) -> float:
        chance = 0.5 * (lr > 2e-4 and step < 60)
        explodes = 50.0 * math.log10(lr / 0.02) if lr > 0.02 else 0.0
        return 2.3 + chance + explodes + 0.05 * float(draws[step])

    states, _ = watched(Config(total_steps=1500), loss, 1000)
    for state in states:
        if isinstance(state.phase, Search):
            seen.append(state.phase.too_large)
    switch = states[-1].switch
    assert switch is not None
    assert switch.reason is Reason.RISE
    assert seen[0] is not None
    assert seen[0] < 2e-3 < seen[-1]
    assert switch.peak_lr == pytest.approx(min(seen[-1] / 10, 10**-2.5), rel=1e-9)
