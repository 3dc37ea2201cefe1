"""Every setting is checked where it is made, and the message says what would do."""

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

from autowu import Config

INTEGERS = {
    "total_steps": 1, "steps_per_epoch": 1, "subsets": 1, "subset_size": 2, "fit_size": 2, "patience": 1,
    "min_losses": 2, "plateau_intervals": 2, "seed": 0, "warmup_limit": 1,
}  # fmt: skip
"""Name: the least value."""
REALS = {
    "min_lr": (0, math.inf), "max_lr": (1e-5, math.inf), "warmup_fraction": (0, 1), "sweep_fraction": (0, 1),
    "lift_off": (0, math.inf), "test_growth": (1, math.inf), "screen": (0, math.inf), "confidence": (0, 1),
    "basin": (0, 1), "spike": (0, math.inf), "ceiling": (0, math.inf), "watch": (0, math.inf),
    "cooldown_fraction": (0, 1), "plateau_factor": (0, 1),
}  # fmt: skip
"""Name: the ends of the range, which are not in it."""
CHOICES = {
    "growth": ("exponential", "linear", "two-speed"),
    "decay": ("cosine", "constant-cosine", "linear", "1-sqrt", "plateau"),
    "fit": ("maximum", "adam", "published"),
}
SWITCHES = ("standardize", "rewind", "return_at_cap")
ERRORS = {"lift_off", "screen", "spike", "watch"}
"""Those in standard errors, or in noise levels."""
OPTIONAL = {
    "total_steps",
    "steps_per_epoch",
    "subset_size",
    "fit_size",
    "max_lr",
    "test_growth",
    "basin",
    "ceiling",
    *ERRORS,
}


def config(**settings: Any) -> Config:
    return Config(**({"total_steps": 1000} | settings))


def test_every_field_has_its_cases_below() -> None:
    tested = {*INTEGERS, *REALS, *CHOICES, *SWITCHES, "length_scale"}
    assert {field.name for field in fields(Config)} == tested


@pytest.mark.parametrize(("name", "low"), INTEGERS.items())
def test_an_integer_below_its_range_is_named_with_range_and_value(name: str, low: int) -> None:
    assert getattr(config(**{name: low}), name) == low
    with pytest.raises(ValueError, match=rf"^{name} must be an integer ≥ {low}, not {low - 1}$"):
        config(**{name: low - 1})


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [1.5, 100.0, "7", True, math.nan, [3], 2j])
def test_what_is_no_integer_is_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be an integer ≥ {INTEGERS[name]}, not ") as error:
        config(**{name: value})
    assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [np.array(5.0), np.array([3, 4])])
