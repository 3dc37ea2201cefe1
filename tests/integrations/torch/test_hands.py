"""What somebody else's hands do meanwhile: settings, the order of calls, calls within a decision."""

import copy
import gc
import math
import weakref

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import autowu
from autowu.integrations.session import LATER_ENDS
from autowu.integrations.torch import finite
from autowu.integrations.torch.bases import FACTORS
from autowu.integrations.torch.storage import all_finite, zero_gradients
from integrations.torch.training import (
    STEPS,
    Training,
    blown_up,
    drive,
    group_lrs,
    parameters,
    scheduler,
    v_curve,
)


def rewound(training: Training, losses: list[float]) -> None:
    """Real updates, told of these losses, until the weights have gone back once."""
    for loss in losses:
        training.update()
        training.scheduler.step(loss)
        if training.scheduler.rewinds:
            return


def test_a_setting_that_was_made_since_the_copy_stays():
    training = Training()
    for loss in v_curve():
        if training.scheduler.last_epoch == 50:
            training.optimizer.param_groups[0].update(weight_decay=0.1, betas=(0.5, 0.9))
        training.update()
        training.scheduler.step(loss)
    assert training.scheduler.rewinds
    assert training.optimizer.param_groups[0]["weight_decay"] == 0.1
    assert training.optimizer.param_groups[0]["betas"] == (0.5, 0.9)


def test_rewinds_are_counted_at_the_switch_and_at_cuts():
    training, counted = Training(), []
    for loss in blown_up():
        training.update()
        training.scheduler.step(loss)
        counted.append(training.scheduler.rewinds)
    cuts = [cut for cut in training.scheduler.cuts if cut.back_to is not None]
    assert cuts
    assert counted[0] == 0
    assert counted[cuts[0].step - 1] == counted[cuts[0].step - 2] + 1
    assert counted[-1] == len(cuts) + (training.scheduler.switch.rewound_to is not None)


def test_an_update_that_comes_after_the_step_leaves_the_weights_that_went_back():
    """The order that PyTorch warns of: the gradient is of the weights of before."""
    training = Training(SGD)
    record = {}
    for loss in v_curve():
        now = training.loss(training.scheduler.last_epoch)
        training.optimizer.zero_grad()
        now.backward()
        record[training.scheduler.last_epoch] = [
            each.detach().clone() for each in training.model.parameters()
        ]
        training.scheduler.step(loss)
        if training.scheduler.rewinds:
            break
        training.optimizer.step()
    for group in training.optimizer.param_groups:
        group["lr"] = 1e6  # whatever it is
    training.optimizer.step()
    back_to = training.scheduler.switch.rewound_to
    for now, then in zip(training.model.parameters(), record[back_to - 1], strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_a_parameter_that_never_was_finite_does_not_keep_the_others_from_going_back(value):
    mask = nn.Parameter(torch.full((3,), value))
    training = Training(lambda trained: AdamW([*trained, mask]))
    rewound(training, v_curve())
    assert training.scheduler.switch.rewound_to is not None


def test_one_that_was_set_later_is_judged_from_then_on():
    training = Training()
    late = nn.Parameter(torch.full((3,), math.nan))
    made = autowu.AutoWU(AdamW([*training.model.parameters(), late]), STEPS)
    assert made._snapshot.healthy()
    with torch.no_grad():
        late.zero_()
    assert made._snapshot.healthy()
    with torch.no_grad():
        late.fill_(math.inf)
    assert not made._snapshot.healthy()


def test_what_never_was_finite_is_saved_and_copied():
    """Weights that broke since are judged in the run that goes on, too."""
    training = Training(lambda trained: AdamW([*trained, nn.Parameter(torch.full((3,), -math.inf))]))
    assert training.scheduler._snapshot.healthy()
    saved = training.scheduler.state_dict()
    with torch.no_grad():
        next(training.model.parameters()).fill_(math.nan)
    assert not training.scheduler._snapshot.healthy()
    assert not copy.deepcopy(training.scheduler)._snapshot.healthy()
    again = autowu.AutoWU(training.optimizer, STEPS, model=training.model)  # which takes them all for masks
    assert again._snapshot.healthy()
    again.load_state_dict(saved)
    assert not again._snapshot.healthy()
    assert again.state_dict()["unjudged"] == saved["unjudged"]


def test_only_the_parameters_that_never_were_finite_are_looked_at_one_by_one(monkeypatch):
    mask = nn.Parameter(torch.full((3,), -math.inf))
    made = autowu.AutoWU(AdamW([*(nn.Parameter(torch.ones(2)) for _ in range(50)), mask]), STEPS)
    looked = []
    monkeypatch.setattr(
        finite, "all_finite", lambda tensors: looked.append(len(tensors)) or all_finite(tensors)
    )
    assert made._snapshot.healthy()
    looked.clear()
    assert made._snapshot.healthy()
    assert looked == [1, 50]


def test_a_network_that_is_broken_as_a_whole_at_the_first_look_is_no_mask():
    made = scheduler()
    with torch.no_grad():
        made.optimizer.param_groups[0]["params"][0].fill_(math.nan)
    assert not made._snapshot.healthy()
    assert made.state_dict()["unjudged"] is None


def test_sparse_gradients_of_the_weights_of_before_are_zeroed():
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1, 3])).sum().backward()
    with torch.no_grad():
        zero_gradients(list(embedding.parameters()))
    assert embedding.weight.grad.to_dense().abs().sum() == 0


