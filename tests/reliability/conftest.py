"""The fixture that counts trials, and hands the counts to pytest's report: table.py makes a table of it."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from reliability.promises import Promise, Trials


@pytest.fixture
def trials(request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]) -> Iterator[Trials]:
    made, promise = Trials(request.param), request.node.function.promise
    assert isinstance(promise, Promise)
    yield made
    for name in ("fault", "must", "unit"):
        record_property(name, getattr(promise, name))
    record_property("count", made.done)
    for name, value in made.notes.items():
        record_property(f"note: {name}", value)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    if not find_spec("torch"):
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
