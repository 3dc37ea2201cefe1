"""A step(loss) that is called too seldom or too often is told early on; loops that are right never are."""

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

import autowu
from autowu.integrations.torch import uneven
from autowu.integrations.torch.updates import CROWDED, IDLE, MISSED
from integrations.torch.training import STEPS, parameters, scheduler, v_curve


def update(*optimizers: Optimizer, times: int = 1) -> None:
    """One of each, with gradients."""
    for optimizer in optimizers * times:
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = torch.full_like(parameter, 0.1)
        optimizer.step()


def told(made: int, steps: int) -> str:
    return rf"the optimizer has made {made} updates, and step\(loss\) has been called {steps} times meanwhile"


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_step_once_an_epoch_is_told_within_the_first_epoch(optimizer):
    made = autowu.AutoWU(optimizer(parameters(), lr=0.1), 4000)
    update(made.optimizer, times=MISSED - 1)
    with pytest.warns(UserWarning, match=told(MISSED, 0) + ".*total_steps=4000 counts updates") as seen:
        update(made.optimizer)
    assert seen[0].filename == __file__
    for _ in range(5):  # and once only
        update(made.optimizer, times=100)
        made.step(0.5)


@pytest.mark.parametrize("updates", [2, 3, 10])
def test_epochs_that_are_shorter_are_told_as_soon_as_so_many_have_gone_by(updates):
    made = autowu.AutoWU(SGD(parameters(), lr=0.1))
    seen: list[int] = []
    for _ in range(100):
        for _ in range(updates):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                update(made.optimizer)
            seen += [made.last_epoch] * len(caught)
        made.step(0.5)
    assert seen == [next(steps for steps in range(100) if (steps + 1) * updates - steps >= MISSED)]


def test_an_update_that_was_not_ended_is_no_end_of_counting():
    """Memory ran out in it, or it was interrupted: the hook that follows an update was never called."""
    made = scheduler()

    def fails(*_):
        raise MemoryError

    for step, loss in enumerate(v_curve()[:100]):  # without a word that there are no updates
        if step == 10:
            hook = made.optimizer.register_step_pre_hook(fails)
            with pytest.raises(MemoryError):
                update(made.optimizer)
            hook.remove()
        update(made.optimizer)
        made.step(loss)
    with pytest.warns(UserWarning, match=r"the optimizer has made \d+ updates, and step"):
        update(made.optimizer, times=200)  # and they are counted


def test_updates_are_counted_though_another_parameter_comes_first_since():
    made = scheduler()
    for step, loss in enumerate(v_curve()[:150]):
        if step == 40:  # as where points are added to a scene
            made.optimizer.param_groups[0]["params"][0] = parameters(5)[0]
        if step == 80:
            made.optimizer.param_groups.insert(0, {**made.optimizer.param_groups[0], "params": parameters(2)})
        update(made.optimizer)
        made.step(loss)
    with pytest.warns(UserWarning, match=r"the optimizer has made \d+ updates, and step"):
        update(made.optimizer, times=400)


def test_accumulation_is_right_with_a_step_for_each_update():
    made = scheduler()
    for loss in v_curve():
        for _ in range(8):
            made.observe(loss)
        update(made.optimizer)
        made.step()
    assert made.last_epoch == STEPS


def test_a_critic_may_make_more_updates_than_the_rest():
    generator, critic = SGD(parameters(), lr=0.1), AdamW(parameters(), lr=0.1)
    made = autowu.AutoWU([generator, critic], STEPS)
    for loss in v_curve():
        update(*[critic] * 5, generator)
        made.step(loss)
    with pytest.warns(UserWarning, match=told(2 * STEPS, STEPS)):
        update(generator, times=STEPS)


