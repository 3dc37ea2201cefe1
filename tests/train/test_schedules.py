"""This package's own schedules against their formulas, and the one that is PyTorch's."""

import math
from typing import get_args

import pytest
import torch

import autowu
from autowu.config import Decay, Growth
from autowu.errors import UserError
from autowu.train import schedules
from autowu.train.schedules.baseline import warmup_constant, warmup_cosine, warmup_stable_decay
from autowu.train.schedules.one_cycle import OneCycle
from autowu.train.schedules.shape import Shape
from autowu.train.settings.options import Settings
from train.learning import STEPS_PER_EPOCH, Digits, assert_resumes

OWN = ["autowu", "paper", "baseline", "one-cycle", "constant", "wsd"]


def test_warmup_is_a_line_from_zero_to_the_peak():
    assert [warmup_cosine(step, 4, 20) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert [warmup_constant(step, 4) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert [warmup_stable_decay(step, 4, 20, 4) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]


def test_decay_is_a_cosine_to_zero():
    for step in range(4, 21):
        u = (step - 4) / (20 - 4)
        assert warmup_cosine(step, 4, 20) == pytest.approx((1 + math.cos(math.pi * u)) / 2, abs=1e-15)
    assert warmup_cosine(12, 4, 20) == pytest.approx(0.5, abs=1e-15)
    assert warmup_cosine(20, 4, 20) == 0
    assert warmup_cosine(19, 4, 20) > 0


def test_without_warmup_it_starts_at_the_peak():
    assert warmup_cosine(0, 0, 10) == warmup_constant(0, 0) == warmup_stable_decay(0, 0, 10, 2) == 1


def test_the_cooldown_is_one_minus_a_square_root():
    shares = [warmup_stable_decay(step, 2, 20, 4) for step in range(16, 22)]
    assert shares == pytest.approx([1, 1 - math.sqrt(0.25), 1 - math.sqrt(0.5), 1 - math.sqrt(0.75), 0, 0])


@pytest.mark.parametrize(("batch_size", "peak"), [(256, 0.001), (1024, 0.002), (64, 0.0005), (16384, 0.008)])
@pytest.mark.parametrize("schedule", ["baseline", "constant", "wsd"])
def test_the_peak_grows_with_the_square_root_of_the_batch_size(schedule, batch_size, peak):
    settings = Settings(
        schedule=schedule, batch_size=batch_size, warmup_steps=10, optimizer="adamw", lr=0.001
    )
    method = schedules.build(settings, torch.nn.Linear(2, 2), total_steps=30, steps_per_epoch=10)
    shape = {
        "baseline": lambda step: warmup_cosine(step, 10, 30),
        "constant": lambda step: warmup_constant(step, 10),
        "wsd": lambda step: warmup_stable_decay(step, 10, 30, 6),
    }[schedule]
    lrs, phases = [], []
    for _ in range(30):
        lrs.append(method.optimizer.param_groups[0]["lr"])
        phases.append(method.schedule.phase)
        assert method.schedule.get_last_lr() == [lrs[-1], lrs[-1]]
        method.schedule.step(torch.tensor(1.0))
    assert lrs == pytest.approx([peak * shape(step) for step in range(30)], rel=1e-12)
    assert max(lrs) == pytest.approx(peak, rel=1e-12)
    assert method.settings["peak_lr"] == pytest.approx(peak)
    held = {"baseline": 0, "constant": 20, "wsd": 14}[schedule]
    assert phases == ["warmup"] * 10 + ["stable"] * held + ["decay"] * (20 - held)
    assert method.schedule.switch is None
    assert not method.schedule.verdicts


def optimizer_of_two_groups(**options):
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.02}]
    return torch.optim.AdamW(groups, **{"lr": 0.01} | options)


def test_a_shape_keeps_ratios_and_tensors_and_its_place():
    optimizer = optimizer_of_two_groups(lr=torch.tensor(0.01))
    lr = optimizer.param_groups[0]["lr"]
    schedule = Shape(optimizer, lambda step: 1 / (1 + step))
    for _ in range(3):
        schedule.step(torch.tensor(0.0))
    assert optimizer.param_groups[0]["lr"] is lr
    assert [float(value) for value in schedule.get_last_lr()] == pytest.approx([0.0025, 0.005])

    other = optimizer_of_two_groups()
    resumed = Shape(other, lambda step: 1 / (1 + step))
    resumed.load_state_dict(schedule.state_dict())
    assert [group["lr"] for group in other.param_groups] == pytest.approx([0.0025, 0.005])


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_one_cycle_is_pytorchs(make):
    def optimizer():
        options = {"momentum": 0.9} if make is torch.optim.SGD else {}
        return make([torch.nn.Parameter(torch.ones(2))], lr=0.01, **options)

    own, theirs = optimizer(), optimizer()
    schedule = OneCycle(own, 0.3, 50, 15)
    reference = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.3, total_steps=50)
    for step in range(50):
        assert own.param_groups == [{**theirs.param_groups[0], "params": own.param_groups[0]["params"]}]
        assert schedule.get_last_lr() == reference.get_last_lr()
        assert schedule.phase == ("warmup" if step < 15 else "decay")
        own.step(), theirs.step()
        schedule.step(torch.tensor(0.0))
        if step < 49:
            reference.step()
    assert max(own.param_groups[0]["lr"], 1e-9) < 0.3 / 1000


