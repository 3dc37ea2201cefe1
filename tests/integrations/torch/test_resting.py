"""Frozen weights that change: teachers, averages, merged adapters, layers that take turns."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW
from torch.optim.swa_utils import AveragedModel

import autowu
from autowu.integrations.torch.resting import Resting
from integrations.torch.training import STEPS, v_curve

SNAPSHOT = 62  # the step of the snapshot that a run of the curve goes back to


def run(model, optimizers, update=None, *, made=None, change=lambda step: None):
    """A run to its switch; the model's values at the snapshot, and what is said."""
    made = made or autowu.AutoWU(optimizers, STEPS, model=model)
    kept, curve = None, v_curve()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        while made.switch is None:
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.full_like(parameter, 0.1)
            (update or optimizers.step)()
            made.step(curve[made.last_epoch])
            if made._session.state.snapshot_step == made.last_epoch:
                kept = copy.deepcopy(model.state_dict())
            change(made.last_epoch)
    return made, kept, [str(each.message) for each in told]


def differ(model, kept):
    return [name for name, value in model.state_dict().items() if not torch.equal(value, kept[name])]


def layers(count=2):
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Linear(3, 3) for _ in range(count)])


@torch.no_grad()
def follow(student, teacher, *, data):
    for one, other in zip(student.parameters(), teacher.parameters(), strict=True):
        (other.data if data else other).lerp_(one, 0.1)


def with_teacher():
    student = layers()
    return nn.ModuleDict({"student": student, "teacher": copy.deepcopy(student).requires_grad_(False)})


def train_both(model, optimizer, *, data=False):
    optimizer.step()
    follow(model["student"], model["teacher"], data=data)


@pytest.mark.parametrize("data", [False, True], ids=["in place", "by .data, which counts no versions"])
@pytest.mark.parametrize("held", [False, True], ids=["the teacher in no optimizer", "in the optimizer"])
def test_a_teacher_goes_back_with_its_student(data, held):
    model = with_teacher()
    optimizer = SGD((model if held else model["student"]).parameters(), lr=0.1)
    made, kept, told = run(model, optimizer, lambda: train_both(model, optimizer, data=data))
    assert made.switch.rewound_to == SNAPSHOT
    assert differ(model, kept) == []
    assert told == []


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at step .* not finite")
def test_a_bad_batch_does_not_stay_in_the_teacher():
    model = with_teacher()
    optimizer = SGD(model["student"].parameters(), lr=0.1)
    made, curve, alive = autowu.AutoWU(optimizer, STEPS, model=model), v_curve(), True

    def train():
        nonlocal alive
        while made.switch is None:
            for parameter in model["student"].parameters():
                parameter.grad = torch.full_like(parameter, 0.1 if made.last_epoch < 50 else torch.nan)
            train_both(model, optimizer)
            alive = all(each.isfinite().all() for each in model["teacher"].parameters())
            made.step(curve[made.last_epoch] if alive else torch.nan)

    with pytest.warns(UserWarning, match="not finite"):
        train()
    assert not alive
    assert all(each.isfinite().all() for each in model.parameters())


def test_the_teacher_is_in_the_checkpoint():
    model = with_teacher()
    optimizer = SGD(model["student"].parameters(), lr=0.1, momentum=0.9)
    made = autowu.AutoWU(optimizer, STEPS, model=model)

    def halfway(step):
        if step == SNAPSHOT + 2:
            state.update(
                copy.deepcopy({"m": model.state_dict(), "o": optimizer.state_dict(), "s": made.state_dict()})
            )

    state = {}
    _, kept, _ = run(model, optimizer, lambda: train_both(model, optimizer), made=made, change=halfway)
    assert "frozen.teacher.0.weight" in state["s"]["run"][2]["tensors"]
    other = with_teacher()
    other.load_state_dict(state["m"])
    optimizer = SGD(other["student"].parameters(), lr=0.1, momentum=0.9)
    optimizer.load_state_dict(state["o"])
    again = autowu.AutoWU(optimizer, STEPS, model=other)
    again.load_state_dict(state["s"])
    again, _, _ = run(other, optimizer, lambda: train_both(other, optimizer), made=again)
    assert again.switch.rewound_to == SNAPSHOT
    assert differ(other, kept) == []


def test_pytorchs_average_goes_back_and_is_no_stranger():
    student = layers()
    model = nn.ModuleDict({"student": student, "average": AveragedModel(student)})
    optimizer = AdamW(student.parameters())

    def update():
        optimizer.step()
        model["average"].update_parameters(student)

    made, kept, told = run(model, optimizer, update)
    assert made.switch.rewound_to == SNAPSHOT
    assert differ(model, kept) == []
    assert told == []


def test_weights_that_rest_are_not_copied():
    model = layers()
    model[0].requires_grad_(False)
    made, _, _ = run(model, AdamW(model.parameters()))
    kept = made.state_dict()["run"][2]["tensors"]
    assert sorted(name for name in kept if name.startswith(("parameter", "frozen"))) == [
        "parameter.2",
        "parameter.3",
    ]