def test_parameters_that_are_trained_no_longer_are_not_kept_alive():
    first = nn.Parameter(torch.ones(3))
    made = autowu.AutoWU(SGD([first], lr=0.1), STEPS, rewind=False)
    made.optimizer.param_groups[0]["params"] = parameters(3)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None


def test_parameters_may_be_swapped_as_a_module_does_with_subclasses():
    model = nn.Linear(3, 2)
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        made = autowu.AutoWU(SGD(model.parameters(), lr=0.1), STEPS)
        model.to(torch.float64)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
    assert made.optimizer.param_groups[0]["params"][0].dtype == torch.float64


@pytest.mark.parametrize("name", FACTORS)
def test_groups_get_the_factor_that_the_schedule_before_gave_them(name):
    groups = [{"params": parameters(2), name: scale} for scale in (0.25, 0.5, 1.0)]
    made = autowu.AutoWU(AdamW(groups, lr=1e-3), STEPS)
    for loss in v_curve()[:100]:
        made.step(loss)
        lr = made.learning_rate
        assert group_lrs(made) == [0.25 * lr, 0.5 * lr, lr]


def test_groups_with_other_factors_do_not_share_the_tensor_of_the_default_lr():
    def optimizer():
        groups = [{"params": parameters(2), "lr_scale": scale} for scale in (0.25, 0.5, 0.25)]
        return AdamW(groups, lr=torch.tensor(1e-3))

    made = autowu.AutoWU(optimizer(), STEPS)
    drive(made, v_curve()[:50])
    loaded = autowu.AutoWU(SGD([{"params": parameters(2)} for _ in range(3)], lr=torch.tensor(1e-3)), STEPS)
    loaded.load_state_dict(autowu.AutoWU(optimizer(), STEPS).state_dict())
    for each in (made, loaded):
        for loss in v_curve()[50:60]:
            each.step(loss)
            lr = each.learning_rate
            assert group_lrs(each) == pytest.approx([0.25 * lr, 0.5 * lr, 0.25 * lr])


def test_a_factor_that_the_optimizer_applies_itself_is_not_applied_twice():
    class Own(SGD):
        def __init__(self, groups):
            super().__init__(groups, lr=1e-3)
            self.defaults["lr_mult"] = 1.0

    made = autowu.AutoWU(Own([{"params": parameters(2), "lr_mult": factor} for factor in (0.1, 1.0)]), STEPS)
    assert group_lrs(made) == [made.learning_rate] * 2


