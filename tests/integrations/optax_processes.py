"""A run of two JAX processes over global arrays; each prints what its schedule has made of it."""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from autowu.integrations.optax import AutoWU
from integrations.contract.contract import v_curve


def main(address: str, rank: int) -> None:
    """Be one of the two."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, 2, rank)
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)

    @jax.jit
    def train_step(params: Any, opt_state: Any, batch: Any) -> Any:
        def loss_of(params: Any) -> Any:
            real = (params - 1.0) ** 2
            return batch.mean() + (real - jax.lax.stop_gradient(real)).sum()

        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    def everywhere(value: Any, *axes: Any) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.make_array_from_callback(np.shape(value), sharding, lambda at: np.asarray(value)[at])

    losses, found = v_curve(120), {"lrs": [], "after": []}
    params = everywhere(np.zeros(3, np.float32))
    opt_state = jax.tree.map(everywhere, optimizer.init(np.zeros(3, np.float32)))
    schedule = AutoWU(len(losses))
    opt_state = schedule.set_learning_rate(opt_state)
    for loss in losses:
        found["lrs"].append(float(np.asarray(opt_state.hyperparams["learning_rate"])))
        # The halves differ, and each process holds one: their mean is exact.
        batch = everywhere(np.float32([loss - 0.5, loss + 0.5]), "devices")
        params, opt_state, seen = train_step(params, opt_state, batch)
        params, opt_state = schedule.step(seen, params, opt_state)
        found["after"].append(np.asarray(params).tolist())
    switch = schedule.driver.switch
    assert switch is not None
    print(json.dumps({**found, "switch": [switch.step, switch.rewound_to]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
