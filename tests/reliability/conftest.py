"""The fixture that counts trials, and hands the counts to pytest's report: table.py makes a table of it."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from reliability.promises import Promise, Trials
from told import WATCH


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the few trials of what only the full run tests: it makes all of them. Let the watch warn."""
    for item in items:
        if "reliability" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings(WATCH))
    few = [item for item in items if "some" in item.name and any(item.iter_markers("full"))]
    here = [item for item in few if "reliability" in item.path.parts]
    items[:] = [item for item in items if item not in here]
    config.hook.pytest_deselected(items=here)


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Iterator[Trials]:
    made, promise = Trials(request.param), request.node.function.promise
    assert isinstance(promise, Promise)
    yield made
    said = request.node.user_properties  # not `record_property`, which minds the dialect of the report
    said += [(name, getattr(promise, name)) for name in ("fault", "must", "unit")]
    said += [("count", made.done), *((f"note: {name}", value) for name, value in made.notes.items())]


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
