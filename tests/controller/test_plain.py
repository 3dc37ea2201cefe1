"""The plain form of a state: there and back bit for bit, and whatever is wrong with it named."""

import copy
import math
from dataclasses import asdict, fields, replace
from typing import Any, get_args, get_origin

import numpy as np
import pytest

from autowu import Config
from autowu.controller import machine
from autowu.controller.horizon import cooled, extended
from autowu.controller.plain import PHASES, _convert, from_plain, to_plain
from autowu.controller.state import Phase, Stable, State
from autowu.detector.fit import AdamState

from .helpers import equal, follow, through_plain, v_shape

PAPER, DEFAULT = Config.paper(400, 25), Config(total_steps=1000)
PLATEAU, OPEN = Config(total_steps=500, decay="plateau"), Config(warmup_limit=300)


def rich() -> dict[str, tuple[Config, State]]:
    """A state of each phase; every field is filled in somewhere."""
    v, path = v_shape(600, 200, 0.02), dict[str, State]()
    for state in follow(DEFAULT, v):
        path[type(state.phase).__name__] = state
    rising = 2.3 + 0.01 * np.random.default_rng(0).standard_normal(60)
    rising[35:] += 0.2 * np.arange(1, 26)
    risen = follow(DEFAULT, rising[:45])[-1]
    adam = follow(PAPER, v_shape(400, 100, 0.02)[:60])[-1]
    plateau = follow(PLATEAU, v_shape(400, 100, 0.02))[-1]
    assert adam.adam
    assert risen.phase.too_large
    assert path["Grow"].snapshot_step
    assert path["Grow"].verdicts
    assert path["Grow"].phase.origin
    cut = follow(DEFAULT, np.r_[v, np.full(60, 9.0)])[-1]
    assert len(cut.phase.cuts) > 1
    assert cut.phase.least
    assert cut.origin
    assert plateau.phase.lr_drops or plateau.phase.last_mean
    stable = follow(OPEN, v_shape(400, 120, 0.02))[-1]
    found = {name: (DEFAULT, state) for name, state in (path | {"Search": risen}).items()}
    found["Stable"] = (OPEN, stable)
    assert found.keys() == PHASES.keys()
    assert isinstance(stable.phase, Stable)
    asked = cooled(OPEN, follow(OPEN, v_shape(400, 120, 0.02)[:60])[-1], 60, 50)
    assert asked.horizon.warmup_to
    twice = extended(OPEN, cooled(OPEN, stable, 390, 50), 400, 500)
    found |= {"asked": (OPEN, asked), "twice": (OPEN, twice)}
    return found | {"paper": (PAPER, adam), "plateau": (PLATEAU, plateau), "cut": (DEFAULT, cut)}


RICH = rich()


@pytest.mark.parametrize("name", RICH)
def test_a_state_goes_through_its_plain_form_bit_for_bit(name: str) -> None:
    config, state = RICH[name]
    again = through_plain(config, state)
    assert equal(to_plain(again), to_plain(state))
    assert again.phase == state.phase
    for field in fields(State):
        assert type(getattr(again, field.name)) is type(getattr(state, field.name))


@pytest.mark.parametrize("config", [Config(total_steps=500), Config.paper(500, 20), PLATEAU])
@pytest.mark.parametrize("at", [0, 1, 37, 103, 180, 250, 320])
def test_a_run_resumed_from_the_plain_form_is_the_same_run(config: Config, at: int) -> None:
    losses = v_shape(800, 150, 0.05)
    whole = machine.observe(config, machine.start(config), losses)
    half = machine.observe(config, machine.start(config), losses[:at])
    resumed = machine.observe(config, through_plain(config, half), losses[at:])
    assert equal(to_plain(resumed), to_plain(whole))


def test_the_plain_form_is_plain() -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            list(map(check, value.values()))
        elif isinstance(value, (list, tuple)):
            list(map(check, value))
        else:
            assert type(value) in {int, float, bool, str, type(None), np.ndarray}, type(value)

    for _, state in RICH.values():
        check(to_plain(state))
    assert asdict(AdamState.start(2.0))["count"] == 0