def test_what_a_grad_scaler_skips_is_no_update():
    made = scheduler()
    parameter, scaler = made.optimizer.param_groups[0]["params"][0], torch.amp.GradScaler("cpu")
    for number in range(100):
        for _ in range(3):
            scaler.scale(parameter.sum() * torch.inf).backward()
            scaler.step(made.optimizer)
            scaler.update()
            made.optimizer.zero_grad()
        if number % 3:
            update(made.optimizer)
        made.step(0.5)


@pytest.mark.parametrize("calls", [2, 4])
def test_a_step_for_each_micro_batch_is_told_early_on_and_once(calls):
    made = autowu.AutoWU(SGD(parameters(), lr=0.1), 4000)
    for _ in range(CROWDED):
        for _ in range(calls):
            made.step(0.5)
        if made.last_epoch < CROWDED * calls:
            update(made.optimizer)
    expected = rf"called {calls} times for each update of the optimizer, by now {CROWDED * calls} times"
    with pytest.warns(UserWarning, match=expected) as seen:
        update(made.optimizer)
    assert [each.filename for each in seen] == [__file__]
    for _ in range(2 * CROWDED):
        made.step(0.5)
        made.step(0.5)
        update(made.optimizer)


def test_optimizers_that_take_turns_make_an_update_each():
    one, other = SGD(parameters(), lr=0.1), AdamW(parameters(), lr=0.1)
    made = autowu.AutoWU([one, other], STEPS)
    for number, loss in enumerate(v_curve()):
        update((one, other)[number % 2])
        made.step(loss)
    assert made.last_epoch == STEPS


def test_updates_of_a_captured_graph_are_not_missed():
    """They pass by the hooks: only those before the capture are seen."""
    made = scheduler()
    update(made.optimizer, times=11)
    for loss in v_curve():
        made.step(loss)
    assert made.last_epoch == STEPS


def test_an_optimizer_in_whose_place_another_trains_by_now_is_told_of_once():
    made = scheduler()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, loss in enumerate(v_curve()):
            if step == MISSED:
                other = AdamW(made.optimizer.param_groups[0]["params"])
            update(made.optimizer if step < MISSED else other)
            made.step(loss)
    (text,) = [str(each.message) for each in caught if "an optimizer that it was given" in str(each.message)]
    calls = int(text.split(" times since")[0].rsplit(" ", 1)[1])
    assert IDLE <= calls < STEPS // 2


