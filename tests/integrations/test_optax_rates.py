"""Several injected learning rates, and others who write them."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")

import jax
import jax.numpy as jnp
import optax

from autowu.integrations.optax import AutoWU
from autowu.integrations.optax_rates import can_be_read, not_as_set
from integrations.contract.contract import v_curve

STEPS = 120
inject = optax.inject_hyperparams


def found(opt_state: Any) -> dict[str, Any]:
    """All that looks like a learning rate, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(opt_state)
    named = {jax.tree_util.keystr(path): np.asarray(leaf).tolist() for path, leaf in leaves}
    return {path: value for path, value in named.items() if "learning_rate" in path or "lr'" in path}


def partition(one: Any, other: Any) -> optax.GradientTransformation:
    return optax.multi_transform({"a": one, "b": other}, {"x": "a", "y": "b"})


def test_every_injected_learning_rate_keeps_its_ratio_and_no_other_hyperparameter_is_set() -> None:
    optimizer = optax.MultiSteps(
        partition(
            inject(optax.sgd)(learning_rate=0.5, momentum=0.9),
            optax.chain(inject(optax.adam)(learning_rate=1.0), optax.scale(0.1)),
        ),
        every_k_schedule=2,
    )
    before = optimizer.init({"x": jnp.zeros(2), "y": jnp.zeros(3)})
    after = AutoWU(100, min_lr=0.25).set_learning_rate(before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    differs = [
        jax.tree_util.keystr(path)
        for (path, one), other in zip(
            jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
        )
        if one != pytest.approx(other)
    ]
    assert len(differs) == 2
    assert list(found(after).values()) == [0.25, 0.5]


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_where_all_are_the_same_their_value_does_not_matter(value: float) -> None:
    optimizer = partition(inject(optax.sgd)(learning_rate=value), inject(optax.adam)(learning_rate=value))
    state = optimizer.init({"x": jnp.zeros(2), "y": jnp.zeros(3)})
    after = AutoWU(100, min_lr=0.25).set_learning_rate(state)
    assert list(found(after).values()) == [0.25, 0.25]


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(("rates", "ratio"), [((0.0, 0.0), 1), ((0.1, 0.1), 1), ((0.1, 0.05), 0.5)])
def test_a_learning_rate_that_joins_later_has_its_ratio_to_what_the_first_was_given_as(
    rates: tuple[float, float], ratio: float, saved: bool
) -> None:
    first, second = (inject(optax.sgd)(learning_rate=rate).init(jnp.zeros(2)) for rate in rates)
    schedule, params = AutoWU(STEPS), jnp.zeros(2)
    opt_state = schedule.set_learning_rate({"a": first})
    for loss in v_curve(STEPS)[:20]:
        params, opt_state = schedule.step(loss, params, opt_state)
    if saved:
        state, schedule = schedule.state_dict(), AutoWU(STEPS)
        schedule.load_state_dict(state)
    opt_state = schedule.set_learning_rate(opt_state | {"b": second})
    now = [float(opt_state[name].hyperparams["learning_rate"]) for name in "ab"]
    assert now == pytest.approx([schedule.driver.learning_rate, ratio * schedule.driver.learning_rate])


@pytest.mark.skipif(not hasattr(optax.contrib, "muon"), reason="optax 0.2.5 or newer has it")
def test_muons_adam_follows_in_its_ratio_to_the_end_and_across_a_checkpoint() -> None:
    optimizer = inject(optax.contrib.muon)(learning_rate=0.02, adam_learning_rate=0.005)
    schedule, params = AutoWU(STEPS), {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    opt_state = schedule.set_learning_rate(optimizer.init(params))

    @jax.jit
    def train_step(params: Any, opt_state: Any) -> Any:
        updates, opt_state = optimizer.update(jax.tree.map(jnp.ones_like, params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    for step, loss in enumerate(v_curve(STEPS)):
        rates = opt_state.hyperparams
        assert rates["learning_rate"] == np.float32(schedule.driver.learning_rate)
        ratio = np.float64(np.float32(0.005)) / np.float64(np.float32(0.02))
        assert rates["adam_learning_rate"] == np.float32(ratio * schedule.driver.learning_rate)
        if step == 70:
            state, schedule = schedule.state_dict(), AutoWU(STEPS)
            schedule.load_state_dict(state)
            # The restored LRs are those of a run whose LR has been rounded, or has ended at 0.
            opt_state = schedule.set_learning_rate(optax.tree_utils.tree_set(opt_state, learning_rate=0.0))
        params, opt_state = train_step(params, opt_state)
        params, opt_state = schedule.step(loss, params, opt_state)
    assert schedule.driver.switch is not None


def test_learning_rates_are_known_by_their_names() -> None:
    def make(head_lr: Any, lr: Any, max_learning_rate: Any, lr_decay: Any) -> Any:
        return optax.sgd(lr)

    state = inject(make)(head_lr=0.2, lr=0.1, max_learning_rate=7.0, lr_decay=3.0).init(jnp.zeros(2))
    after = AutoWU(100, min_lr=0.25).set_learning_rate(state).hyperparams
    assert {name: float(value) for name, value in after.items()} == {
        "head_lr": 0.25,
        "lr": 0.125,
        "max_learning_rate": 7.0,
        "lr_decay": 3.0,
    }


def test_an_array_of_learning_rates_keeps_their_ratios() -> None:
    def make(learning_rates: Any) -> Any:
        return optax.sgd(learning_rates[0])

    state = inject(make)(learning_rates=jnp.array([0.5, 0.25])).init(jnp.zeros(2))
    after = AutoWU(100, min_lr=0.25).set_learning_rate(state).hyperparams
    np.testing.assert_array_equal(after["learning_rates"], [0.25, 0.125])


class Variable:
    """What Flax NNX puts around each array."""

    def __init__(self, value: Any) -> None:
        self.value = value


jax.tree_util.register_pytree_with_keys(
    Variable,
    lambda variable: (((jax.tree_util.GetAttrKey("value"), variable.value),), None),
    lambda _, children: Variable(*children),
)


def test_an_array_that_a_framework_wraps_is_found() -> None:
    state = jax.tree.map(Variable, inject(optax.adam)(learning_rate=0.5).init(jnp.zeros(2)))
    after = AutoWU(100, min_lr=0.25).set_learning_rate(state)
    assert after.hyperparams["learning_rate"].value == 0.25
    assert after.hyperparams["b1"].value == np.float32(0.9)
    wrapped = jax.tree.map(Variable, inject(optax.adam)(learning_rate=lambda count: 0.1).init(jnp.zeros(2)))
    with pytest.raises(ValueError, match="learning_rate is a schedule"):
        AutoWU(100).set_learning_rate(wrapped)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ((0.0, 0.1), "in no ratio to opt_state.*, which was given as 0"),
        ((0.1, -0.1), "must be finite and ≥ 0, not -0.1"),
        ((np.nan, 0.1), "must be finite and ≥ 0, not nan"),
    ],
)
def test_learning_rates_without_a_ratio_are_refused(rates: tuple[float, float], message: str) -> None:
    optimizer = partition(*(inject(optax.sgd)(learning_rate=rate) for rate in rates))
    with pytest.raises(ValueError, match=message):
        AutoWU(100).set_learning_rate(optimizer.init({"x": jnp.zeros(2), "y": jnp.zeros(3)}))


def test_a_state_with_a_ratio_that_is_none_is_refused() -> None:
    schedule = AutoWU(100)
    schedule.set_learning_rate(inject(optax.sgd)(learning_rate=0.1).init(jnp.zeros(2)))
    (name,) = (name for name in schedule.state_dict() if name.startswith("ratio."))
    for value in (np.array(-1.0), np.array("x"), np.array(np.nan)):
        with pytest.raises(ValueError, match=r"ratio|damaged"):
            schedule.load_state_dict(schedule.state_dict() | {name: value})


# --- a second hand ------------------------------------------------------------------------------------


def set_before(opt_state: Any, step: int) -> Any:
    """A schedule of old that was left in the loop."""
    return optax.tree_utils.tree_set(opt_state, learning_rate=jnp.float32(0.1 / (step + 1)))


def set_once(opt_state: Any, step: int) -> Any:
    return optax.tree_utils.tree_set(opt_state, learning_rate=0.5) if step == 60 else opt_state


def set_by_the_same(opt_state: Any, step: int) -> Any:
    return opt_state


DECAY = optax.cosine_decay_schedule(1.0, STEPS)


@pytest.mark.parametrize(
    ("chain", "told"),
    [
        ([inject(optax.adam)(learning_rate=0.0), optax.scale_by_schedule(DECAY)], "ScaleByScheduleState"),
        ([inject(optax.adam)(learning_rate=0.0), optax.contrib.reduce_on_plateau()], "ReduceLROnPlateau"),
        ([inject(optax.adamw)(learning_rate=0.0), optax.add_decayed_weights(DECAY)], None),
        ([inject(lambda learning_rate: optax.lbfgs(learning_rate, 5))(0.1)], "ScaleByZoomLinesearchState"),
        ([inject(lambda learning_rate: optax.lbfgs(learning_rate, linesearch=None))(0.1)], None),
    ],
)
def test_a_schedule_elsewhere_in_the_optimizer_is_told_of_once(chain: Any, told: str | None) -> None:
    schedule, opt_state = AutoWU(STEPS), optax.chain(*chain).init(jnp.ones(2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opt_state = schedule.set_learning_rate(opt_state)
        schedule.set_learning_rate((opt_state,))
    assert [told for each in caught if f"a schedule of its own besides ({told}" in str(each.message)] == (
        [told] if told else []
    )
    assert [each.filename for each in caught] == [__file__] * len(caught)


@pytest.mark.parametrize(
    ("transformation", "told"),
    [
        (inject(optax.adamw)(learning_rate=0.0), "hyperparams['b1'] is of bfloat16"),
        (inject(lambda learning_rate: optax.adamw(learning_rate, b1=0.8))(learning_rate=0.0), None),
        (inject(optax.adamw, hyperparam_dtype=jnp.float32)(learning_rate=0.0), None),
    ],
)
def test_hyperparameters_that_the_parameters_precision_would_spoil_are_told_of_once(
    transformation: Any, told: str | None
) -> None:
    schedule, params = AutoWU(STEPS), jnp.ones(2, jnp.bfloat16)
    opt_state = transformation.init(params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opt_state = schedule.set_learning_rate(opt_state)
        schedule.set_learning_rate((opt_state,))
    updates, _ = transformation.update(params, opt_state, params)
    assert np.isfinite(updates.astype(float)).all() == (told is None)
    assert [each.filename for each in caught] == [__file__] * (told is not None)
    assert not told or told in str(caught[0].message)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(("hand", "told"), [(set_before, True), (set_once, True), (set_by_the_same, False)])
def test_a_second_hand_on_the_lr_is_told_of_once(hand: Any, told: bool, dtype: Any) -> None:
    optimizer = inject(optax.sgd)(learning_rate=0.0)
    schedule, params = AutoWU(STEPS), jnp.ones(2, dtype)
    opt_state = schedule.set_learning_rate(optimizer.init(params))
    assert opt_state.hyperparams["learning_rate"].dtype == dtype

    @jax.jit
    def train_step(params: Any, opt_state: Any) -> Any:
        updates, opt_state = optimizer.update(jnp.zeros_like(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, loss in enumerate(v_curve(STEPS)):
            params, opt_state = jax.block_until_ready(train_step(params, hand(opt_state, step)))
            params, opt_state = schedule.step(loss, params, opt_state)
    texts = [each for each in caught if "something else sets the learning rate" in str(each.message)]
    assert len(texts) == told
    assert all(each.filename == __file__ for each in texts)


@pytest.mark.parametrize("donate", [(), (0, 1)], ids=["kept", "donated"])
@pytest.mark.parametrize("forgotten", ["step", "set_learning_rate", None])
def test_what_was_returned_and_not_taken_is_told_of_once(forgotten: str | None, donate: Any) -> None:
    optimizer = inject(optax.sgd)(learning_rate=0.5)
    schedule, params = AutoWU(STEPS), jnp.ones(2)
    opt_state = optimizer.init(params)
    returned = schedule.set_learning_rate(opt_state)
    opt_state = opt_state if forgotten == "set_learning_rate" else returned

    @partial(jax.jit, donate_argnums=donate)
    def train_step(params: Any, opt_state: Any) -> Any:
        updates, opt_state = optimizer.update(params, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for loss in np.linspace(2, 1, 10):
            params, opt_state = train_step(params, opt_state)
            ready = forgotten != "step"  # else what came back may be gone before it is looked at
            params, opt_state = jax.block_until_ready((params, opt_state)) if ready else (params, opt_state)
            returned = schedule.step(loss, params, opt_state)
            params, opt_state = (params, opt_state) if forgotten == "step" else returned
    texts = [each for each in caught if "Take what step() returns" in str(each.message)]
    assert len(texts) == (forgotten is not None)
    assert all(each.filename == __file__ for each in texts)


def test_an_opt_state_that_was_donated_in_place_of_the_one_returned_is_told_of() -> None:
    leaf = jnp.ones(())
    leaf.delete()
    assert can_be_read(leaf)
    assert "(donated) in place of the one that it returned" in (not_as_set("", leaf, np.ones(())) or "")
