"""Groups that others replace, reorder or load behind the scheduler's back keep the share that is theirs."""

import copy

import numpy as np
import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR

import autowu
from integrations.torch.training import STEPS, drive, group_lrs, parameters, v_curve


def two_groups(optimizer=SGD, first=0.1, second=0.01):
    one, other = parameters(2, 3)
    return optimizer([{"params": [one], "lr": first}, {"params": [other], "lr": second}], lr=first)


class Shared(Optimizer):
    """As LARC of apex: it shares the groups of the one that it holds, which a loaded state makes anew."""

    def __init__(self, inner):
        self.optim = inner
        self.param_groups, self.defaults, self.state = inner.param_groups, inner.defaults, inner.state

    def step(self, closure=None):
        self.optim.step()

    def load_state_dict(self, state):
        self.optim.load_state_dict(state)


@pytest.mark.parametrize("depth", [1, 2])
def test_an_inner_optimizer_whose_state_is_loaded_is_driven_on(depth):
    optimizer = inner = two_groups()
    for _ in range(depth):
        optimizer = Shared(optimizer)
    made = autowu.AutoWU(optimizer, STEPS)
    drive(made, v_curve()[:20])
    optimizer.load_state_dict(copy.deepcopy(inner.state_dict()))
    drive(made, v_curve()[20:50])
    lr = made.learning_rate
    assert [group["lr"] for group in inner.param_groups] == [lr, lr * (0.01 / 0.1)]


def test_a_group_that_takes_the_place_of_another_gets_its_own_share():
    made = autowu.AutoWU(two_groups(), STEPS)
    drive(made, v_curve()[:40])
    made.optimizer.param_groups.pop()
    made.optimizer.add_param_group({"params": parameters(5), "lr": 10 * group_lrs(made)[0]})
    drive(made, v_curve()[40:60])
    assert group_lrs(made) == [made.learning_rate, pytest.approx(10 * made.learning_rate, rel=1e-12)]


def test_groups_in_another_order_keep_their_shares():
    made = autowu.AutoWU(two_groups(), STEPS)
    drive(made, v_curve()[:40])
    made.optimizer.param_groups.reverse()
    drive(made, v_curve()[40:60])
    assert group_lrs(made) == [made.learning_rate * (0.01 / 0.1), made.learning_rate]
    drive(made, v_curve()[60:])
    assert len(made.state_dict()["shares"][0]) == 2


def test_a_state_that_is_loaded_makes_all_groups_anew_and_they_stand_where_they_stood():
    made = autowu.AutoWU(two_groups(AdamW), STEPS)
    drive(made, v_curve()[:40])
    made.optimizer.load_state_dict(copy.deepcopy(made.optimizer.state_dict()))
    drive(made, v_curve()[40:60])
    assert group_lrs(made) == [made.learning_rate, made.learning_rate * (0.01 / 0.1)]


@pytest.mark.parametrize("lr", [1, 0, np.float64(0.5), np.float32(0.5), np.interp(3, [0, 9], [0.1, 0])])
def test_a_second_hand_that_writes_no_float_is_told(lr):
    made = autowu.AutoWU(two_groups(), STEPS)
    drive(made, v_curve()[:20])
    made.optimizer.param_groups[0]["lr"] = lr
    with pytest.warns(UserWarning, match=f"at step 21 a parameter group had the LR {lr:.3g}, where AutoWU"):
        made.step(0.5)
    assert type(group_lrs(made)[0]) is float


@pytest.mark.parametrize("number", [np.float64, np.float32, int])
def test_a_number_that_the_groups_came_with_is_no_second_hand(number):
    made = autowu.AutoWU(two_groups(first=number(1), second=number(2)), STEPS)
    drive(made, v_curve()[:20])
    assert group_lrs(made) == [made.learning_rate, 2 * made.learning_rate]


@pytest.mark.parametrize("schedule", ["lambda", "cosine", "one cycle"])
def test_lrs_that_are_set_anew_after_an_earlier_schedule_are_those_that_count(schedule):
    optimizer = two_groups(second=0.1)
    earlier = {
        "lambda": lambda: LambdaLR(optimizer, lambda step: 0.97**step),
        "cosine": lambda: CosineAnnealingLR(optimizer, 100),
        "one cycle": lambda: OneCycleLR(optimizer, 1.0, 100),
    }[schedule]()
    for _ in range(30):
        optimizer.step()
        earlier.step()
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.1, 0.001
    made = autowu.AutoWU(optimizer, STEPS)
    drive(made, v_curve()[:20])
    assert group_lrs(made) == [made.learning_rate, made.learning_rate * (0.001 / 0.1)]


def test_an_initial_lr_that_somebody_noted_does_not_hide_that_no_group_has_the_default_lr():
    one, other = parameters(2, 3)
    optimizer = AdamW([{"params": [one], "lr": 0.008}, {"params": [other], "lr": 0.04}])
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    with pytest.warns(UserWarning, match=r"default lr, 0.001. Groups with 0.008, 0.04 get 8, 40 times"):
        autowu.AutoWU(optimizer, STEPS)


def test_a_schedule_that_left_the_groups_at_odd_ratios_does_not_change_theirs():
    optimizer = two_groups()
    earlier = LambdaLR(optimizer, [lambda step: 0.97**step, lambda step: 0.93**step])
    for _ in range(30):
        optimizer.step()
        earlier.step()
    made = autowu.AutoWU(optimizer, STEPS)
    assert group_lrs(made) == [made.learning_rate, made.learning_rate * (0.01 / 0.1)]


def test_a_loaded_state_of_a_run_with_an_unfrozen_layer_keeps_its_share():
    made = autowu.AutoWU(AdamW(parameters(2), lr=0.1), STEPS)
    drive(made, v_curve()[:40])
    made.optimizer.add_param_group({"params": parameters(5), "lr": group_lrs(made)[0] / 10})
    drive(made, v_curve()[40:50])
    optimizer = AdamW(parameters(2), lr=0.1)
    optimizer.add_param_group({"params": parameters(5)})
    optimizer.load_state_dict(copy.deepcopy(made.optimizer.state_dict()))
    again = autowu.AutoWU(optimizer, STEPS)
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    torch.testing.assert_close(group_lrs(again), group_lrs(made), rtol=1e-12, atol=0)
