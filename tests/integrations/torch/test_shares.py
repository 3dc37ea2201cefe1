"""What earlier users of an optimizer left in its groups, groups that are added, and several optimizers."""

import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, OneCycleLR

import autowu
from integrations.torch.training import STEPS, core_lrs, group_lrs, parameters, v_curve


def written(optimizer, losses=None, **settings):
    """The LRs of all updates, and the scheduler."""
    made = autowu.AutoWU(optimizer, STEPS, **settings)
    lrs = [group_lrs(made)]
    for loss in losses or v_curve():
        made.step(loss)
        lrs.append(group_lrs(made))
    return lrs, made


def stepped(make):
    def left(optimizer):
        before = make(optimizer)
        for _ in range(7):
            optimizer.step()
            before.step()

    return left


def by_hand(*lrs):
    def left(optimizer):
        for group, lr in zip(optimizer.param_groups, lrs, strict=False):
            group["lr"] = lr

    return left


LEFT = {
    "OneCycleLR": stepped(lambda o: OneCycleLR(o, max_lr=0.3, total_steps=20)),
    "CyclicLR": stepped(lambda o: CyclicLR(o, 1e-6, 0.1, cycle_momentum=False)),
    "a schedule that ended at 0": stepped(lambda o: LambdaLR(o, lambda step: max(0.0, 1 - step / 5))),
    "a schedule that ended at 0, by hand": by_hand(0.0),
    "a finder": by_hand(3.7),
    "a small LR by hand": by_hand(6e-5),
}


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("tensor", [False, True])
def test_the_lr_that_an_earlier_user_left_does_not_matter(left, tensor):
    optimizer = AdamW(parameters(3), lr=torch.tensor(6e-4) if tensor else 6e-4)
    if not tensor or "hand" in left:
        LEFT[left](optimizer)
    expected = core_lrs(autowu.Config(total_steps=STEPS), v_curve())
    lrs, made = written(optimizer)
    assert lrs == [[pytest.approx(lr, rel=1e-6)] for lr in expected]
    assert max(lr for (lr,) in lrs[made.switch.step :]) == pytest.approx(made.switch.peak_lr, rel=1e-6)


def test_one_lr_for_all_groups_is_that_whatever_the_default_is():
    optimizer = SGD([{"params": [p], "lr": 0.3} for p in parameters(2, 3)], lr=1e-3)
    lrs, made = written(optimizer)
    assert lrs == [[lr, lr] for lr in core_lrs(made.config, v_curve())]


def test_groups_that_ended_at_zero_keep_the_ratio_that_they_began_with():
    optimizer = SGD(
        [{"params": [p], "lr": lr} for p, lr in zip(parameters(2, 3), (0.1, 0.01), strict=True)], lr=0.1
    )
    stepped(lambda o: LambdaLR(o, lambda step: max(0.0, 1 - step / 5)))(optimizer)
    assert group_lrs(type("Of", (), {"optimizer": optimizer})) == [0, 0]
    lrs, _ = written(optimizer)
    assert all(second == pytest.approx(first / 10) for first, second in lrs)


# --- groups added later -------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 1 / 3, 0.01, 10.0, 1.0])
@pytest.mark.parametrize("at", [50, 64, 150])
def test_a_group_that_is_added_with_a_share_of_the_lr_of_now_keeps_it(share, at):
    optimizer = AdamW(parameters(3), lr=1e-3)
    made = autowu.AutoWU(optimizer, STEPS)
    for step, loss in enumerate(v_curve()):
        if step == at:
            optimizer.add_param_group(
                {"params": parameters(2), "lr": share * optimizer.param_groups[0]["lr"]}
            )
        made.step(loss)
        if step >= at:
            first, second = group_lrs(made)
            assert second == pytest.approx(share * first, rel=1e-12)