@pytest.mark.parametrize("held", [False, True])
def test_a_base_that_an_adapter_was_merged_into_is_named_and_nothing_goes_back(held):
    model = layers()
    model[0].requires_grad_(False)
    optimizer = AdamW((model if held else model[1]).parameters())

    def merge(step):
        if step == SNAPSHOT + 2:
            model[0].weight.data += 0.01 * torch.randn(3, 3)  # as peft does it

    made, kept, told = run(model, optimizer, change=merge)
    assert made.switch.rewound_to is None
    assert "1.weight" in differ(model, kept)
    assert [
        "stay as they are: 0.weight was frozen when the copy was taken, and has changed since" in text
        for text in told
    ] == [True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_that_is_merged_for_an_evaluation_and_taken_out_is_no_change(dtype):
    model = layers().to(dtype)
    model[0] = nn.Linear(300, 300).to(dtype).requires_grad_(False)
    delta = 0.01 * torch.randn(300, 300).to(dtype)
    before = model[0].weight.clone()

    def evaluate(step):
        if step == SNAPSHOT + 2:
            model[0].weight.data += delta
            model[0].weight.data -= delta

    made, _, told = run(model, AdamW(model[1].parameters()), change=evaluate)
    assert not torch.equal(model[0].weight, before)  # there is rounding
    assert made.switch.rewound_to == SNAPSHOT
    assert told == []


def test_layers_that_take_turns_all_go_back():
    model = layers(4)
    optimizer = AdamW(model.parameters())

    def next_turn(step):
        optimizer.zero_grad()
        for number, layer in enumerate(model):
            layer.requires_grad_(number == step // 7 % 4)

    made, kept, told = run(model, optimizer, change=next_turn)
    assert made.switch.rewound_to == SNAPSHOT
    assert differ(model, kept) == []
    assert told == []


def test_an_adversary_that_is_frozen_while_the_other_trains_goes_back():
    model = nn.ModuleDict({"one": layers(), "other": layers()})
    first, second = Adam(model["one"].parameters()), Adam(model["other"].parameters())

    def update():
        second.step()
        model["other"].requires_grad_(False)
        first.step()

    made, kept, told = run(
        model, [first, second], update, change=lambda step: model["other"].requires_grad_(True)
    )
    assert made.switch.rewound_to == SNAPSHOT
    assert differ(model, kept) == []
    assert told == []


@pytest.mark.parametrize("thaws_at", [30, STEPS])
def test_a_frozen_mask_of_infinities_keeps_nothing_from_being_copied_also_where_it_thaws(thaws_at):
    model = layers()
    model.mask = nn.Parameter(torch.full((3, 3), -torch.inf).triu(1), requires_grad=False)
    optimizer = AdamW(model.parameters())
    made, kept, told = run(model, optimizer, change=lambda step: model.mask.requires_grad_(step >= thaws_at))
    assert made.switch.rewound_to == SNAPSHOT
    assert differ(model, kept) == []
    assert told == []


def test_a_frozen_mask_that_has_state_keeps_nothing_from_being_copied_in_a_resumed_run():
    model = layers()
    model.mask = nn.Parameter(torch.full((3, 3), -torch.inf).triu(1), requires_grad=False)
    optimizer = Adagrad(model.parameters())  # which has state for all from the start
    made = autowu.AutoWU(optimizer, STEPS, model=model)

    def resume(step):
        if step == 40:
            made.load_state_dict(copy.deepcopy(made.state_dict()))

    _, kept, told = run(model, optimizer, made=made, change=resume)
    assert made.switch.rewound_to == SNAPSHOT
    assert differ(model, kept) == []
    assert told == []


NORMAL = torch.Generator().manual_seed(0)


def normal(*shape, **kwargs):
    return torch.randn(*shape, generator=NORMAL, **kwargs)


def without_a_sum():
    """Values of which each of the four sums is zero, whatever all of them are multiplied by."""
    return torch.cat([one := normal(500), -one])


CHANGES = [
    (torch.zeros(1000), lambda t: t[77:78].add_(1e-3), True),
    (normal(1000), lambda t: t.mul_(1 + 1e-6), True),
    (without_a_sum(), lambda t: t.mul_(1 + 1e-6), True),
    (normal(1000), lambda t: t.add_(1.0).sub_(1.0), False),  # rounding alone
    (normal(10, 100).T, lambda t: t.neg_(), True),
    (normal(5, dtype=torch.complex64), lambda t: t.mul_(1j), True),
    (torch.arange(9, dtype=torch.uint8), lambda t: t[0].add_(1), True),
    (normal(9), lambda t: t[0].fill_(torch.nan), True),
    (normal(9), lambda t: t, False),
    (torch.full((9, 9), -torch.inf).triu(1), lambda t: t, False),
    (torch.full((9, 9), -torch.inf).triu(1), lambda t: t[1:, 0].add_(1e-3), True),
    (torch.full((9, 9), -torch.inf).triu(1).to(torch.bfloat16), lambda t: t[0, 0].fill_(torch.nan), True),
    (torch.full((9,), torch.nan, dtype=torch.complex64), lambda t: t, False),
    (torch.full((9,), -1.7e308, dtype=torch.float64), lambda t: t, False),
    (torch.zeros(0), lambda t: t, False),
    (torch.zeros(3, device="meta"), lambda t: t, False),
]


@pytest.mark.parametrize(("tensor", "change", "moved"), CHANGES)
def test_what_counts_as_a_change(tensor, change, moved):
    resting, tensors = Resting(), {("frozen", "x"): tensor.clone()}
    resting.look(tensors)
    assert resting.changed(tensors) == set()
    change(tensors["frozen", "x"])
    assert resting.changed(tensors) == (set(tensors) if moved else set())
    resting.look(tensors)
    assert resting.moving == (set(tensors) if moved else set())