def test_one_cycle_without_momentum_and_with_groups():
    parameter = torch.nn.Parameter(torch.ones(2))
    plain = OneCycle(torch.optim.Adagrad([parameter], lr=0.1), 1.0, 10, 3)
    assert plain.get_last_lr() == pytest.approx([1 / 25])
    groups = OneCycle(optimizer_of_two_groups(), 1.0, 10, 3)
    assert groups.get_last_lr() == pytest.approx([1 / 25, 2 / 25])


# --- warm-up ------------------------------------------------------------------------------------------


def warmup(schedule="baseline", total_steps=1000, steps_per_epoch=100, **settings):
    method = schedules.build(
        Settings(schedule=schedule, **settings),
        torch.nn.Linear(2, 2),
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
    )
    return method.settings["warmup_steps"]


@pytest.mark.parametrize(
    ("schedule", "with_epochs", "without"),
    [("baseline", 500, 50), ("wsd", 500, 50), ("constant", 0, 0), ("one-cycle", 300, 300)],
)
def test_how_long_warm_up_is(schedule, with_epochs, without):
    assert warmup(schedule) == with_epochs
    assert warmup(schedule, steps_per_epoch=None) == without
    assert warmup(schedule, warmup_epochs=2) == 200
    assert warmup(schedule, warmup_steps=7) == 7
    assert warmup(schedule, warmup_steps=0) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"total_steps": 500}, "500 updates, not 500 .the default of --schedule baseline, 5 epochs"),
        ({"warmup_epochs": 11}, "1,000 updates, not 1,100 .--warmup-epochs 11"),
        ({"warmup_steps": 1000}, "1,000 updates, not 1,000 .--warmup-steps 1000"),
    ],
)
def test_a_warm_up_as_long_as_the_run(settings, message):
    with pytest.raises(
        UserError, match=f"warm-up must be shorter than the run, {message}.: set --warmup-epochs"
    ):
        warmup(**settings)


# --- AutoWU -------------------------------------------------------------------------------------------


def build(schedule="autowu", steps_per_epoch=10, **settings):
    return schedules.build(
        Settings(schedule=schedule, **settings),
        torch.nn.Linear(2, 2),
        total_steps=100,
        steps_per_epoch=steps_per_epoch,
    )


@pytest.mark.parametrize("schedule", ["autowu", "paper"])
def test_autowus_settings(schedule):
    expected = (
        autowu.Config(total_steps=100, steps_per_epoch=10, seed=5)
        if schedule == "autowu"
        else autowu.Config.paper(100, 10, seed=5)
    )
    assert build(schedule, seed=5).schedule.config == expected

    chosen = build(schedule, decay="1-sqrt", set={"patience": 2, "max_lr": 0.5}).schedule.config
    assert (chosen.decay, chosen.patience, chosen.max_lr) == ("1-sqrt", 2, 0.5)


@pytest.mark.parametrize("growth", get_args(Growth))
@pytest.mark.parametrize("decay", get_args(Decay))
def test_every_growth_and_decay(growth, decay):
    lift_off = {"set": {"lift_off": 4.0}} if growth == "two-speed" else {}
    for schedule in ("autowu", "paper"):
        method = build(schedule, growth=growth, decay=decay, **lift_off)
        config = method.schedule.config
        assert (config.growth, config.decay) == (growth, decay)
        assert (method.settings["growth"], method.settings["decay"]) == (growth, decay)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"set": {"patiance": 2}}, "autowu has no setting 'patiance'; did you mean 'patience'"),
        ({"set": {"patience": 0}}, "patience must be an integer ≥ 1, not 0"),
        ({"set": {"decay": "linear"}}, "--set decay: this has a flag of its own, --decay$"),
        ({"set": {"total_steps": 5}}, "--set total_steps: this has a flag of its own, --steps$"),
        ({"schedule": "paper", "steps_per_epoch": None}, "steps_per_epoch is missing"),
    ],
)
def test_what_autowu_cannot_be_told(chosen, message):
    with pytest.raises(UserError, match=message):
        build(**chosen)


# --- learning -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", OWN)
def test_every_schedule_learns(schedule):
    steps = (16 if schedule in ("autowu", "paper") else 8) * STEPS_PER_EPOCH
    run = Digits(steps, schedule=schedule, lr=None if schedule in ("autowu", "paper") else 0.004)
    run.learn(steps)
    assert run.accuracy() > 0.93
    assert float(run.method.schedule.get_last_lr()[0]) < 1e-8 or schedule == "constant"


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@pytest.mark.parametrize("schedule", OWN)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_schedule_resumes_bit_for_bit(schedule, optimizer):
    chosen = {"warmup_steps": 10} if schedule in ("baseline", "wsd") else {}
    assert_resumes(30, 17, schedule=schedule, optimizer=optimizer, **chosen)