def test_a_group_that_is_added_without_an_lr_has_the_others():
    optimizer = AdamW([{"params": parameters(3), "lr": 0.02}], lr=1e-3)
    made = autowu.AutoWU(optimizer, STEPS)
    for step, loss in enumerate(v_curve()):
        if step == 40:
            optimizer.add_param_group({"params": parameters(2)})
        made.step(loss)
    assert len(set(group_lrs(made))) == 1


# --- optimizers without an LR, or without defaults ----------------------------------------------------


class Auxiliary(Optimizer):
    """As Muon with an auxiliary Adam: groups with LRs of their own, and no defaults."""

    def __init__(self, groups):
        super().__init__(groups, {})


def test_without_defaults_the_first_groups_lr_is_the_reference_and_named():
    groups = [{"params": parameters(2), "lr": 0.02}, {"params": parameters(3), "lr": 3e-4}]
    with pytest.warns(
        UserWarning, match=r"no default lr, and its first group's, 0\.02, serves\. Groups with 0\.0003"
    ):
        made = autowu.AutoWU(Auxiliary(groups), STEPS)
    assert group_lrs(made) == [1e-5, pytest.approx(1.5e-7)]


class Relative(Optimizer):
    """As Adafactor: it sets its LR by itself."""

    def __init__(self, params):
        super().__init__(params, {"lr": None, "relative_step": True})


class Around(Optimizer):
    """As Accelerate's and Lightning's: another one is within."""

    def __init__(self, params):
        self.optimizer = Relative(params)

    @property
    def param_groups(self):
        return self.optimizer.param_groups


class Without(Optimizer):
    def __init__(self, params):
        super().__init__(params, {"rho": 0.1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Relative, r"must have a number as lr, not None: Relative .* relative_step=False"),
        (Around, r"must have a number as lr, not None: Relative would set"),
        (Without, r"must have an 'lr' in each parameter group.*group 0 of Without has none, only rho"),
    ],
)
def test_an_optimizer_without_an_lr_is_refused_with_what_to_do(make, message):
    optimizer = make(parameters(3))
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=message):
        autowu.AutoWU(optimizer, STEPS)
    assert [list(group) for group in optimizer.param_groups] == [list(group) for group in before]


def test_an_added_group_without_an_lr_is_refused_and_nothing_changes():
    made = autowu.AutoWU(SGD(parameters(3), lr=0.1), STEPS)
    made.optimizer.param_groups.append({"params": parameters(2), "momentum": 0})
    for _ in range(2):
        with pytest.raises(ValueError, match="group 1 of SGD has none"):
            made.step(1.0)
    assert made.last_epoch == 0


# --- several optimizers -------------------------------------------------------------------------------


def pair():
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    return model, [SGD([model.weight], lr=0.02, momentum=0.9), AdamW([model.bias], lr=3e-4)]


def train(model, optimizers, made, losses):
    kept = None
    for loss in losses:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        for optimizer in optimizers:
            optimizer.step()
        before = made.switch
        made.step(loss)
        if made.switch and not before:
            return kept, [p.clone() for p in model.parameters()]
        if made._session.state.snapshot_step == made.last_epoch:
            kept = [p.detach().clone() for p in model.parameters()]
    return None


def test_several_optimizers_have_one_decision_one_rewind_and_keep_their_ratio():
    model, optimizers = pair()
    made = autowu.AutoWU(optimizers, STEPS, model=model)
    expected = core_lrs(made.config, v_curve())
    for step, loss in enumerate(v_curve()[:60], 1):
        made.step(loss)
        assert optimizers[0].param_groups[0]["lr"] == expected[step]
        assert optimizers[1].param_groups[0]["lr"] == pytest.approx(expected[step] * 3e-4 / 0.02)
    model, optimizers = pair()
    made = autowu.AutoWU(optimizers, STEPS, model=model)
    kept, back = train(model, optimizers, made, v_curve())
    assert all(map(torch.equal, kept, back))
    assert optimizers[1].state[model.bias]["step"] == made.switch.rewound_to
    assert made.get_last_lr() == [
        pytest.approx(made.switch.peak_lr),
        pytest.approx(made.switch.peak_lr * 0.015),
    ]