def test_what_a_loaded_state_holds_is_its_own() -> None:
    plain = to_plain(RICH["Grow"][1])
    state = from_plain(plain, DEFAULT)
    before = state.losses.copy()
    plain["losses"][:] = -1.0
    np.testing.assert_array_equal(state.losses, before)


# --- damage -------------------------------------------------------------------------------------------


def leaves(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in nested dicts and lists."""
    found = [path] if path else []
    if isinstance(plain, dict):
        return found + [leaf for key, value in plain.items() for leaf in leaves(value, (*path, key))]
    if isinstance(plain, (list, tuple)):
        return found + [leaf for i, value in enumerate(plain[:2]) for leaf in leaves(value, (*path, i))]
    return found


def mutated(plain: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy of nested values, with the one at ``path`` replaced."""
    plain = copy.deepcopy(plain)

    def put(at: Any, path: tuple[Any, ...]) -> Any:
        if not path:
            return value
        at = list(at) if isinstance(at, tuple) else at
        at[path[0]] = put(at[path[0]], path[1:])
        return at

    return put(plain, path)


@pytest.mark.parametrize("name", RICH)
@pytest.mark.parametrize("value", ["x", object(), {"a": 1}, [[1]], b"\x00"], ids=lambda v: type(v).__name__)
def test_a_value_of_the_wrong_kind_is_refused_by_name(name: str, value: Any) -> None:
    config, state = RICH[name]
    plain = to_plain(state)
    for path in leaves(plain):
        if isinstance(value, str) and path[-1] == "no_evidence":
            continue
        named = [key for key in path if isinstance(key, str)]
        with pytest.raises(ValueError) as error:
            from_plain(mutated(plain, path, value), config)
        assert any(key in str(error.value) for key in named), (path, str(error.value))


@pytest.mark.parametrize("name", RICH)
def test_a_key_that_is_missing_or_unknown_is_refused_by_name(name: str) -> None:
    config, state = RICH[name]
    plain = to_plain(state)
    mappings = [()] + [path for path in leaves(plain) if isinstance(of(plain, path), dict)]
    assert len(mappings) > 2
    for path in mappings:
        part = of(plain, path)
        for key in part:
            without = {k: v for k, v in part.items() if k != key}
            with pytest.raises(ValueError, match=key):
                from_plain(mutated(plain, path, without), config)
        with pytest.raises(ValueError, match="'surplus'"):
            from_plain(mutated(plain, path, part | {"surplus": 1}), config)


def of(plain: Any, path: tuple[Any, ...]) -> Any:
    """The value at ``path``."""
    for key in path:
        plain = plain[key]
    return plain


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("Grow", ("version",), 3), ("Grow", ("version",), None), ("Grow", ("step",), -1),
        ("Grow", ("step",), 1.0), ("Grow", ("step",), True), ("Grow", ("step",), 10**6),
        ("Grow", ("read",), -1), ("Grow", ("read",), 10**6), ("Grow", ("nonfinite_reads",), -1),
        ("Grow", ("restores",), -1), ("Grow", ("snapshot_step",), -3), ("Grow", ("verdicts",), None),
        ("Grow", ("losses",), np.zeros(0)), ("Grow", ("losses",), np.zeros((2, 2))),
        ("Grow", ("losses",), np.zeros(10**4)), ("Grow", ("losses",), None),
        ("Grow", ("phase",), None), ("Grow", ("phase", "growth"), None),
        ("Grow", ("phase", "growth", "lr"), 0.0), ("Grow", ("phase", "growth", "lr"), -1.0),
        ("Grow", ("phase", "growth", "lr"), math.nan), ("Grow", ("phase", "growth", "lr"), math.inf),
        ("Grow", ("phase", "growth", "span"), 0), ("Grow", ("phase", "growth", "start"), -1),
        ("Grow", ("phase", "growth", "span"), 1),
        ("Grow", ("phase", "growth", "start"), 10**6), ("Grow", ("phase", "lift_off"), -3),
        ("Grow", ("phase", "lift_off"), None), ("Grow", ("phase", "tests_from"), -1),
        ("Grow", ("phase", "detections"), -4), ("Search", ("phase", "rises"), -1),
        ("Search", ("phase", "too_large"), "x"), ("Decay", ("phase", "growth", "span"), 0),
        ("Decay", ("phase", "switch"), None), ("Decay", ("phase", "no_fall"), 1),
        ("Decay", ("phase", "least"), 1.0), ("Decay", ("origin",), 1.0), ("cut", ("phase", "cuts"), None),
        ("cut", ("phase", "cuts", 0, "step"), -1), ("cut", ("phase", "cuts", 0, "back_to"), -1),
        ("cut", ("phase", "cuts", 0, "factor"), "x"),
        ("Decay", ("phase", "switch", "peak_lr"), 0.0), ("Decay", ("phase", "switch", "peak_lr"), -1.0),
        ("Decay", ("phase", "switch", "peak_lr"), math.nan),
        ("Decay", ("phase", "switch", "peak_lr"), math.inf), ("Decay", ("phase", "switch", "step"), 10**6),
        ("Decay", ("phase", "switch", "reason"), "a whim"), ("Decay", ("phase", "switch", "reads"), -1),
        ("plateau", ("phase", "lr_drops"), -1), ("plateau", ("phase", "last_mean"), [1.0]),
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused_by_name(name: str, path: tuple[str, ...], value: Any) -> None:
    config, state = RICH[name]
    with pytest.raises(ValueError, match=path[-1]):
        from_plain(mutated(to_plain(state), path, value), config)


@pytest.mark.parametrize("name", RICH)
@pytest.mark.parametrize("kind", ["sweep", "Phase", "State", "", None, 3, ["Sweep"]])
def test_a_phase_of_no_known_kind_is_refused_and_the_kinds_named(name: str, kind: Any) -> None:
    config, state = RICH[name]
    with pytest.raises(ValueError, match="'kind' of Sweep, Search, Grow, Stable, Decay, not") as error:
        from_plain(mutated(to_plain(state), ("phase", "kind"), kind), config)
    assert str(error.value).endswith(f"not {kind!r}")


@pytest.mark.parametrize("name", RICH)
def test_a_phase_with_the_fields_of_another_is_refused(name: str) -> None:
    config, state = RICH[name]
    plain = to_plain(state)
    for kind in PHASES.keys() - {plain["phase"]["kind"]}:
        with pytest.raises(ValueError, match="'phase' has not the keys that it must have"):
            from_plain(mutated(plain, ("phase", "kind"), kind), config)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Sweep", {"growth": "exponential"}),
        ("Search", {"growth": "exponential", "lift_off": None}),
    ],
)
def test_a_phase_that_the_configuration_leaves_out_is_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"'phase' is {name}, which this configuration leaves out"):
        from_plain(to_plain(RICH[name][1]), Config(total_steps=1000, **settings))


