"""optax as a host of the contract."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autowu.integrations.optax import AutoWU
from integrations.contract.contract import Host, Job


class Optax(Host):
    name = "optax"
    exact = False  # optax keeps the LR in float32
    processes = False

    def make(self, job: Job) -> list[float]:
        optimizer: Any = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0, momentum=0.9)
        if job.accumulation > 1:
            optimizer = optax.MultiSteps(optimizer, job.accumulation)
        params = {"w": jnp.ones(())}
        opt_state = optimizer.init(params)
        schedule = AutoWU(job.total_steps, **job.settings)
        checkpoint = job.folder / "schedule.npz"  # this model has nothing else worth keeping
        if job.resume:
            with np.load(checkpoint) as saved:
                schedule.load_state_dict(saved)

        def loss_of(params: Any, x: Any) -> Any:
            return x.mean() + 0 * params["w"]

        @jax.jit
        def train_step(params: Any, opt_state: Any, x: Any) -> Any:
            loss, gradient = jax.value_and_grad(loss_of)(params, x)
            updates, opt_state = optimizer.update(gradient, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, loss

        opt_state = schedule.set_learning_rate(opt_state)
        lrs: list[float] = []
        micro = np.float32(job.losses).reshape(-1, job.accumulation)
        for update in micro[schedule.driver.step_count : job.stop_after]:
            lrs.append(float(optax.tree_utils.tree_get(opt_state, "learning_rate")))
            for loss in update:
                params, opt_state, seen = train_step(params, opt_state, loss[None])
                schedule.observe(seen)
            params, opt_state = schedule.step(None, params, opt_state)
            params, opt_state = job.ask(schedule.driver.step_count, schedule, params, opt_state)
        if job.stop_after is not None:
            np.savez(checkpoint, **schedule.state_dict())
        return lrs


HOSTS = [Optax()]
