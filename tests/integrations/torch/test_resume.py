"""A run that is saved and loaded goes on bit for bit, wherever the break is."""

import copy
import io
import random
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, AdamW

import autowu
from autowu.controller.state import Grow, Search
from integrations.torch.training import (
    PAPER,
    STEPS,
    Training,
    assert_equal,
    drive,
    parameters,
    scheduler,
    v_curve,
)

SHORT = 120
RUNS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": PAPER,
    "paper with rewind": PAPER | {"rewind": True},
    "rare tests": {"test_growth": 1.5},  # so that losses wait for them
    "sgd": {"optimizer": partial(SGD, lr=0.1, momentum=0.9)},
    "tensor lr": {"optimizer": lambda params: AdamW(params, lr=torch.tensor(1e-3))},
    "exponential": {"growth": "exponential"},
    "linear growth": {"growth": "linear", "min_lr": 1e-3, "lift_off": None},
    "small subsets": {"subset_size": 20, "fit_size": 20, "seed": 3},
    **{decay: {"decay": decay} for decay in ("cosine", "constant-cosine", "1-sqrt", "plateau")},
}


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """``state`` by way of a file that may hold nothing but plain values and tensors."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@cache
def uninterrupted(name: str, total_steps: int) -> tuple[list[float], dict[str, Any]]:
    """The LRs of a whole run, and its state at the end."""
    training = Training(total_steps=total_steps, **RUNS[name])
    lrs = training.run(total_steps)
    return lrs, copy.deepcopy(training.state())


def assert_resumes(name: str, total_steps: int, breaks: list[int]) -> None:
    lrs, end = uninterrupted(name, total_steps)
    first = Training(total_steps=total_steps, **RUNS[name])
    for step in sorted(breaks):
        first.run(step)
        state = saved(first.state())
        resumed = Training(total_steps=total_steps, **RUNS[name]).load(state)
        assert_equal(resumed.state(), state)
        assert resumed.run(total_steps) == lrs[step:], step
        assert_equal(resumed.state(), end, f"{step}: ")
    first.run(total_steps)  # and saving does not change the run that goes on
    assert_equal(first.state(), end)


@pytest.mark.parametrize("name", ["default", "paper with rewind"])
def test_breaks_all_along_a_short_run(name):
    assert_resumes(name, SHORT, list(range(3, SHORT + 1, 9)))


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_a_break_at_every_step(name):
    assert_resumes(name, SHORT, list(range(SHORT + 1)))


QUICK = ("default", "tensor lr")


def stage(scheduler: autowu.AutoWU) -> tuple[type, int]:
    """The phase, and how many reads have spoken for its end."""
    phase = scheduler._session.state.phase
    return type(phase), phase.detections if isinstance(phase, Grow) else 0


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in RUNS]
)
def test_a_break_at_every_turn(name):
    """Around lift-off, a test, the switch, the start and the end, and at random steps."""
    training, turns = Training(**RUNS[name]), {0, 1, STEPS - 1, STEPS}
    before = stage(training.scheduler)
    while training.scheduler.last_epoch < STEPS:
        training.run(training.scheduler.last_epoch + 1)
        now, step = stage(training.scheduler), training.scheduler.last_epoch
        if now != before:
            turns |= {step - 1, step, step + 1}
        before = now
    assert training.scheduler.switch is not None
    turns = {turn for turn in turns if 0 <= turn <= STEPS}
    chosen = random.Random(name).sample(sorted(turns - {0, STEPS}), min(4, len(turns) - 2))
    assert_resumes(name, STEPS, [*chosen, random.Random(name).randrange(STEPS)])


@pytest.mark.parametrize("kind", [float, torch.tensor, np.float64])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_break_within_an_update(kind, count):
    """Between two micro-batches; a mean in float32 does not become one in float64."""
    whole, broken = scheduler(), scheduler()
    for step, loss in enumerate(v_curve()):
        micro = [kind(loss), kind(loss / 3), kind(loss / 7)]
        for part in micro[:count]:
            whole.observe(part)
            broken.observe(part)
        if step % 10 == 5:
            state = saved(broken.state_dict())
            broken = scheduler()
            broken.load_state_dict(state)
            assert_equal(broken.state_dict(), state)
        for part in micro[count:]:
            whole.observe(part)
            broken.observe(part)
        whole.step()
        broken.step()
        assert broken.get_last_lr() == whole.get_last_lr()
    assert_equal(broken.state_dict(), whole.state_dict())
    assert whole.switch is not None


@pytest.mark.parametrize("step", [30, 50, 100])
@pytest.mark.parametrize("name", ["default", "tensor lr"])
def test_the_order_of_construction_does_not_matter(name, step):
    lrs, end = uninterrupted(name, STEPS)
    first = Training(**RUNS[name])
    first.run(step)
    state = saved(first.state())

    restored_first = Training(**RUNS[name])
    restored_first.optimizer = RUNS[name].get("optimizer", AdamW)(restored_first.model.parameters())
    restored_first.optimizer.load_state_dict(state["optimizer"])
    restored_first.scheduler = autowu.AutoWU(restored_first.optimizer, STEPS, model=restored_first.model)
    restored_first.model.load_state_dict(state["model"])
    restored_first.scheduler.load_state_dict(state["scheduler"])

    scheduler_first, state = Training(**RUNS[name]), saved(first.state())
    for part in ("scheduler", "optimizer", "model"):
        getattr(scheduler_first, part).load_state_dict(state[part])

    for resumed in (restored_first, scheduler_first):
        assert resumed.run(STEPS) == lrs[step:]
        assert_equal(resumed.state(), end)


def test_initial_lrs_that_a_checkpoint_dropped():
    """As torch.distributed.checkpoint does: the groups' own LRs are the scheduler's to know."""

    def build():
        groups = [{"params": parameters(2), "lr": 0.3}, {"params": parameters(3)}]
        return AdamW(groups, lr=0.1)

    first = autowu.AutoWU(build(), STEPS)
    first.optimizer.step()
    drive(first, v_curve()[:50])
    state = saved({"optimizer": first.optimizer.state_dict(), "scheduler": first.state_dict()})
    for group in state["optimizer"]["param_groups"]:
        del group["initial_lr"]
    optimizer = build()
    optimizer.load_state_dict(state["optimizer"])
    resumed = autowu.AutoWU(optimizer, STEPS)
    resumed.load_state_dict(state["scheduler"])
    for loss in v_curve()[50:]:
        first.step(loss)
        resumed.step(loss)
        assert resumed.get_last_lr() == first.get_last_lr()


def test_resuming_after_the_end():
    first = scheduler()
    drive(first, v_curve())
    with pytest.warns(UserWarning, match="total_steps"):
        first.step(1.0)
    resumed = scheduler()
    resumed.load_state_dict(saved(first.state_dict()))
    resumed.step(1.0)  # without another warning
    assert resumed.last_epoch == STEPS + 2
    assert resumed.get_last_lr() == first.get_last_lr() == [0.0]


def test_settings_from_numpy_are_saved_as_plain_numbers():
    made = scheduler(np.int64(50), confidence=np.float64(0.9), seed=np.int32(2))
    assert_equal(saved(made.state_dict()), made.state_dict())


@pytest.mark.parametrize(
    ("preset", "total_steps", "limit"),
    [
        ("default", 10_000, 400_000),
        ("paper", 10_000, 400_000),
        pytest.param("paper", 1_000_000, 10_000_000, marks=pytest.mark.full),
    ],
)
def test_a_million_steps_fit_into_ten_megabytes(preset, total_steps, limit):
    """In warm-up to its cap, where most losses are kept; the default's million is in tests/reliability."""
    made = scheduler(total_steps, preset=preset, steps_per_epoch=total_steps // 200)
    steps, size = made.config.growth_steps, 0
    noise = np.random.default_rng(0).normal(0, 0.02, steps)
    losses = (2.3 - 2 * np.arange(steps) / steps + noise).tolist()
    for step, loss in enumerate(losses[:-1], 1):
        made.step(loss)
        if step % (steps // 5) == 0 or step == steps - 1:
            file = io.BytesIO()
            torch.save(made.state_dict(), file)
            size = max(size, file.tell())
    assert made.phase == "warmup"
    assert 6 * steps < size <= limit


def test_a_run_whose_loss_has_risen_before_lift_off_goes_on():
    """Wherever the break is in a warm-up that goes back twice, and ends at a tenth of the last LR."""
    draws = np.random.default_rng(0).standard_normal(200)
    risen = set()

    def follow(scheduler, steps):
        lrs = []
        for step in steps:
            lrs.append(scheduler.get_last_lr()[0])
            scheduler.step((2.3 if lrs[-1] < 0.01 else 23.0) + 0.1 * draws[step])
            phase = scheduler._session.state.phase
            if isinstance(phase, Search) and phase.too_large is not None:
                risen.add(scheduler)
        return lrs

    whole = scheduler(300)
    lrs = follow(whole, range(150))
    assert whole in risen
    assert whole.switch is not None
    assert not whole.switch.capped
    for step in range(1, 150, 3):
        first, second = scheduler(300), scheduler(300)
        follow(first, range(step))
        second.load_state_dict(saved(first.state_dict()))
        assert follow(second, range(step, 150)) == lrs[step:], step
        assert_equal(saved(second.state_dict())["run"][0], saved(whole.state_dict())["run"][0])