def test_the_phases_are_those_of_the_sum_type() -> None:
    assert list(PHASES.values()) == list(get_args(Phase))


# --- how a state is replaced --------------------------------------------------------------------------


def test_a_state_with_other_values() -> None:
    state = RICH["Grow"][1]
    changed = state.replace(step=7, restores=2)
    assert equal(to_plain(changed), to_plain(replace(state, step=7, restores=2)))
    assert type(state.replace()) is State
    assert state.step != 7


def test_arrays_are_known_by_their_type_whatever_numpy_makes_it_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """From NumPy 2.5 on, with Python 3.12, ``NDArray`` is an alias with no class behind it."""
    extensions = pytest.importorskip("typing_extensions")
    scalar = extensions.TypeVar("scalar", bound=np.generic)
    array = np.ndarray[Any, np.dtype[scalar]]
    hint = extensions.TypeAliasType("NDArray", array, type_params=(scalar,))[np.float64]
    assert get_origin(hint) is not np.ndarray
    monkeypatch.setattr("autowu.controller.plain.Array", hint)
    np.testing.assert_array_equal(_convert(hint, np.arange(3.0), "'losses'"), [0, 1, 2])
    with pytest.raises(ValueError, match="'losses' must be"):
        _convert(hint, [0.0], "'losses'")
