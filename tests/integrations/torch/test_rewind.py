"""At the switch the weights and the optimizer are, bit for bit, what they were at the step it names."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from autowu.controller.state import Grow
from autowu.integrations.torch.snapshot import Snapshot
from integrations.torch.rewinding import OPTIMIZERS, assert_rewound, run_recorded, seen
from integrations.torch.training import (
    PAPER,
    STEPS,
    Training,
    assert_equal,
    group_lrs,
    mlp,
    v_curve,
)


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name):
    training = Training(OPTIMIZERS[name])
    record = run_recorded(training, v_curve())
    assert_rewound(training, record)
    lrs = training.run(STEPS)  # and training goes on
    assert all(map(math.isfinite, lrs))
    assert all(p.isfinite().all() for p in training.model.parameters())


@pytest.mark.parametrize("name", ["AdamW", "SGD momentum", "AdamP", "LAMB"])
def test_by_its_own_losses(name):
    training = Training(OPTIMIZERS[name])
    record = run_recorded(training, [None] * STEPS)
    assert_rewound(training, record)
    training.run(STEPS)
    assert float(training.loss(0).detach()) < 0.3


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_the_devices_of_the_copy(device):
    training = Training(snapshot_device=device)
    assert_rewound(training, run_recorded(training, v_curve()))


def test_without_the_model_the_buffers_stay():
    training = Training(buffers=False)
    record = run_recorded(training, v_curve())
    switch = training.scheduler.switch
    for name, value in training.model.state_dict().items():
        step = switch.step if name in dict(training.model.named_buffers()) else switch.rewound_to
        assert torch.equal(value, record[step]["model"][name]), name


def test_with_the_model_the_buffers_go_back():
    training = Training()
    record = run_recorded(training, v_curve())
    switch = training.scheduler.switch
    assert training.model[1].num_batches_tracked == switch.rewound_to
    assert not torch.equal(training.model[1].running_mean, record[switch.step]["model"]["1.running_mean"])


def test_bfloat16():
    model = mlp().to(torch.bfloat16)
    images_type = nn.Sequential(Cast(), model)
    training = Training(model=images_type)
    assert_rewound(training, run_recorded(training, v_curve()))
    assert next(model.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("optimizer_first", [False, True])
def test_a_run_in_float32_that_is_loaded_into_bfloat16_goes_back(optimizer_first):
    torch.manual_seed(0)
    training = Training(model=mlp())
    for loss in v_curve()[:66]:
        training.update()
        training.scheduler.step(loss)
    saved = copy.deepcopy(training.scheduler.state_dict())
    state = copy.deepcopy(training.optimizer.state_dict())
    weights = training.scheduler._snapshot.to_dict()["tensors"]["parameter.0"]
    model = nn.Sequential(Cast(), mlp().to(torch.bfloat16))
    other = Training(model=model)
    if optimizer_first:
        other.optimizer.load_state_dict(state)
    other.scheduler.load_state_dict(saved)
    if not optimizer_first:
        other.optimizer.load_state_dict(state)
    for loss in v_curve()[66:100]:
        other.update()  # in which the optimizer needs a state of the weights' type
        before = other.scheduler.switch
        other.scheduler.step(loss)
        if other.scheduler.switch and not before:
            assert torch.equal(next(model.parameters()), weights.bfloat16())
    assert other.scheduler.switch.rewound_to == 62


class Cast(nn.Module):
    """Images to bfloat16."""

    def forward(self, images: Tensor) -> Tensor:
        return images.to(torch.bfloat16)


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(64, 64), nn.Linear(64, 64)
        self.down.weight = self.up.weight

    def forward(self, images: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(images)))[:, :10]


def test_tied_parameters():
    torch.manual_seed(0)
    training = Training(model=Tied())
    assert_rewound(training, run_recorded(training, v_curve()))
    assert training.model.down.weight is training.model.up.weight
    assert len(training.scheduler.optimizer.param_groups[0]["params"]) == 3


def test_several_groups_and_a_frozen_one():
    model = mlp()
    weights = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim == 1]
    others[0].requires_grad_(False)
    groups = [{"params": others, "weight_decay": 0.0, "betas": (0.8, 0.9)}, {"params": weights, "lr": 0.1}]
    training = Training(lambda _: AdamW(groups, lr=0.05), model=model)
    record = run_recorded(training, v_curve())
    assert_rewound(training, record)
    assert record[1]["states"][0] is None
    assert group_lrs(training.scheduler)[1] == 2 * group_lrs(training.scheduler)[0]


def test_a_group_added_after_the_copy_keeps_its_weights():
    training = Training()
    late = nn.Parameter(torch.zeros(3))
    record = {}
    for loss in v_curve():
        record |= run_recorded(training, [loss])
        scheduler = training.scheduler
        if scheduler.switch is not None:
            break
        if scheduler.last_epoch == 66:
            assert scheduler._session.state.snapshot_step < 66
            training.optimizer.add_param_group({"params": late})
            training.optimizer.register_step_pre_hook(lambda *_: setattr(late, "grad", torch.ones(3)))
    assert scheduler.switch.rewound_to < 66
    assert (late.detach() != 0).all()
    assert late not in training.optimizer.state
    then = record[scheduler.switch.rewound_to]["model"]
    assert_equal(dict(training.model.state_dict()), then)


# --- when there is nothing to put back, or it is not asked for -------------------------------------------


@pytest.mark.parametrize("settings", [PAPER, {"rewind": False}], ids=["paper", "rewind=False"])
def test_without_rewind_the_weights_stay_and_nothing_is_copied(settings, monkeypatch):
    monkeypatch.setattr(Snapshot, "take", lambda self: pytest.fail("copied"))
    training = Training(**settings)
    record = run_recorded(training, v_curve())
    switch = training.scheduler.switch
    assert switch.rewound_to is None
    assert_equal(seen(training.optimizer, training.model), record[switch.step])
    assert training.scheduler.state_dict()["snapshot"] is None


def test_the_paper_preset_can_rewind():
    training = Training(**PAPER, rewind=True)
    assert_rewound(training, run_recorded(training, v_curve()))


# --- runs that die ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
@pytest.mark.filterwarnings(
    "ignore:AutoWU. warm-up ended at its cap"
)  # 240 updates are short for a second start
@pytest.mark.parametrize("name", ["AdamW", "SGD momentum"])
@pytest.mark.parametrize("at", [1, 2, 5, 20, 30, 40, 50])
def test_a_run_that_dies_goes_on_from_the_copy(name, at):
    """Its weights, its state and its losses are NaN from update ``at`` on; then it grows on from there."""
    training = Training(OPTIMIZERS[name])
    record, broken = {}, False
    for step in range(1, STEPS + 1):
        loss = training.update()
        if step == at:
            with torch.no_grad():
                for parameter in training.model.parameters():
                    parameter.fill_(math.nan)
        record[step] = seen(training.optimizer, training.model)
        training.scheduler.step(loss)
        broken = broken or not math.isfinite(float(loss.detach()))
        assert 0 <= group_lrs(training.scheduler)[0] <= 1
    switch = training.scheduler.switch
    assert broken
    assert float(training.loss(0).detach()) < 2
    assert all(buffer.isfinite().all() for buffer in training.model.buffers())
    assert training.scheduler._session.state.restores >= 1  # before lift-off to the initial weights
    assert switch.rewound_to is None or switch.rewound_to > at


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_weights_that_the_last_update_broke_are_not_copied():
    """The loss was finite, since it is that of the weights before the update."""
    training = Training()
    losses = v_curve()
    session = training.scheduler._session
    while not (isinstance(session.state.phase, Grow) and session.state.snapshot_step >= 45):
        run_recorded(training, [losses[training.scheduler.last_epoch]])
    good = session.state.snapshot_step
    while session.step + 1 < session.due:
        run_recorded(training, [losses[training.scheduler.last_epoch]])
    kept = copy.deepcopy(training.scheduler.state_dict()["snapshot"])
    training.update()
    with torch.no_grad():
        training.model[3].weight[0, 0] = math.inf
    training.scheduler.step(losses[training.scheduler.last_epoch])
    assert training.scheduler.verdicts[-1].falling  # or else no copy was due
    assert session.state.snapshot_step == good
    assert_equal(training.scheduler.state_dict()["snapshot"], kept)
    while session.state.restores == 0:
        training.scheduler.step(training.update())
    assert session.state.snapshot_step == good
    assert float(training.loss(0).detach()) < 2.5
