"""What people hand in by mistake, or between two steps: counts, lists, groups, an optimizer without an LR."""

import numpy as np
import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer, Rprop

import autowu
from autowu.integrations.torch.told import Count
from integrations.torch.training import STEPS, drive, parameters, scheduler, v_curve


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (range(STEPS), "a count, from 0 to "),
        (range(1, STEPS + 1), "a count, from 1 to "),
        (torch.arange(STEPS) // 12, "a count, from 0 to 2"),
        (np.arange(STEPS) / 12 + 3, "a count, from 3 to "),
        (np.arange(STEPS, dtype=np.float32) / 391, "a count, from 0 to "),
    ],
)
def test_a_count_in_place_of_the_loss_is_told_early_on_and_once(given, told, recwarn):
    made = scheduler()
    for loss in list(given)[: STEPS // 4]:
        made.step(loss)
    messages = [str(each.message) for each in recwarn]
    assert [told in message for message in messages] == [True]


@pytest.mark.parametrize(
    "losses",
    [
        v_curve(),
        [0.0] * STEPS,
        [float(step % 2) for step in range(STEPS)],
        [1.0] * 12 + [2.0] * 12,
        [float("nan")] * STEPS,
        (1.01 ** np.arange(STEPS)).tolist()[:9],
        np.linspace(3, 2, STEPS).tolist(),
    ],
)
def test_losses_are_no_count(losses):
    count, at = Count(), 0
    for length in (1, 2, 3, 50, len(losses)):  # of whatever lengths they are read
        assert count.add(np.array(losses[at : at + length])) is None
        at += length


def test_a_count_is_one_however_it_is_read():
    for lengths in ((1, 1, 8), (10,), (5, 0, 5), (9, 1)):
        count, at, found = Count(), 0, []
        for length in lengths:
            found.append(count.add(np.arange(at, at + length, dtype=float)))
            at += length
        assert found[-1] == (0, 9)
        assert not any(found[:-1])
        assert count.add(np.arange(10.0, 20.0)) is None


def test_an_optimizer_that_follows_no_lr_is_told():
    with pytest.warns(UserWarning, match=r"Rprop takes its LR for its very first step alone"):
        autowu.AutoWU([SGD(parameters(), lr=0.1), Rprop(parameters())], STEPS)


def test_two_lrs_that_are_nearly_the_same_are_told_apart(recwarn):
    """As another scheduler's that begins where this one is."""
    made = scheduler()
    drive(made, v_curve()[:1])
    written = made.optimizer.param_groups[0]["lr"]
    made.optimizer.param_groups[0]["lr"] = written * 1.0001
    drive(made, v_curve()[1:2])
    (told,) = [str(each.message) for each in recwarn if "AutoWU had written" in str(each.message)]
    found, expected = told.split("had the LR ")[1].split(":")[0].split(", where AutoWU had written ")
    assert found != expected == f"{written:.{len(expected.split('e')[0]) - 1}g}"


def test_a_group_that_was_added_since_the_last_step_is_saved():
    """Layers are unfrozen, and a checkpoint is written, between two epochs."""
    one, other = parameters(2, 3)
    optimizer = SGD([one], lr=0.1)
    made = autowu.AutoWU(optimizer, STEPS)
    drive(made, v_curve()[:40])
    optimizer.add_param_group({"params": [other], "lr": made.learning_rate / 10})
    assert made.base_lrs == [0.1, made.learning_rate / 10]
    saved, of_optimizer = made.state_dict(), optimizer.state_dict()
    again = autowu.AutoWU(SGD([{"params": [each]} for each in parameters(2, 3)], lr=0.1), STEPS)
    again.optimizer.load_state_dict(of_optimizer)
    again.load_state_dict(saved)
    for each in (made, again):
        drive(each, v_curve()[40:60])
    assert again.get_last_lr() == made.get_last_lr()
    assert made.get_last_lr()[1] == pytest.approx(made.learning_rate / 10, rel=1e-12)


def test_groups_that_a_step_refuses_are_saved_as_they_were():
    one, other = parameters(2, 3)
    optimizer = SGD([{"params": [one]}, {"params": [other], "lr": 0.01}], lr=0.1)
    made = autowu.AutoWU(optimizer, STEPS)
    drive(made, v_curve()[:40])
    before, group = made.state_dict()["shares"], optimizer.param_groups.pop()
    assert made.state_dict()["shares"] == before
    optimizer.param_groups.append(group)
    made.load_state_dict(made.state_dict())


def test_several_models_are_told_how_to_be_one():
    models = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)]
    with pytest.raises(TypeError, match=r"several are one as torch\.nn\.ModuleList"):
        scheduler(model=models)


class Lion(AdamW):
    """As lion-pytorch's: its decay is divided by the first LR."""

    def __init__(self, params, decoupled_weight_decay, weight_decay=0.1):
        super().__init__(params, weight_decay=weight_decay)
        self._init_lr, self.decoupled_wd = 1e-3, decoupled_weight_decay


def with_setting(name):
    def make(params, value, weight_decay=0.1):
        return AdamW([{"params": params, name: value}], weight_decay=weight_decay)

    return make


class Holder(Optimizer):
    def __init__(self, inner):
        self.inner = inner
        super().__init__(inner.param_groups, {})


@pytest.mark.parametrize("held", [False, True], ids=["itself", "held"])
@pytest.mark.parametrize("name", ["decoupled_weight_decay", "corrected_weight_decay", "decouple_lr"])
def test_a_decay_that_goes_by_the_lr_of_the_start_is_told(name, held, recwarn):
    make = Lion if name == "decoupled_weight_decay" else with_setting(name)
    for optimizer in (make(parameters(3), False), make(parameters(3), True, weight_decay=0.0)):
        autowu.AutoWU(optimizer, STEPS)
    assert not recwarn
    optimizer = make(parameters(3), True)
    with pytest.warns(
        UserWarning, match=f"with {name} the weight decay of {type(optimizer).__name__}"
    ) as told:
        autowu.AutoWU(Holder(optimizer) if held else optimizer, STEPS)
    assert len(told) == 1
