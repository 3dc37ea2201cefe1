"""A test draws the same numbers in each run, whatever ran before it: what fails once fails again.

And what the last run of all would be told of as Python ends is kept quiet: tests end runs where they like.
"""

import atexit
import random
import sys

import numpy as np
import pytest


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what is tested may draw from it
    if "torch" in sys.modules:  # not every host needs it
        sys.modules["torch"].manual_seed(0)


def pytest_sessionfinish() -> None:
    """Tests of it have processes of their own."""
    if "autowu.integrations.exits" in sys.modules:
        atexit.unregister(sys.modules["autowu.integrations.exits"].NEWEST.tell)


def pytest_collectstart() -> None:
    """For what a module draws when it is imported."""
    _seed()


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    _seed()
