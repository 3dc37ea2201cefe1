"""Runs whose end is not known, or moves: real training, its weights, its states, several processes."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import autowu
from integrations.contract.contract import Ends
from integrations.torch import ranks
from integrations.torch.test_resume import saved
from integrations.torch.training import (
    PAPER,
    STEPS,
    Training,
    assert_equal,
    drive,
    group_lrs,
    scheduler,
    v_curve,
)
from integrations.torch.world import World

OPEN = {"total_steps": None, "warmup_limit": STEPS // 2}  # its warm-up is that of a run of STEPS
RARE = {"test_growth": 1.5}  # so that losses wait for the next read


class Curve(Training):
    """Real training, with losses that fall and rise as is prescribed; if asked, all weights on the way."""

    def __init__(self, *, record: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.record = record
        self.after: dict[int, Any] = {}
        self.lrs: list[float] = []

    def to(self, until: int, ends: Ends | None = None) -> "Curve":
        made = self.scheduler
        while (step := made.last_epoch) < until:
            self.lrs.append(group_lrs(made)[0])
            self.update()
            if self.record:
                self.after[step + 1] = self.weights()
            # A curve up to its minimum and somewhat beyond, and then a loss that is low.
            made.step(v_curve()[step] if made.switch is None and step < STEPS else 0.5)
            ranks.ask(made, ends or {})
        return self

    def weights(self) -> Any:
        kept = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()["state"]}
        return copy.deepcopy(kept)


def switch_of(**settings: Any) -> autowu.Switch:
    made = Curve(**settings)
    while made.scheduler.switch is None:
        made.to(made.scheduler.last_epoch + 1)
    return made.scheduler.switch


# --- no length ----------------------------------------------------------------------------------------


def test_a_run_without_a_length_holds_its_peak_until_it_is_cooled_down():
    run = Curve(**OPEN)
    made = run.scheduler
    assert (made.phase, made.total_steps) == ("warmup", None)
    switch = switch_of(**OPEN)
    assert switch == switch_of()
    run.to(300)
    assert made.phase == "stable"
    assert set(run.lrs[switch.step :]) == {switch.peak_lr}
    made.cooldown(50)
    assert (made.phase, made.total_steps) == ("decay", 350)
    assert group_lrs(made) == [switch.peak_lr]
    run.to(350)
    assert run.lrs[300:] == sorted(set(run.lrs[300:]), reverse=True)
    assert group_lrs(made) == [0.0]


def test_one_argument_is_enough():
    made = autowu.AutoWU(scheduler().optimizer)
    assert (made.total_steps, made.config) == (None, autowu.Config())


def test_updates_after_a_cooldown_are_told_once():
    run = Curve(**OPEN).to(200)
    run.scheduler.cooldown(10)
    run.to(210)  # warnings are errors
    with pytest.warns(UserWarning, match=r"=210 updates, and there are more: the LR stays at 0\. .* epochs"):
        run.to(211)
    run.to(215)
    assert group_lrs(run.scheduler) == [0.0]


# --- a cooldown in warm-up ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [OPEN | RARE, OPEN, {}, RARE], ids=str)
def test_a_cooldown_in_warm_up_puts_the_weights_of_the_minimum_back(settings: dict[str, Any]):
    at = switch_of(**settings).step - 2
    run = Curve(record=True, **settings).to(at)
    made = run.scheduler
    assert made.phase == "warmup"
    made.cooldown(30)
    if made.phase == "warmup":  # all has been read by now: after the next update
        assert made._session.state.step == at
        run.to(at + 1)
    switch = made.switch
    assert switch.rewound_to < switch.step
    assert_equal(run.weights(), run.after[switch.rewound_to])
    assert group_lrs(made) == [made.learning_rate]
    assert made.learning_rate <= switch.peak_lr < max(run.lrs)
    run.to(at + 30)
    assert group_lrs(made) == [0.0]


def test_an_open_update_is_not_lost():
    whole, cooled = scheduler(), scheduler()
    drive(whole, v_curve()[:30])
    drive(cooled, v_curve()[:30])
    cooled.observe(1.0)
    cooled.cooldown(9)
    cooled.observe(2.0)
    cooled.step()
    whole.cooldown(9)
    whole.step(1.5)
    assert_equal(cooled.state_dict(), whole.state_dict())


def test_within_an_update_warm_up_ends_after_it():
    made = scheduler(**RARE)
    drive(made, v_curve()[:50])
    assert made._session.state.step < 50  # losses wait, which would be decided upon at once
    made.observe(1.0)
    made.cooldown(9)
    assert made.phase == "warmup"
    made.observe(2.0)
    made.step()
    assert made.phase == "decay"
    assert made.switch.step == 51
    assert made.total_steps == 59


# --- states ---------------------------------------------------------------------------------------------

MOVED: dict[str, tuple[dict[str, Any], Ends, int]] = {
    "open": (OPEN, {}, 200),
    "open and cooled down": (OPEN, {150: ("cooldown", 30)}, 180),
    "open and extended": (OPEN, {20: ("extend", 150), 100: ("extend", 200)}, 200),
    "extended twice": ({}, {100: ("extend", 300), 200: ("extend", 260)}, 260),
    "cooled down in warm-up": (RARE, {50: ("cooldown", 40)}, 90),
}


@pytest.mark.parametrize("name", MOVED)
def test_a_run_goes_on_bit_for_bit(name: str):
    settings, ends, steps = MOVED[name]
    whole = Curve(**settings).to(steps, ends)
    broken = Curve(**settings)
    for stop in (30, 51, 110, 160):
        broken.to(min(stop, steps), ends)
        state = saved(broken.state())
        broken = Curve(**settings).load(state)
        assert_equal(broken.state(), state)
    broken.to(steps, ends)
    assert_equal(broken.state(), whole.state())
    assert broken.scheduler.total_steps == whole.scheduler.total_steps


@pytest.mark.parametrize("at", [20, 100])
@pytest.mark.parametrize("steps", [STEPS + 60, 150])
def test_a_state_with_another_length_is_extended_to_it(at: int, steps: int):
    moved = Curve().to(at)
    loaded = Curve(total_steps=steps).load(saved(moved.state()))
    moved.scheduler.extend(steps)
    assert loaded.scheduler.total_steps == steps
    assert group_lrs(loaded.scheduler) == group_lrs(moved.scheduler)
    assert loaded.to(steps).lrs == moved.to(steps).lrs[at:]
    assert group_lrs(loaded.scheduler) == [0.0]


def test_an_open_run_is_given_an_end_by_loading_it():
    state = saved(Curve(**OPEN).to(100).state())
    made = Curve(**OPEN | {"total_steps": 200}).load(state).scheduler
    assert (made.total_steps, made.phase) == (200, "decay")


def test_an_end_that_was_set_by_hand_stays_when_the_same_program_goes_on():
    first = Curve().to(100)
    longer = Curve(total_steps=400).load(saved(first.state()))
    longer.scheduler.cooldown(50)
    again = Curve(total_steps=400).load(saved(longer.state()))
    assert again.scheduler.total_steps == 150
    back = Curve().load(saved(Curve(total_steps=400).load(saved(first.state())).state()))
    assert back.scheduler.total_steps == STEPS


@pytest.mark.parametrize(
    ("done", "steps", "message"),
    [
        (100, 100, r"total_steps must be an integer in \[101, .* 100 are done, not 100"),
        (100, 7, "100 are done, not 7"),
        (STEPS, 2 * STEPS, rf"extend\(total_steps={2 * STEPS}\) after {STEPS} updates .* it is over"),
    ],
)
def test_a_length_that_cannot_be_loaded(done: int, steps: int, message: str):
    made = scheduler(steps)
    before = copy.deepcopy((made.state_dict(), group_lrs(made)))
    with pytest.raises(ValueError, match=message):
        made.load_state_dict(Curve().to(done).scheduler.state_dict())
    assert_equal((made.state_dict(), group_lrs(made)), before)


@pytest.mark.parametrize("asked", ["x", -1, 2.0, True])
def test_a_damaged_length(asked: object):
    made = scheduler()
    with pytest.raises(ValueError, match="asked of the saved state must be an integer ≥ 0"):
        made.load_state_dict({**made.state_dict(), "asked": asked})


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [30, 100])
@pytest.mark.parametrize(
    ("call", "number", "error", "message"),
    [
        ("extend", 5, ValueError, r"total_steps must be .* are done, not 5"),
        ("extend", "400", TypeError, "total_steps must be an integer ≥ .*, not '400'"),
        ("cooldown", 0, ValueError, r"steps must be an integer in \[1, .*, not 0"),
        ("cooldown", 2.5, TypeError, "steps must be an integer ≥ 1, .*, not 2.5"),
    ],
)
def test_bad_input_changes_nothing(at: int, call: str, number: Any, error: type[Exception], message: str):
    run = Curve(**RARE).to(at)
    before = copy.deepcopy(run.state())
    with pytest.raises(error, match=message):
        getattr(run.scheduler, call)(number)
    assert_equal(run.state(), before)


# --- several processes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(2, tmp_path_factory.mktemp("world") / "store")
    yield made
    made.close()


def losses_of(rank: int) -> list[float]:
    return [round(4096 * loss) / 4096 + rank / 8 for loss in v_curve(seed=rank)]


@pytest.mark.parametrize(
    "ends",
    [{50: ("cooldown", 100)}, {20: ("extend", 400), 150: ("cooldown", 60)}],
    ids=["in warm-up", "extended"],
)
def test_all_ranks_end_as_one(world: World, ends: Ends):
    losses = [losses_of(0), losses_of(1)]
    answers = world.run(ranks.ended, losses, [ends, ends], RARE)
    mean = [sum(both) / 2 for both in zip(*losses, strict=True)]
    alone = ranks.ended(0, [mean], [ends], RARE)
    assert answers[0] == answers[1] == alone
    assert alone[1] is not None
    assert alone[0][max(ends) + ends[max(ends)][1]] == 0


@pytest.mark.parametrize("at", [50, 150])
@pytest.mark.parametrize("call", ["extend", "cooldown"])
def test_ranks_that_ask_for_different_ends_go_on_as_before(world: World, call: str, at: int):
    losses = [losses_of(0), losses_of(1)]
    differing: list[Mapping[int, Any]] = [{at: (call, 300)}, {at: (call, 400)}]
    answers = world.run(ranks.ended, losses, differing, RARE)
    undisturbed = world.run(ranks.ended, losses, [{}, {}], RARE)
    for answer, other in zip(answers, undisturbed, strict=True):
        assert answer[:3] == other[:3]
        (message,) = answer[3]
        name = {"extend": "total_steps", "cooldown": "steps"}[call]
        assert message == f"{call}({name}) is 300 on rank 0, but 400 on rank 1"


BEGAN = "the total_steps that the run began with"


@pytest.mark.parametrize(
    ("at", "lengths", "settings", "message"),
    [
        ([0, 0], [STEPS, 300], {}, f"total_steps is {STEPS} on rank 0, but 300 on rank 1"),
        ([0, 0], [None, 300], {}, "total_steps is None on rank 0, but 300 on rank 1"),
        ([50, 50], [300, 400], RARE, "total_steps is 300 on rank 0, but 400 on rank 1"),
        ([150, 150], [300, STEPS], {}, f"total_steps is 300 on rank 0, but {STEPS} on rank 1"),
        ([150, 150], [300, 400], PAPER, "total_steps is 300 on rank 0, but 400 on rank 1"),  # reads are over
        ([0, 50], [400, 400], {}, f"{BEGAN} is 400 on rank 0, but {STEPS} on rank 1"),
        ([0, 50], [STEPS, STEPS], {}, "the number of updates done is 0 on rank 0, but 50 on rank 1"),
    ],
    ids=str,
)
def test_ranks_that_have_different_runs_in_hand_are_told_before_the_first_update(
    world: World, at: list[int], lengths: list[int | None], settings: dict[str, Any], message: str
):
    assert world.run(ranks.apart, at, lengths, settings) == [(message, True)] * 2


def test_ranks_that_have_one_run_in_hand_compare_it_once(world: World):
    for error, unchanged in world.run(ranks.apart, [50, 50], [400, 400], {}):
        assert error is None
        assert not unchanged
