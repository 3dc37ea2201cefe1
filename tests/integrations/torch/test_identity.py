"""What goes back is known by identity: layers frozen, added or replaced before the rewind."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import autowu
from integrations.torch.training import STEPS, v_curve

SNAPSHOT = 62  # the step of the snapshot that a run of the curve goes back to


def run(model, optimizer, change, **settings):
    """A run in which ``change`` is made a little after the snapshot; the values then, and what is said."""
    made = autowu.AutoWU(optimizer, STEPS, model=model, **settings)
    kept = None
    for step, loss in enumerate(v_curve(), 1):
        for parameter in (each for each in model.parameters() if each.requires_grad):
            parameter.grad = torch.full_like(parameter, 0.1)
        optimizer.step()
        made.step(loss)
        if made._session.state.snapshot_step == step:
            kept = copy.deepcopy(model.state_dict())
        if step == SNAPSHOT + 2:
            assert made.switch is None
            change(model, optimizer)
        if made.switch:
            break
    assert made.switch.rewound_to in (SNAPSHOT, None)
    return made, kept


def layers(count=4):
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Linear(3, 3) for _ in range(count)])


class Scaled(nn.Module):
    """Around another module, as wrappers are; and with weights and a buffer of its own."""

    def __init__(self, module, mean):
        super().__init__()
        self.module, self.scale = module, nn.Parameter(torch.full((3,), mean))
        self.register_buffer("mean", torch.tensor(mean))


def scaled_twice():
    return Scaled(Scaled(nn.Linear(3, 3), 1.0), 2.0)


def freeze_first(model, optimizer):
    """As a container of trainable parameters does: the group is made anew, without a layer's."""
    model[0].requires_grad_(False)
    optimizer.param_groups[0]["params"] = list(model[1:].parameters())


def drop_from_group(model, optimizer):
    optimizer.param_groups[0]["params"].pop(0)


def move_to_a_group_of_its_own(model, optimizer):
    parameter = optimizer.param_groups[0]["params"].pop(0)
    optimizer.add_param_group({"params": [parameter]})


@pytest.mark.parametrize("make", [AdamW, lambda p: SGD(p, lr=0.1, momentum=0.9)])
@pytest.mark.parametrize("change", [freeze_first, drop_from_group, move_to_a_group_of_its_own])
def test_neighbours_of_one_shape_get_their_own_weights_back(change, make):
    model = layers()
    optimizer = make(model.parameters())
    held = list(model.parameters())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made, kept = run(model, optimizer, change)
    gone = {freeze_first: ["0.weight, 0.bias"], drop_from_group: ["0.weight"]}.get(change, [])
    assert [f"but for {names}:" in str(each.message) for names, each in zip(gone, told, strict=True)] == [
        True
    ] * len(gone)
    assert made.switch.rewound_to == SNAPSHOT
    still = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for (name, value), parameter in zip(model.state_dict().items(), held, strict=True):
        assert torch.equal(value, kept[name]) == (id(parameter) in still), name


def test_a_head_that_is_replaced_stays_and_the_rest_goes_back():
    model = layers()
    optimizer = AdamW(model.parameters())

    def replace(model, optimizer):
        model[3] = nn.Linear(3, 3)
        nn.init.constant_(model[3].weight, 7.0)
        optimizer.param_groups[0]["params"][-2:] = list(model[3].parameters())

    with pytest.warns(UserWarning, match="went back, but for 3.weight, 3.bias") as told:
        made, kept = run(model, optimizer, replace)
    assert len(told) == 1
    assert made.switch.rewound_to == SNAPSHOT
    assert all(torch.equal(model.state_dict()[name], kept[name]) for name in kept if name[0] != "3")
    assert not torch.equal(model[3].weight, kept["3.weight"])