@pytest.mark.parametrize("made_before", [0, 1, MISSED])
@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_an_optimizer_that_is_seen_to_train_in_the_place_of_another_is_told_by_name(lr, made_before):
    """Made anew, as by a cell that is run again, or to load a checkpoint into."""
    made = autowu.AutoWU(SGD(parameters(), lr=lr), STEPS)
    other = AdamW(made.optimizer.param_groups[0]["params"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, loss in enumerate(v_curve()):
            update(made.optimizer if step < made_before else other)
            made.step(loss)
    (text,) = [str(each.message) for each in caught if "an optimizer that it was given" in str(each.message)]
    assert f"{'since' if made_before else 'before'} an optimizer" in text
    assert "AdamW trains in its place: its LR is not set" in text


def test_an_optimizer_of_other_parameters_or_of_the_same_groups_is_none_in_the_place_of_another():
    """A critic, and what is within an engine that makes its updates unseen."""
    made = autowu.AutoWU(SGD(parameters(), lr=0.1), STEPS)
    critic, within = SGD(parameters(), lr=0.1), SGD(parameters(), lr=0.1)
    within.param_groups = made.optimizer.param_groups
    for loss in v_curve():
        update(critic, within)
        made.step(loss)


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_an_lr_that_is_a_number_in_a_captured_graph_is_told_once(lr, monkeypatch, recwarn):
    """No replay of the graph would see it change."""
    made = autowu.AutoWU(SGD(parameters(), lr=lr), STEPS)
    update(made.optimizer)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    update(made.optimizer, times=2)
    told = ["is captured in a CUDA graph, and its LR is a number" in str(each.message) for each in recwarn]
    assert told == ([True] if isinstance(lr, float) else [])
    assert all(each.filename == __file__ for each in recwarn)


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_a_copy_and_a_compiled_optimizer_are_not_taken_for_idle(lr):
    made = autowu.AutoWU(AdamW(parameters(), lr=lr), STEPS)
    for step, loss in enumerate(v_curve()):
        if step == MISSED and isinstance(lr, float):
            made = copy.deepcopy(made)
        if step < MISSED:
            update(made.optimizer)  # from then on not seen
        made.step(loss)


def test_a_rank_that_has_no_more_batches_is_not_taken_for_idle():
    made = autowu.AutoWU(SGD(parameters(), lr=0.1), STEPS)
    joined = uneven.Uneven(made, None)
    for loss in v_curve()[:MISSED]:
        update(made.optimizer)
        made.step(loss)
    hook = joined.join_hook()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(STEPS - MISSED):  # under join(): the others' updates, whose losses are not here
            hook.main_hook()
    assert made.last_epoch == STEPS
    assert not [each for each in caught if "has been called" in str(each.message)]


def test_a_resumed_run_begins_to_count_at_its_checkpoint():
    before = scheduler()
    for loss in v_curve()[:100]:
        update(before.optimizer)
        before.step(loss)
    after = scheduler()
    update(after.optimizer, times=MISSED - 1)  # to warm it up
    after.optimizer.load_state_dict(copy.deepcopy(before.optimizer.state_dict()))
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    for loss in v_curve()[100:120]:
        update(after.optimizer)
        after.step(loss)
    with pytest.warns(UserWarning, match=told(MISSED + 20, 20)):
        update(after.optimizer, times=MISSED)


def test_a_scheduler_in_whose_place_another_has_come_is_silent():
    first = scheduler()
    first.step(0.5)
    second = autowu.AutoWU(first.optimizer, STEPS)
    for loss in v_curve():
        update(second.optimizer)
        second.step(loss)
    del second
    update(first.optimizer, times=100)  # and so is one that is gone


class Derived(AdamW):
    """As many do, it lets its parent step, whose hooks are the same."""

    def step(self, closure=None):
        return super().step(closure)


def test_a_class_that_calls_its_parent_makes_one_update():
    made = autowu.AutoWU(Derived(parameters(), lr=0.1), STEPS)
    update(AdamW(parameters()))  # from now on the parent's step has hooks
    for loss in v_curve():
        update(made.optimizer)
        made.step(loss)


def test_an_engine_that_steps_the_groups_one_by_one_makes_one_update():
    groups = [{"params": parameters()} for _ in range(3)]
    made = autowu.AutoWU(SGD(groups, lr=0.1), STEPS)
    whole = made.optimizer.param_groups
    for loss in v_curve():
        for group in whole:
            made.optimizer.param_groups = [group]
            update(made.optimizer)
        made.optimizer.param_groups = whole
        made.step(loss)


def test_the_optimizer_within_that_of_accelerate_is_counted():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = accelerator.prepare(nn.Linear(2, 1))
    optimizer = accelerator.prepare(SGD(model.parameters(), lr=0.1))
    made = autowu.AutoWU(optimizer, STEPS)
    with pytest.warns(UserWarning, match=told(MISSED, 0)):
        update(optimizer, times=MISSED)
    assert made.last_epoch == 0


def test_what_accelerate_prepares_steps_once_for_each_process_and_is_told(monkeypatch):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    optimizer = accelerator.prepare(SGD(parameters(), lr=0.1))
    made = autowu.AutoWU(optimizer, 4000)
    prepared = accelerator.prepare(made)
    monkeypatch.setattr("accelerate.scheduler.AcceleratorState", lambda: SimpleNamespace(num_processes=2))
    for _ in range(CROWDED):
        update(optimizer)
        prepared.step(0.5)
    with pytest.warns(UserWarning, match=r"called 2 times for each update .* Accelerate prepares"):
        update(optimizer)
    assert made.last_epoch == 2 * CROWDED
