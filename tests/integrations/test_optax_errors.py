"""What is refused, or told, of optimizers, losses and calls, and what to write instead."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from typing import Any

import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")

import jax
import jax.numpy as jnp
import optax

from autowu.extras import install
from autowu.integrations.optax import AutoWU
from integrations.contract.contract import v_curve
from integrations.test_optax import Run


def test_an_optimizer_state_without_an_injected_lr_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("optax.inject_hyperparams(optax.adamw)(")):
        AutoWU(100).set_learning_rate(optax.adam(1e-3).init(jnp.zeros(2)))


def by_eta(eta: Any) -> Any:
    return optax.sgd(eta)


def by_a_bound(max_lr: Any) -> Any:
    return optax.sgd(max_lr)


@pytest.mark.parametrize(
    ("make", "name"), [(by_eta, "eta"), (by_a_bound, "max_lr"), (optax.scale, "step_size")]
)
def test_an_lr_that_is_injected_by_another_name_is_refused_with_the_names_that_count(
    make: Any, name: str
) -> None:
    state = optax.inject_hyperparams(make)(**{name: 0.1}).init(jnp.zeros(2))
    with pytest.raises(ValueError, match=f"must be called learning_rate or lr, .* injected is only {name}"):
        AutoWU(100).set_learning_rate(state)


def test_an_optimizer_that_does_not_follow_its_lr_is_told_of_once() -> None:
    schedule, state = AutoWU(100), optax.inject_hyperparams(optax.rprop)(0.01).init(jnp.zeros(2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = schedule.set_learning_rate(state)
        schedule.set_learning_rate((state,))
    assert ["rprop takes its learning rate for its very first" in str(each.message) for each in caught] == [
        True
    ]
    assert caught[0].filename == __file__


def test_an_optimizer_in_the_place_of_its_state_is_refused_with_what_to_give() -> None:
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
    message = "of type GradientTransformationExtraArgs.*give what its init"
    with pytest.raises(ValueError, match=message):
        AutoWU(100).set_learning_rate(optimizer)


def test_a_schedule_in_the_optimizer_is_refused() -> None:
    schedule = optax.cosine_decay_schedule(0.1, 100)
    opt_state = optax.inject_hyperparams(optax.adam)(learning_rate=schedule).init(jnp.zeros(2))
    with pytest.raises(ValueError, match="learning_rate is a schedule"):
        AutoWU(100).set_learning_rate(opt_state)


def test_an_integer_is_refused() -> None:
    opt_state = optax.inject_hyperparams(optax.sgd)(learning_rate=0).init(jnp.zeros(2))
    with pytest.raises(ValueError, match="learning_rate is an integer"):
        AutoWU(100).set_learning_rate(opt_state)


def test_an_lr_that_takes_its_type_from_complex_parameters_is_refused_with_what_to_write() -> None:
    parameters = jnp.zeros(2, jnp.complex64)
    opt_state = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1).init(parameters)
    with pytest.raises(ValueError, match=r"is of complex64, .* hyperparam_dtype=jnp\.float32"):
        AutoWU(100).set_learning_rate(opt_state)
    opt_state = optax.inject_hyperparams(optax.sgd, hyperparam_dtype=jnp.float32)(0.1).init(parameters)
    AutoWU(100).set_learning_rate(opt_state)


def test_a_loss_of_pytorch_is_refused_with_what_to_write() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"such as float\(loss\), not tensor\(1\."):
        AutoWU(100).observe(torch.ones((), requires_grad=True))


@pytest.mark.parametrize("calls", [1, 4], ids=["a step a micro-batch", "a step an update"])
def test_a_step_for_each_micro_batch_is_told_once(calls: int) -> None:
    optimizer = optax.MultiSteps(optax.inject_hyperparams(optax.sgd)(learning_rate=0.1), 4)
    params = jnp.zeros(2)
    schedule = AutoWU(200)
    opt_state = schedule.set_learning_rate(optimizer.init(params))
    update = jax.jit(optimizer.update)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for loss in v_curve(200)[:100]:
            for _ in range(calls):
                _, opt_state = update(params, opt_state)
            params, opt_state = schedule.step(loss, params, opt_state)
    texts = [str(each.message) for each in told if "MultiSteps" in str(each.message)]
    assert len(texts) == (calls == 1)
    assert all("has been called" in text and "observe(loss)" in text for text in texts)


def test_inside_of_jit_it_is_refused() -> None:
    schedule = AutoWU(100)

    @jax.jit
    def train_step(loss: Any) -> Any:
        schedule.observe(loss)
        return loss

    with pytest.raises(TypeError, match="cannot run inside of jit"):
        train_step(jnp.float32(1))


def test_a_jitted_schedule_is_refused_for_its_lr_would_never_change() -> None:
    run = Run()
    run.schedule.observe(1.0)
    for call in (
        lambda: jax.jit(run.schedule.set_learning_rate)(run.opt_state),
        lambda: jax.jit(lambda params, state: run.schedule.step(None, params, state))(
            run.params, run.opt_state
        ),
    ):
        with pytest.raises(TypeError, match="cannot run inside of jit"):
            call()
    assert run.schedule.driver.step_count == 0


def test_a_step_without_a_loss_is_refused() -> None:
    run = Run()
    with pytest.raises(TypeError, match="needs the training loss"):
        run.schedule.step(None, run.params, run.opt_state)


def test_without_jax_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['jax'] = None; import autowu.integrations.optax"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(install("optax"))
