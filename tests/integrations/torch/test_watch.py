"""Real training that blows up after the switch: back to the copy, on with a third of the LR, and a resume."""

import copy
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from torch.optim import SGD

from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.warned import _below
from autowu.integrations.weights import Weights
from integrations.torch.test_resume import saved
from integrations.torch.training import STEPS as SHORT
from integrations.torch.training import (
    Training,
    assert_equal,
    blown_up,
    core_lrs,
    drive,
    scheduler,
    v_curve,
)

STEPS, AT = 600, 425


class Blown(Training):
    """From update ``AT`` on, and until the LR is cut, the gradients explode."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(partial(SGD, lr=0.1, momentum=0.9), total_steps=STEPS, **settings)
        self.seen: list[float] = []

    def update(self) -> Tensor:
        loss = self.loss(self.scheduler.last_epoch)
        self.optimizer.zero_grad()
        (loss * (1000 if self.scheduler.last_epoch >= AT and not self.scheduler.cuts else 1)).backward()
        self.optimizer.step()
        self.seen.append(float(loss.detach()))
        return loss


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warning of a cut."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "AutoWU: at step [0-9]+ of [0-9]+ the loss")
        yield


@cache
def whole() -> tuple[Blown, list[float]]:
    run = Blown()
    with quietly():
        return run, run.run(STEPS)


def test_training_recovers() -> None:
    run, lrs = whole()
    switch, (cut,) = run.scheduler.switch, run.scheduler.cuts
    assert switch is not None
    assert cut.back_to is not None
    assert switch.step < cut.back_to < AT < cut.step < AT + 30
    assert cut.factor == 1 / 3
    assert lrs[cut.step] == pytest.approx(
        switch.peak_lr / 3 * (STEPS - cut.step) / (STEPS - switch.step), rel=1e-12
    )
    before, after = np.mean(run.seen[AT - 50 : AT]), np.mean(run.seen[-50:])
    assert max(run.seen[AT : cut.step]) > 10 * before
    assert after <= before


def test_the_lr_is_that_of_the_core() -> None:
    run, lrs = whole()
    assert core_lrs(run.scheduler.config, run.seen)[:STEPS] == lrs


def test_all_that_training_changes_goes_back() -> None:
    (cut,) = whole()[0].scheduler.cuts
    run = Blown()
    run.run(cut.back_to)
    kept = copy.deepcopy({"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict()["state"]})
    with pytest.warns(UserWarning, match=f"go back to those of step {cut.back_to}"):
        run.run(cut.step)
    assert_equal({"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict()["state"]}, kept)


def test_the_copy_is_in_each_checkpoint_up_to_the_end() -> None:
    run, copies = Blown(watch=4.0), list[bool]()
    with quietly():
        while run.scheduler.last_epoch < STEPS:
            run.run(run.scheduler.last_epoch + 1)
            copies.append(run.scheduler.state_dict()["snapshot"] is not None)
    switch = run.scheduler.switch
    assert switch is not None
    assert all(copies[switch.step : -1])
    assert not copies[-1]
    off = Blown(watch=None)
    off.run(switch.step)
    assert off.scheduler.switch == switch
    assert off.scheduler.state_dict()["snapshot"] is None


def test_a_break_at_every_turn() -> None:
    run, lrs = whole()
    switch, (cut,) = run.scheduler.switch, run.scheduler.cuts
    assert switch is not None
    renewed = int(cut.back_to or 0)
    for step in (switch.step, switch.step + 7, renewed, AT + 3, cut.step - 1, cut.step, cut.step + 5, 590):
        with quietly():
            broken = Blown()
            broken.run(step)
            state = saved(broken.state())
            resumed = Blown().load(state)
            assert_equal(resumed.state(), state)
            assert resumed.run(STEPS) == lrs[step:], step
        assert_equal(resumed.state(), run.state(), f"{step}: ")


def test_a_state_of_another_setting_is_refused() -> None:
    state = Blown().scheduler.state_dict()
    with pytest.raises(ValueError, match=r"watch is None here, but 4\.0 in the saved state"):
        Blown(watch=None).scheduler.load_state_dict(state)


# --- what is said -------------------------------------------------------------------------------------


def texts(losses: list[float], **settings: Any) -> list[str]:
    """What a scheduler warns of, which the driver of other hosts says in the same words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = scheduler(len(losses), **settings)
        drive(made, losses)
    said = [str(each.message) for each in caught]
    driver = Driver(Config(total_steps=len(losses), **settings))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for loss in losses:
            driver.observe(loss)
            driver.step(lambda: Weights({"w": np.zeros(3)}, {}))
    assert [str(each.message) for each in caught] == said
    assert driver.cuts == made.cuts
    return said


def test_a_cut_is_told_once() -> None:
    (text,) = texts(blown_up())
    assert text.startswith("AutoWU: at step ")
    assert " of 240 the loss had risen from 0.4" in text
    assert "It falls to a third, and the weights go back to those of step " in text


def test_a_small_rise_that_lasts_is_told_once() -> None:
    losses = blown_up()
    risen = next(step for step in range(80, SHORT) if losses[step] > 1.5)
    (text,) = texts([*losses[:risen], *(loss + 0.05 for loss in [0.5] * (SHORT - risen))])
    assert re.fullmatch(
        r"AutoWU: at step 1\d\d of 240 the loss is at 0\.5[45]\d*, and has been above its least level,"
        r" 0\.4\d+, for the last 50 updates\..* a run with max_lr=0\.005 may end lower\.",
        text,
    )


def test_what_is_told_of_a_small_rise_are_settings_that_there_may_be() -> None:
    for least in (1e-5, 5e-3):
        config = Config(total_steps=SHORT, min_lr=least)
        said = _below(config, 0.014 / 3)
        named = {name: float(value) for name, value in (each.split("=") for each in said.split(" and "))}
        assert named["max_lr"] == pytest.approx(0.014 / 3, rel=0.1)
        assert Config(**{"total_steps": SHORT, "min_lr": least, **named}).max_lr < 0.014


def test_without_rewinding_it_is_told_that_the_weights_stay() -> None:
    (text,) = texts(blown_up(), rewind=False)
    assert text.endswith("It falls to a third, and the weights stay as they are, since there is no snapshot.")


def test_data_that_change_are_told_once() -> None:
    losses = blown_up()
    risen = next(step for step in range(80, SHORT) if losses[step] > 1.5)
    cut, back = texts([*losses[:risen], *[loss + 1.5 for loss in [0.5] * (SHORT - risen)]])
    assert "had risen" in cut
    assert back.startswith(
        "AutoWU: after the weights had gone back the loss was as high at once (2): at step"
    )


def test_a_loss_that_is_not_finite_is_told_as_that() -> None:
    losses = blown_up()
    losses = [loss if not (step >= 80 and loss > 1.5) else float("nan") for step, loss in enumerate(losses)]
    first, cut = texts(losses)
    assert "not finite up to step" in first
    assert "the loss was not finite, and so the LR was too large" in cut


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
def test_a_loss_that_has_not_fallen_by_half_of_the_run_is_told_once() -> None:
    noise = 0.02 * np.random.default_rng(0).standard_normal(601)
    text = next(text for text in texts((1 + noise).tolist()) if "first values" in text)
    assert text.startswith("AutoWU: at step ")
    assert text.endswith("a fixed schedule is: https://autowu.github.io/autowu/when-not/")
    assert sum("first values" in each for each in texts((1 + noise).tolist())) == 1
    assert not any("first values" in each for each in texts(v_curve()[:90] + [0.5] * 150, watch=None))
