"""What is particular to optax: one trace, rewind of pytrees, checkpoints, clear errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")

import jax
import jax.numpy as jnp
import optax

from autowu.integrations.optax import AutoWU
from integrations.contract.contract import v_curve

EXAMPLE = Path(__file__).parents[2] / "examples" / "optax_digits.py"
STEPS = 120


def momentum(learning_rate: float) -> optax.GradientTransformation:
    """An optimizer without an ε that bfloat16 would round to zero."""
    return optax.sgd(learning_rate, momentum=0.9)


class Run:
    """A real training of a line, whose losses are prescribed nevertheless."""

    def __init__(
        self,
        transformation: Any = optax.adam,
        *,
        donate: bool = False,
        dtype: Any = jnp.float32,
        begun: bool = False,
    ) -> None:
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(1.0), optax.inject_hyperparams(transformation)(learning_rate=3.0)
        )
        self.traces = 0
        self.schedule = AutoWU(STEPS)
        self.params = {"line": {"slope": jnp.zeros(3, dtype), "offset": jnp.zeros((), dtype)}}
        self.opt_state = self.schedule.set_learning_rate(
            self.optimizer.init(self.params), self.params if begun else None
        )
        self._train_step = jax.jit(self._update, donate_argnums=(0, 1) if donate else ())
        self.history: list[Any] = []
        """(params, opt_state) before each update, as NumPy arrays."""
        self.lrs: list[float] = []

    def _update(self, params: Any, opt_state: Any, target: Any) -> Any:
        self.traces += 1
        line = params["line"]
        gradient = jax.grad(lambda line: ((line["slope"] + line["offset"] - target) ** 2).mean())(line)
        updates, opt_state = self.optimizer.update({"line": gradient}, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def train(self, losses: Any) -> None:
        for step, loss in enumerate(losses, self.schedule.driver.step_count):
            self.history.append(jax.tree.map(np.array, (self.params, self.opt_state)))
            self.lrs.append(float(optax.tree_utils.tree_get(self.opt_state, "learning_rate")))
            target = np.random.default_rng(step).normal(size=3).astype(np.float32)
            self.params, self.opt_state = self._train_step(self.params, self.opt_state, target)
            self.params, self.opt_state = self.schedule.step(jnp.float32(loss), self.params, self.opt_state)
        self.history.append(jax.tree.map(np.array, (self.params, self.opt_state)))


def without_lr(opt_state: Any) -> Any:
    return optax.tree_utils.tree_set(opt_state, learning_rate=None)


def assert_equal(actual: Any, expected: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def with_a_weak_type(learning_rate: float, ns_steps: int = 5) -> optax.GradientTransformation:
    """As Muon: of an integer inject_hyperparams makes an array with a weak type."""
    return optax.adam(learning_rate)


@pytest.mark.parametrize("transformation", [optax.adam, with_a_weak_type])
@pytest.mark.parametrize("donate", [False, True])
def test_the_step_is_traced_once(donate: bool, transformation: Any) -> None:
    run = Run(transformation, donate=donate)
    run.train(v_curve(STEPS))
    assert run.schedule.driver.switch is not None
    assert run.schedule.driver.switch.rewound_to is not None
    assert run.traces == 1


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize(("transformation", "dtype"), [(optax.adam, jnp.float32), (momentum, jnp.bfloat16)])
def test_params_and_optimizer_state_go_back_to_the_minimum(
    transformation: Any, dtype: Any, donate: bool
) -> None:
    run = Run(transformation, donate=donate, dtype=dtype)
    run.train(v_curve(STEPS))
    switch = run.schedule.driver.switch
    assert switch is not None
    assert switch.rewound_to is not None
    assert 0 < switch.rewound_to < switch.step
    params, opt_state = run.history[switch.step]
    kept_params, kept_state = run.history[switch.rewound_to]
    assert_equal(params, kept_params)
    assert_equal(without_lr(opt_state), without_lr(kept_state))
    assert run.lrs[switch.step] == np.asarray(switch.peak_lr).astype(dtype)
    before, _ = run.history[switch.step - 1]
    assert not np.array_equal(params["line"]["slope"], before["line"]["slope"])


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_a_copy_can_be_put_back_twice(tmp_path: Path) -> None:
    # Losses end within the fast growth: back to the first copy, once more from the start, and back again.
    losses = np.full(STEPS, np.nan)
    losses[:3] = 2.0
    run = Run(donate=True)
    run.train(losses)
    first = next(step for step, lr in enumerate(run.lrs) if step and lr < run.lrs[step - 1])
    switch = run.schedule.driver.switch
    assert switch is not None
    assert switch.step > first
    assert switch.rewound_to is not None
    for step in (first, switch.step):
        assert_equal(run.history[step][0], run.history[switch.rewound_to][0])


def noise() -> optax.GradientTransformation:
    """Adds noise to gradients; its state is a random key."""

    def update(gradient: Any, key: Any, params: Any = None) -> Any:
        key, own = jax.random.split(key)
        return gradient + jax.random.normal(own, gradient.shape), key

    return optax.GradientTransformation(lambda _: jax.random.key(0), update)


def test_random_keys_go_on(tmp_path: Path) -> None:
    optimizer = optax.chain(noise(), optax.inject_hyperparams(optax.sgd)(learning_rate=0.0))
    schedule = AutoWU(STEPS)
    params = jnp.zeros(2)
    opt_state = schedule.set_learning_rate(optimizer.init(params))

    @jax.jit
    def train_step(params: Any, opt_state: Any) -> Any:
        updates, opt_state = optimizer.update(jnp.ones(2), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    keys = set()
    for loss in v_curve(STEPS):
        params, opt_state = train_step(params, opt_state)
        params, opt_state = schedule.step(loss, params, opt_state)
        np.savez(tmp_path / "state.npz", **schedule.state_dict())
        keys.add(tuple(jax.random.key_data(opt_state[0]).tolist()))
    assert schedule.driver.switch is not None
    assert len(keys) == STEPS


@pytest.mark.parametrize(("transformation", "dtype"), [(optax.adam, jnp.float32), (momentum, jnp.bfloat16)])
@pytest.mark.parametrize("stop", [5, 25, 30, 80])
def test_a_run_goes_on_from_an_npz(stop: int, transformation: Any, dtype: Any, tmp_path: Path) -> None:
    losses = v_curve(STEPS)
    whole, begun, resumed = (Run(transformation, dtype=dtype) for _ in range(3))
    whole.train(losses)
    begun.train(losses[:stop])
    np.savez(tmp_path / "schedule.npz", **begun.schedule.state_dict())
    resumed.params, resumed.opt_state = begun.params, begun.opt_state
    with np.load(tmp_path / "schedule.npz") as saved:
        resumed.schedule.load_state_dict(saved)
    resumed.opt_state = resumed.schedule.set_learning_rate(resumed.opt_state)
    resumed.train(losses[stop:])
    assert begun.lrs + resumed.lrs == whole.lrs
    assert_equal(resumed.history[-1], whole.history[-1])


def test_sharded_state_stays_where_it_is(tmp_path: Path) -> None:
    program = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from autowu.integrations.optax import AutoWU
from integrations.contract.contract import v_curve

mesh = Mesh(np.array(jax.devices()), ("x",))
assert mesh.size == 2
optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
params = jax.device_put({"w": jnp.zeros(4)}, NamedSharding(mesh, P("x")))
schedule = AutoWU(120)
opt_state = schedule.set_learning_rate(jax.jit(optimizer.init)(params))
traces = 0

@jax.jit
def train_step(params, opt_state, target):
    global traces
    traces += 1
    gradient = jax.grad(lambda params: ((params["w"] - target) ** 2).mean())(params)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

for step, loss in enumerate(v_curve(120)):
    params, opt_state = train_step(params, opt_state, jnp.full(4, float(step % 3)))
    params, opt_state = schedule.step(loss, params, opt_state)
    assert len(params["w"].sharding.device_set) == 2, step
    assert params["w"].sharding.spec == P("x"), step
assert schedule.driver.switch.rewound_to is not None
print(traces, train_step._cache_size())
"""
    flags = "--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false"
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    traces, compiled = map(int, done.stdout.split())
    # Two as without AutoWU: the scalars that `init` made lie on one device at first.
    assert traces <= 2
    assert compiled <= 2


# --- a crash ------------------------------------------------------------------------------------------


@pytest.mark.full
def test_the_example_goes_on_after_kill_9_as_if_unbroken(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE), "--epochs", "8", "--out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    whole = subprocess.run(
        [*command, str(tmp_path / "whole")], check=True, capture_output=True, text=True, env=environment
    ).stdout.splitlines()
    begun: list[str] = []
    with subprocess.Popen(
        [*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            begun.append(line.rstrip())
            if len(begun) == 3:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    resumed = subprocess.run(
        [*command, str(tmp_path / "killed")], check=True, capture_output=True, text=True, env=environment
    ).stdout.splitlines()
    assert begun == whole[:3]
    assert resumed == whole[-len(resumed) :]
    assert len(resumed) < len(whole)
