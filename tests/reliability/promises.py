"""A promise, the test that keeps trying to break it, and how often it tried."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True)
class Promise:
    """A row of the table in docs/reliability.md."""

    fault: str
    """What goes wrong, or comes in."""
    must: str
    """What happens then."""
    unit: str
    """What is counted."""


@dataclass
class Trials:
    """Counts: ``for trial in trials`` gives 0, 1, …, and a trial counts once its body has come to its end."""

    count: int
    """The trials asked for."""
    done: int = 0
    notes: dict[str, str] = field(default_factory=dict)
    """What was measured along the way, for the table."""

    def __iter__(self) -> Iterator[int]:
        for trial in range(self.count):
            yield trial
            self.done += 1


def promise(fault: str, must: str, *, full: int, plain: int | None = None, unit: str = "runs") -> Any:
    """Make a test show a promise: in ``full`` trials, or in ``plain`` (a tenth) where it has to be quick.

    The test takes the fixture ``trials``, and fails unless it has made all of them. Both are one test: the
    trials are numbered, their numbers are their seeds, and the quick ones are the first.
    """

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        def counted(*arguments: Any, trials: Trials, **fixtures: Any) -> None:
            test(*arguments, trials=trials, **fixtures)
            assert trials.done == trials.count, f"{trials.done} of {trials.count} trials were made"

        counted.promise = Promise(fault, must, unit)  # type: ignore[attr-defined]
        counts = [
            pytest.param(max(1, full // 10) if plain is None else plain, id="some"),
            pytest.param(full, id="all", marks=pytest.mark.full),
        ]
        # Where the plain part would be nothing, all is left to the full run.
        return pytest.mark.parametrize("trials", counts[plain == 0 :], indirect=True)(counted)

    return decorate