def test_the_state_of_several_optimizers_goes_on_bit_for_bit():
    model, optimizers = pair()
    made = autowu.AutoWU(optimizers, STEPS, model=model)
    train(model, optimizers, made, v_curve()[:64])
    other, theirs = pair()
    other.load_state_dict(model.state_dict())
    for mine, its in zip(optimizers, theirs, strict=True):
        its.load_state_dict(mine.state_dict())
    again = autowu.AutoWU(theirs, STEPS, model=other)
    again.load_state_dict(made.state_dict())
    assert made.switch is None
    one, two = train(model, optimizers, made, v_curve()[64:]), train(other, theirs, again, v_curve()[64:])
    assert all(map(torch.equal, one[1], two[1]))
    assert made.switch == again.switch


def test_another_number_of_optimizers_is_refused():
    model, optimizers = pair()
    state = autowu.AutoWU(optimizers, STEPS).state_dict()
    with pytest.raises(ValueError, match="1 optimizers with parameter groups here, in the saved state 2"):
        autowu.AutoWU(AdamW(model.parameters()), STEPS).load_state_dict(state)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ([], ValueError, "not an empty list"),
        ([AdamW(parameters(2)), None], TypeError, "must be a torch.optim.Optimizer, not NoneType"),
        ([AdamW(parameters(2))] * 2, ValueError, "one is given twice"),
        (nn.Linear(2, 2), TypeError, "not Linear"),
    ],
)
def test_what_is_no_optimizer_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        autowu.AutoWU(wrong, STEPS)


def test_parameters_of_the_model_that_no_optimizer_holds_are_told():
    model, optimizers = pair()
    with pytest.warns(UserWarning, match="no optimizer that it was given holds bias of model="):
        autowu.AutoWU(optimizers[0], STEPS, model=model)
    model.bias.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        autowu.AutoWU(optimizers[0], STEPS, model=model)


# --- a second hand ------------------------------------------------------------------------------------


SECOND = {
    "another scheduler": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100).step,
    "by hand": lambda o: lambda: o.param_groups[0].update(lr=0.123),
    "a tensor by hand": lambda o: lambda: o.param_groups[0]["lr"].fill_(0.123),
}


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("first", [False, True])
def test_another_hand_on_the_lr_is_told_once(name, first):
    optimizer = SGD(parameters(3), lr=torch.tensor(0.1) if "tensor" in name else 0.1)
    made = autowu.AutoWU(optimizer, STEPS)
    act = SECOND[name](optimizer)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        optimizer.step()
        for loss in v_curve()[:80]:
            if first:
                act()
            made.step(loss)
            if not first:
                act()
                if "tensor" not in name:
                    assert made.get_last_lr() == group_lrs(made)  # what is used
    told = [str(each.message) for each in told if "AutoWU had written" in str(each.message)]
    assert len(told) == 1
    assert "something else sets it, too" in told[0]


def test_a_checkpoint_that_is_loaded_in_the_usual_order_is_no_second_hand():
    optimizer = AdamW(parameters(3), lr=0.1)
    made = autowu.AutoWU(optimizer, STEPS)
    for loss in v_curve()[:50]:
        made.step(loss)
    other = AdamW(parameters(3), lr=0.1)
    again = autowu.AutoWU(other, STEPS)
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(made.state_dict())
    for loss in v_curve()[50:]:
        again.step(loss)  # warnings are errors


def test_a_state_in_which_every_lr_would_be_zero_is_refused():
    made = autowu.AutoWU(AdamW(parameters(3)), STEPS)
    state = dict(made.state_dict()) | {"shares": [[0.0]]}
    with pytest.raises(ValueError, match="every LR would be 0"):
        made.load_state_dict(state)
