"""Calls of step() beside the updates that optax counts, and the first update's learning rate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")

import jax
import jax.numpy as jnp
import optax

from autowu.integrations.optax import AutoWU
from integrations.contract.contract import v_curve

STEPS = 300


@contextmanager
def told(part: str) -> Iterator[list[str]]:
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    assert all(each.filename == __file__ for each in caught if part in str(each.message))
    texts += [text for text in (str(each.message) for each in caught) if part in text]


def inject(transformation: Any = optax.sgd, **rates: Any) -> Any:
    return optax.inject_hyperparams(transformation)(**(rates or {"learning_rate": 0.1}))


@pytest.mark.parametrize(
    ("optimizer", "every", "times", "expected"),
    [
        (inject(), 10, 1, "the optimizer has made"),
        (inject(), 1, 2, "step() has been called"),
        (inject(), 1, 1, None),
        (optax.chain(optax.clip(1.0), inject()), 10, 1, "the optimizer has made"),
        (optax.MultiSteps(inject(), 2), 20, 1, "MultiSteps has made"),
        (optax.MultiSteps(inject(), 2), 2, 1, None),
        (optax.chain(inject(), optax.apply_every(4)), 4, 1, None),
        (optax.apply_if_finite(inject(), 5), 10, 1, "the optimizer has made"),
        (optax.apply_if_finite(inject(), 5), 1, 1, None),
        (optax.conditionally_mask(inject(), lambda step: step < 50), 1, 1, None),
        (optax.conditionally_transform(inject(), lambda step: step % 4 == 0), 1, 1, None),
    ],
)
def test_too_few_or_too_many_calls_are_told_once(
    optimizer: Any, every: int, times: int, expected: str | None
) -> None:
    schedule, params = AutoWU(STEPS), jnp.ones(2)
    opt_state = schedule.set_learning_rate(optimizer.init(params))
    update = jax.jit(optimizer.update)
    with told("has made") as texts:
        for index, loss in enumerate(v_curve(STEPS)):
            _, opt_state = update(params, opt_state, params)
            for _ in range(times if index % every == 0 else 0):
                params, opt_state = schedule.step(loss, params, opt_state)
    assert [expected in text for text in texts] == ([True] if expected else []), texts


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.apply_if_finite(inject(), 999),
        optax.MultiSteps(inject(), 1, should_skip_update_fn=optax.skip_not_finite),
    ],
    ids=["apply_if_finite", "skip_not_finite"],
)
def test_updates_that_are_left_out_are_no_calls_too_many(optimizer: Any) -> None:
    schedule, params = AutoWU(STEPS), jnp.ones(2)
    opt_state = schedule.set_learning_rate(optimizer.init(params))
    update = jax.jit(optimizer.update)
    with told("has made") as texts:
        for index, loss in enumerate(v_curve(STEPS)):
            _, opt_state = update(params if index % 4 == 0 else params * jnp.nan, opt_state, params)
            params, opt_state = schedule.step(loss, params, opt_state)
    assert texts == []


def test_a_new_optimizer_state_on_the_way_is_no_sign_of_calls_too_many() -> None:
    optimizer, schedule, params = inject(), AutoWU(STEPS), jnp.ones(2)
    opt_state = schedule.set_learning_rate(optimizer.init(params))
    update = jax.jit(optimizer.update)
    with told("has made") as texts:
        for index, loss in enumerate(v_curve(STEPS)):
            if index % 70 == 69:  # as where parameters join
                opt_state = schedule.set_learning_rate(optimizer.init(params))
            _, opt_state = update(params, opt_state, params)
            params, opt_state = schedule.step(loss, params, opt_state)
    assert texts == []


def test_several_updates_in_one_scan_are_told_of_by_name() -> None:
    optimizer, schedule, params = inject(), AutoWU(STEPS), jnp.ones(2)
    opt_state = schedule.set_learning_rate(optimizer.init(params))

    @jax.jit
    def train_steps(params: Any, opt_state: Any, losses: Any) -> Any:
        def update(carry: Any, loss: Any) -> Any:
            params, opt_state = carry
            updates, opt_state = optimizer.update(params, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        return jax.lax.scan(update, (params, opt_state), losses)

    with told("has made") as texts:
        for losses in jnp.asarray(v_curve(STEPS)).reshape(-1, 10):
            (params, opt_state), seen = train_steps(params, opt_state, losses)
            params, opt_state = schedule.step(seen.mean(), params, opt_state)
    (text,) = texts
    assert "(The updates of one lax.scan can only have one LR" in text
    with pytest.raises(ValueError, match=r"not shape \(10,\): give the mean, .*in one lax\.scan"):
        schedule.step(seen, params, opt_state)


def test_a_critic_may_make_more_updates() -> None:
    optimizers, schedule, params = (inject(), inject()), AutoWU(STEPS), jnp.ones(2)
    update = jax.jit(optimizers[0].update)
    states = schedule.set_learning_rate(tuple(each.init(params) for each in optimizers))
    with told("has made") as texts:
        for loss in v_curve(STEPS)[:100]:
            model, critic = states
            for _ in range(5):
                _, critic = update(params, critic)
            _, model = update(params, model)
            params, states = schedule.step(loss, params, (model, critic))
    assert texts == []


MADE = "this update was made with opt_state"


def test_an_lr_that_was_never_set_is_told_of_once() -> None:
    optimizer, schedule, params = inject(learning_rate=1e-3), AutoWU(STEPS), jnp.ones(2)
    opt_state = optimizer.init(params)
    with told(MADE) as texts:
        for loss in v_curve(STEPS)[:5]:
            params, opt_state = schedule.step(loss, params, opt_state)
    (text,) = texts
    assert ".hyperparams['learning_rate'] at 0.001" in text
    assert "not 1e-05: call set_learning_rate(opt_state) before the first update" in text


def two_rates(learning_rate: float, head_lr: float) -> optax.GradientTransformation:
    return optax.chain(optax.scale(-learning_rate), optax.scale(head_lr))


@pytest.mark.parametrize("forgotten", [True, False])
def test_an_lr_that_was_not_set_after_loading_is_told_of(forgotten: bool) -> None:
    optimizer = inject(two_rates, learning_rate=0.1, head_lr=0.3)
    before, params = AutoWU(STEPS), jnp.ones(2)
    fresh = optimizer.init(params)
    opt_state = before.set_learning_rate(fresh)
    for loss in v_curve(STEPS)[:20]:
        params, opt_state = before.step(loss, params, opt_state)
    schedule = AutoWU(STEPS)
    schedule.load_state_dict(before.state_dict())
    with told(MADE) as texts:
        schedule.step(1.0, params, fresh if forgotten else schedule.set_learning_rate(fresh))
    assert len(texts) == forgotten
    again = AutoWU(STEPS)
    again.load_state_dict(before.state_dict())
    with told(MADE) as texts:
        again.step(1.0, params, opt_state)  # as it was saved: the LR is right
    assert texts == []
