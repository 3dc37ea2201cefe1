"""Numbers as people read them."""

import math

import pytest

from autowu.text import apart


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (0.5, 1.25, ("0.5", "1.25")),
        (1000.0, 1000.5, ("1000", "1000.5")),  # a loss with an offset
        (1e-9, 1.001e-9, ("1e-09", "1.001e-09")),
        (1.0, 1.0, ("1", "1")),
        (math.nan, 2.0, ("nan", "2")),
        (math.nan, math.nan, ("nan", "nan")),
        (1.0, math.nextafter(1.0, 2.0), ("1", "1.0000000000000002")),
    ],
)
def test_two_numbers_have_the_digits_that_tell_them_apart(
    one: float, other: float, texts: tuple[str, str]
) -> None:
    assert apart(one, other) == texts
    assert apart(other, one) == texts[::-1]
