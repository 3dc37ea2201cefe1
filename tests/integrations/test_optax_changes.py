"""Pytrees that change while there is a snapshot: a leaf is known by its path, and it is all or nothing."""

from __future__ import annotations

import warnings
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

STEPS, SWITCH = 120, 35


class Run:
    """Parameters whose values say at which step they are, with prescribed losses."""

    def __init__(self, params: Any) -> None:
        self.optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0, momentum=0.9)
        self.schedule = AutoWU(STEPS)
        self.params = params
        self.opt_state = self.schedule.set_learning_rate(self.optimizer.init(arrays(params)))
        self.history: list[Any] = []
        self.texts: list[str] = []

    def train(self, stop: int) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for loss in v_curve(STEPS)[self.schedule.driver.step_count : stop]:
                self.history.append((self.params, self.opt_state))
                self.params, self.opt_state = self.updated()
                self.params, self.opt_state = self.schedule.step(loss, self.params, self.opt_state)
        self.texts += [str(each.message) for each in caught if "snapshot" in str(each.message)]

    def updated(self) -> Any:
        def up(leaf: Any) -> Any:
            return leaf + 1 if isinstance(leaf, jax.Array) else leaf

        trace = self.opt_state.inner_state[0]
        moved = trace._replace(trace=jax.tree.map(up, trace.trace))
        inner = (moved, *self.opt_state.inner_state[1:])
        return jax.tree.map(up, self.params), self.opt_state._replace(inner_state=inner)


def arrays(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else None, params)


def layers(*names: str) -> dict[str, Any]:
    """Of one shape, each with values of its own."""
    return {name: jnp.full(3, 1000.0 * index) for index, name in enumerate(names)}


def changed(run: Run, params: Any) -> tuple[Any, Any, int | None]:
    """The parameters after the switch, those that were trained to it, and where the rewind went."""
    run.train(SWITCH - 1)
    assert run.schedule.driver.switch is None
    assert run.schedule.driver.snapshot is not None
    run.params = params(run.params)
    run.opt_state = run.schedule.set_learning_rate(run.optimizer.init(arrays(run.params)))
    trained = jax.tree.map(lambda leaf: leaf + 1 if isinstance(leaf, jax.Array) else leaf, run.params)
    run.train(SWITCH)
    switch = run.schedule.driver.switch
    assert switch is not None
    after = run.params
    run.train(STEPS)
    assert run.schedule.driver.step_count == STEPS
    return after, trained, switch.rewound_to


def test_a_leaf_that_leaves_shifts_no_other() -> None:
    after, _, to = changed(Run(layers("a", "b", "c")), lambda params: {"b": params["b"], "c": params["c"]})
    assert to is not None
    assert [float(leaf[0]) for leaf in after.values()] == [1000 + to, 2000 + to]


def test_a_leaf_that_joins_stays_as_it_is() -> None:
    run = Run(layers("b", "c"))
    after, trained, to = changed(run, lambda params: {"a": jnp.full(3, -5.0), **params})
    assert to is not None
    assert after["a"][0] == trained["a"][0] == -4
    assert [float(after[name][0]) for name in "bc"] == [to, 1000 + to]
    assert run.texts == []


def test_a_renamed_leaf_is_a_new_one() -> None:
    after, trained, to = changed(
        Run(layers("a", "head")), lambda params: {"a": params["a"], "new": params["head"]}
    )
    assert to is not None
    assert after["a"][0] == to
    assert after["new"][0] == trained["new"][0]


@pytest.mark.parametrize(
    ("before", "change", "message"),
    [
        (
            layers("a", "b"),
            lambda params: {**params, "b": jnp.zeros(7)},
            r"params\['b'\] has shape \(7,\), and \(3,\) in the snapshot",
        ),
        (
            layers("a", "b"),
            lambda params: jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params),
            r"params\['a'\] is of bfloat16, and of float32 in the snapshot",
        ),
        (
            {"layers": [*layers("a", "b", "c").values()]},
            lambda params: {"layers": params["layers"][1:]},
            r"params\['layers'\] has the entries \[0\]; \[1\], and \[0\]; \[1\]; \[2\] in the snapshot",
        ),
        (
            layers("a", "b"),
            lambda params: {"model": params},
            r"nothing is left of what is in the snapshot: \['a'\]; \['b'\]",
        ),
    ],
)
def test_a_tree_that_does_not_fit_is_refused_as_a_whole_and_the_run_goes_on(
    before: Any, change: Any, message: str
) -> None:
    run = Run(before)
    after, trained, to = changed(run, change)
    assert to is None
    jax.tree.map(np.testing.assert_array_equal, after, trained)
    (text,) = run.texts
    assert text.startswith("AutoWU: the snapshot for rewinding can no longer be put back: ")
    with pytest.warns(UserWarning, match=message):
        warnings.warn(text, stacklevel=1)


def test_functions_and_texts_in_a_tree_are_left_out() -> None:
    run = Run({**layers("a"), "activation": jax.nn.relu, "name": "net"})
    after, _, to = changed(run, lambda params: params)
    assert to is not None
    assert after["a"][0] == to
    assert after["activation"] is jax.nn.relu
    assert run.texts == []


def test_numbers_and_numpy_arrays_come_back_as_what_they_are() -> None:
    run = Run({**layers("a"), "scale": 2.0, "table": np.arange(3)})
    after, _, to = changed(run, lambda params: {**params, "scale": 3.0, "table": np.ones(3, int)})
    assert to is not None
    assert after["scale"] == 2.0
    assert type(after["scale"]) is float
    assert after["table"].tolist() == [0, 1, 2]


def test_deleted_arrays_are_found_when_the_snapshot_is_taken() -> None:
    run = Run(layers("a", "b"))
    stale = layers("a", "b")
    stale["b"].delete()
    for loss in v_curve(STEPS)[:SWITCH]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _, run.opt_state = run.schedule.step(loss, stale, run.opt_state)
        run.texts += [str(each.message) for each in caught]
    (text,) = run.texts
    assert "no snapshot for rewinding can be taken: ['b'] has been deleted, as donated arrays are" in text
    assert run.schedule.driver.snapshot is None
    assert run.schedule.driver.switch is not None
    assert run.schedule.driver.switch.rewound_to is None


def test_a_loss_in_a_donated_state_is_read_nevertheless() -> None:
    run = Run(layers("a"))

    donating = jax.jit(lambda loss, x: x + 0 * loss, donate_argnums=0)
    loss = jnp.float32(2.0)
    for value in v_curve(STEPS)[:SWITCH]:
        given = loss
        run.schedule.observe(given)
        loss = donating(given, jnp.float32(value))
        assert given.is_deleted()
        run.params, run.opt_state = run.schedule.step(None, run.params, run.opt_state)
    assert run.schedule.driver.step_count == SWITCH