def test_a_factor_that_is_in_the_lrs_already_is_not_applied_twice():
    groups = [{"params": parameters(2), "lr_scale": scale, "lr": 1e-3 * scale} for scale in (0.25, 1.0)]
    made = autowu.AutoWU(AdamW(groups, lr=1e-3), STEPS)
    assert group_lrs(made) == [0.25 * made.learning_rate, made.learning_rate]


# --- ends ---------------------------------------------------------------------------------------------


def test_a_cooldown_that_is_asked_for_at_each_update_is_told():
    made = scheduler(None)
    drive(made, [1.0] * 20)
    for steps in (50, 500, 10):  # with thought, now and then
        made.cooldown(steps)
        drive(made, [1.0] * 2)
    for at in range(4):
        if at == LATER_ENDS:
            with pytest.warns(
                UserWarning, match=r"cooldown\(50\) was called at step \d+, in a cooldown"
            ) as seen:
                made.cooldown(50)
            assert seen[0].filename == __file__
        else:
            made.cooldown(50)
        drive(made, [1.0])


@pytest.mark.parametrize("at", ["take", "restore"])
def test_a_cooldown_from_a_signals_handler_within_a_decision_is_not_lost(at, monkeypatch):
    training = Training(total_steps=None)
    asked, original = [], getattr(type(training.scheduler._snapshot), at)

    def interrupted(self):
        if training.scheduler.last_epoch > 30 and not asked:
            asked.append(training.scheduler.last_epoch)
            training.scheduler.cooldown(40)
        return original(self)

    monkeypatch.setattr(type(training.scheduler._snapshot), at, interrupted)
    losses = v_curve(3000)
    while not asked:
        training.update()
        training.scheduler.step(losses[training.scheduler.last_epoch])
    assert training.scheduler.total_steps == asked[0] + 40
    for _ in range(40):
        training.update()
        training.scheduler.step(0.5)
    assert training.scheduler.learning_rate == 0.0


def test_a_wrong_cooldown_within_a_decision_is_an_error_there(monkeypatch):
    made = scheduler(None)
    original = made._snapshot.take

    def interrupted():
        with pytest.raises(ValueError, match="steps must be an integer"):
            made.cooldown(0)
        original()

    monkeypatch.setattr(made._snapshot, "take", interrupted)
    drive(made, v_curve()[:60])
    assert made.total_steps is None


# --- what others read and give ------------------------------------------------------------------------


def test_others_may_read_the_last_lr_as_of_pytorchs_schedulers():
    made = scheduler()
    drive(made, v_curve()[:50])
    assert made._last_lr == made.get_last_lr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distributed": "no"}, "distributed must be True or False, not 'no'"),
        ({"distributed": 0}, "distributed must be True or False, not 0"),
        ({"process_group": 1}, r"process_group must be a torch.distributed.ProcessGroup or None, not 1"),
    ],
)
def test_what_says_whose_losses_count_is_checked(arguments, message):
    with pytest.raises(TypeError, match=message):
        autowu.AutoWU(SGD(parameters(), lr=0.1), STEPS, **arguments)


def test_a_process_that_is_in_no_group_decides_alone():
    made = autowu.AutoWU(
        SGD(parameters(), lr=0.1), STEPS, process_group=torch.distributed.GroupMember.NON_GROUP_MEMBER
    )
    drive(made, v_curve()[:20])


def test_others_may_note_the_last_lr():
    made = scheduler()
    made._last_lr = [1.0]
    assert made._last_lr == made.get_last_lr()


def test_a_factor_that_is_none_is_one():
    groups = [{"params": parameters(2), "lr_scale": None}, {"params": parameters(2), "lr_scale": 0.5}]
    made = autowu.AutoWU(AdamW(groups, lr=1e-3), STEPS)
    assert group_lrs(made) == [made.learning_rate, 0.5 * made.learning_rate]