def test_a_layer_unfrozen_since_stays_as_it_is():
    model = layers()
    model[0].requires_grad_(False)
    optimizer = AdamW(model[1:].parameters())

    def unfreeze(model, optimizer):
        model[0].requires_grad_(True)
        optimizer.add_param_group({"params": list(model[0].parameters())})

    _, kept = run(model, optimizer, unfreeze)
    assert not torch.equal(model[0].weight, kept["0.weight"])
    assert torch.equal(model[1].weight, kept["1.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m, o: m[1].weight.set_(torch.ones(5, 3)),
            r"1\.weight has shape \(5, 3\) now, and had \(3, 3\)",
        ),
        (lambda m, o: m[2].double(), r"2\.weight is in torch\.float64 now, and was in torch\.float32"),
        (
            lambda m, o: setattr(m[4], "running_mean", torch.zeros(7)),
            r"buffer 4\.running_mean has shape \(7,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_put_back(change, message):
    model = nn.Sequential(*layers(), nn.BatchNorm1d(3))
    optimizer = SGD(model.parameters(), lr=0.1)

    @torch.no_grad()
    def act(model, optimizer):
        change(model, optimizer)
        for parameter in model.parameters():
            parameter.grad = None

    with pytest.warns(
        UserWarning, match=f"were to go back to those of step {SNAPSHOT}, and stay as they are: {message}"
    ):
        made, kept = run(model, optimizer, act)
    assert made.switch.rewound_to is None
    assert made.rewinds == 0
    assert not torch.equal(model[0].weight, kept["0.weight"])  # the whole of it stays
    assert made.get_last_lr() == [pytest.approx(made.switch.peak_lr)]


def test_state_that_was_removed_since_comes_back():
    model = layers()
    optimizer = AdamW(model.parameters())
    _, _ = run(model, optimizer, lambda model, optimizer: optimizer.state.clear())
    assert all(optimizer.state[parameter]["step"] == SNAPSHOT for parameter in model.parameters())


def test_a_layer_that_is_made_anew_is_told_where_no_optimizer_holds_it():
    """As by removing a parametrization: what it is made of stays with the optimizer."""
    model = layers()
    nn.utils.parametrizations.weight_norm(model[0])
    optimizer = AdamW(model.parameters())

    def remove(model, optimizer):
        nn.utils.parametrize.remove_parametrizations(model[0], "weight")

    with pytest.warns(UserWarning, match="no optimizer that it was given holds 0.weight of model=") as told:
        run(model, optimizer, remove)
    assert len(told) == 1


@pytest.mark.parametrize("joins", [True, False])
def test_the_names_of_a_group_are_those_of_its_parameters(joins):
    """As PyTorch 2.6 keeps them, if an optimizer is made of named parameters."""
    model = layers()
    optimizer = SGD(list((model[1:] if joins else model).named_parameters()), lr=0.1, momentum=0.9)
    model[0].requires_grad_(not joins)
    group = optimizer.param_groups[0]

    def change(model, optimizer):
        for name, parameter in model[0].named_parameters(prefix="first"):
            if joins:
                group["params"].append(parameter.requires_grad_(True))
                group["param_names"].append(name)
            else:
                group["params"].pop(0)
                group["param_names"].pop(0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made, _ = run(model, optimizer, change)
    assert made.switch.rewound_to == SNAPSHOT
    assert len(group["param_names"]) == len(group["params"]) == (8 if joins else 6)
    assert ("first.weight" in group["param_names"]) is joins


@pytest.mark.parametrize("around", [lambda model: model, nn.DataParallel])
@pytest.mark.parametrize("make", [layers, scaled_twice])
def test_a_saved_snapshot_goes_by_the_models_names(make, around):
    """A checkpoint's parameters may stand in another order where the optimizer was made otherwise."""
    model = make()
    optimizer = AdamW(model.parameters())
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    for loss in v_curve()[:SNAPSHOT]:
        made.step(loss)
    state, weights = made.state_dict(), copy.deepcopy(model.state_dict())
    other = make()
    other.load_state_dict(weights)
    again = autowu.AutoWU(AdamW(reversed(list(other.parameters()))), STEPS, model=around(other))
    again.load_state_dict(state)
    for each in (*other.parameters(), *other.buffers()):
        each.data.add_(1.0)
    for loss in v_curve()[SNAPSHOT:70]:
        again.step(loss)
    assert again.switch.rewound_to == SNAPSHOT
    assert all(torch.equal(value, weights[name]) for name, value in other.state_dict().items())


def test_a_name_that_only_ends_like_a_wrappers_is_told_whole():
    model = nn.ModuleDict({"image_module": nn.Linear(3, 3), "module": nn.Linear(3, 3)})
    with pytest.warns(UserWarning, match="holds image_module.weight, image_module.bias of model="):
        autowu.AutoWU(SGD(model["module"].parameters(), lr=0.1), STEPS, model=model)