def test_an_array_is_no_integer(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be an integer"):
        config(**{name: value})


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_of_numpy_becomes_a_plain_one(name: str) -> None:
    made = getattr(config(**{name: np.int64(60)}), name)
    assert made == 60
    assert type(made) is int


@pytest.mark.parametrize("name", REALS)
def test_a_number_out_of_its_range_is_named_with_range_and_value(name: str) -> None:
    low, high = REALS[name]
    for value in (low, high, -1.0, math.nan, -math.inf, math.inf):
        with pytest.raises(ValueError, match=rf"^{name} must be in \(") as error:
            config(**{name: value})
        message = f"{name} must be in ({low:g}, {high:g}), not {value!r}"
        assert str(error.value).removesuffix("; it has to be > min_lr (1e-05)") == message


@pytest.mark.parametrize("name", [*REALS, "length_scale"])
@pytest.mark.parametrize("value", ["0.5", True, [0.5], 1j, np.array([0.5])])
def test_what_is_no_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be a number in [(\[]") as error:
        config(**{name: value})
    assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize("name", REALS)
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_a_number_of_numpy_becomes_a_plain_one(name: str, kind: Any) -> None:
    value = kind(1.5) if name in {"max_lr", "test_growth", *ERRORS} else kind(0.5)
    made = getattr(config(**{name: value}), name)
    assert made == value
    assert type(made) is float


def test_the_length_scale_may_lie_on_the_ends_of_its_range() -> None:
    assert config(length_scale=0.05).length_scale == 0.05
    assert config(length_scale=10).length_scale == 10
    for value in (0.0499, 10.001, 0, -0.2, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^length_scale must be in \[0\.05, 10\], not ") as error:
            config(length_scale=value)
        assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["quadratic", "", None, 3, "Cosine"])
def test_an_unknown_choice_is_answered_with_all_there_are(name: str, value: object) -> None:
    for known in CHOICES[name]:
        assert getattr(config(**{name: known}), name) == known
    choices = ", ".join(map(repr, CHOICES[name]))
    with pytest.raises(ValueError) as error:
        config(**{name: value})
    assert str(error.value) == f"{name} must be one of {choices}, not {value!r}"


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_a_switch_is_true_or_false(name: str, value: object) -> None:
    with pytest.raises(TypeError) as error:
        config(**{name: value})
    assert str(error.value) == f"{name} must be True or False, not {value!r}"


@pytest.mark.parametrize("name", sorted({*INTEGERS, *REALS, "length_scale"} - OPTIONAL))
def test_what_is_not_optional_cannot_be_none(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be .*, not None$"):
        config(**{name: None})


def test_max_lr_must_exceed_min_lr() -> None:
    with pytest.raises(ValueError, match=r"^max_lr must be in .*, not 0\.1; it has to be > min_lr \(0\.1\)$"):
        config(min_lr=0.1, max_lr=0.1)
    with pytest.raises(
        ValueError, match=r"^max_lr must be in \(2, inf\), not None, which is 1; it has to be > min_lr \(2\)$"
    ):
        config(min_lr=2.0)
    assert config(min_lr=2.0, max_lr=3.0).high_lr == 3.0
    assert (config().max_lr, config().high_lr) == (None, 1.0)


def test_tests_at_epoch_ends_need_an_epoch() -> None:
    with pytest.raises(ValueError, match=r"^steps_per_epoch is missing.*integer ≥ 1"):
        config(test_growth=None)
    with pytest.raises(ValueError, match=r"^steps_per_epoch is missing"):
        Config.preset("paper", total_steps=10)


def test_two_speeds_need_lift_off() -> None:
    with pytest.raises(ValueError, match=r"^lift_off must be a number > 0 .*'two-speed', not None$"):
        config(lift_off=None)
    assert config(lift_off=None, growth="exponential").lift_off is None


@pytest.mark.parametrize("growth", ["two-speed", "exponential", "linear"])
@pytest.mark.parametrize("limit", [1, 40, 300, 1000, 5000])
def test_without_a_length_warm_up_has_its_own(growth: Any, limit: int) -> None:
    """That of a planned run whose slow growth takes as long."""
    without = Config(growth=growth, warmup_limit=limit)
    planned = config(growth=growth, total_steps=without.length, warmup_limit=limit)
    assert without.warmup_steps == without.growth_steps == planned.growth_steps == limit
    assert without.sweep_steps == planned.sweep_steps


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("totl_steps", "total_steps"), ("maxlr", "max_lr"), ("warm_up_fraction", "warmup_fraction")],
)
def test_an_unknown_keyword_brings_the_nearest_known_one(typed: str, meant: str) -> None:
    with pytest.raises(TypeError) as error:
        Config.preset(**{"total_steps": 10, typed: 1})  # type: ignore[arg-type]
    assert f"no setting {typed!r}; did you mean {meant!r}?" in str(error.value)


def test_a_keyword_like_no_other_brings_the_list() -> None:
    with pytest.raises(TypeError) as error:
        Config.preset(total_steps=10, zzzz=1)
    assert "did you mean" not in str(error.value)
    for field in fields(Config):
        assert field.name in str(error.value)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match=r"^preset must be one of 'default', 'paper', not 'papre'$"):
        Config.preset("papre", total_steps=10)


def test_the_paper_preset_has_the_settings_of_its_section_2() -> None:
    paper = Config.paper(total_steps=12_000, steps_per_epoch=391)
    assert paper == Config.preset("paper", total_steps=12_000, steps_per_epoch=391)
    assert (paper.min_lr, paper.max_lr, paper.warmup_fraction) == (1e-5, 1.0, 0.5)
    assert (paper.subsets, paper.subset_size, paper.fit_size, paper.fit) == (5, 500, 100, "adam")
    assert (paper.confidence, paper.patience, paper.length_scale) == (0.95, 3, 0.2)
    assert (paper.growth, paper.decay, paper.cooldown_fraction) == ("exponential", "cosine", 0.2)
    assert (paper.test_growth, paper.lift_off, paper.spike, paper.watch) == (None, None, None, None)
    assert (paper.standardize, paper.rewind, paper.return_at_cap) == (False, False, False)


def test_the_default_preset_needs_one_number() -> None:
    default = Config.preset(total_steps=12_000)
    assert default == Config(total_steps=12_000)
    assert (default.growth, default.decay, default.test_growth) == ("two-speed", "linear", 1.1)
    assert (default.standardize, default.rewind, default.return_at_cap) == (True, True, True)


def test_a_setting_takes_the_place_of_the_presets() -> None:
    changed = Config.preset("paper", total_steps=100, steps_per_epoch=10, decay="constant-cosine", patience=2)
    assert (changed.decay, changed.patience, changed.fit) == ("constant-cosine", 2, "adam")
    assert changed == Config.paper(100, 10, decay="constant-cosine", patience=2)


@pytest.mark.parametrize(
    ("total", "fraction", "floor"), [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 1), (7, 0.5, 3), (12_001, 0.25, 3000)]
)
def test_the_cap_is_the_floor_of_its_share(total: int, fraction: float, floor: int) -> None:
    assert config(total_steps=total, warmup_fraction=fraction).warmup_steps == floor


