"""What all hosts need: PyTorch without torchvision's operators, and losses that answer to nothing."""

import importlib.util

import pytest

from integrations.keras import BACKENDS
from told import WATCH

if importlib.util.find_spec("torch"):  # not every host needs it
    from autowu.integrations import torchvision_shim

    torchvision_shim.install()


OTHERS = [pytest.param(name, marks=pytest.mark.full) for name in BACKENDS[1:]]


@pytest.fixture(
    params=[*BACKENDS[:1], *(pytest.param(name, marks=pytest.mark.full) for name in BACKENDS[1:])]
)
def backend(request: pytest.FixtureRequest) -> str:
    """Of Keras: one that is installed, and in the full tests the other."""
    return request.param


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the watch warn; a test of its warnings asks for them with ``pytest.warns``."""
    for item in items:
        if "integrations" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings(WATCH))