def test_the_sweep_is_neither_too_short_nor_longer_than_warm_up() -> None:
    assert config(total_steps=5400).sweep_steps == 90
    assert config(total_steps=5400, sweep_fraction=0.04).sweep_steps == 72
    assert config(total_steps=5418).sweep_steps == 91
    assert config(total_steps=10**9).sweep_steps == 100  # of a slow growth of 1,000
    assert config(total_steps=500).sweep_steps == 40
    assert config(total_steps=30).sweep_steps == 15
    assert config(total_steps=2400, warmup_fraction=0.02).sweep_steps == 24  # as many as of the slow growth


@pytest.mark.parametrize(
    ("total", "fraction", "span"),
    [
        (1, 0.5, 1),
        (600, 0.5, 300),
        (601, 0.5, 300),
        (2400, 0.5, 600),
        (6666, 0.5, 999),
        (6667, 0.5, 1000),
        (10**9, 0.5, 1000),
        (2400, 1e-6, 1),
    ],
)
def test_the_slow_growth_takes_its_share_of_a_length_that_grows_with_the_root_from_600_to_6667_updates(
    total: int, fraction: float, span: int
) -> None:
    assert config(total_steps=total, warmup_fraction=fraction).growth_steps == span
    limited = config(total_steps=total, warmup_fraction=fraction, warmup_limit=70)
    assert limited.growth_steps == min(span, 70)
    assert limited.warmup_steps == max(1, int(fraction * total))  # the cap is that of the run
    other = config(total_steps=total, warmup_fraction=fraction, growth="exponential")
    assert other.growth_steps == other.warmup_steps


def test_a_config_is_frozen_and_can_be_a_key() -> None:
    made = config()
    with pytest.raises(FrozenInstanceError):
        made.seed = 1  # type: ignore[misc]
    assert {made: 1}[config()] == 1
