"""Run folders for the tests of the report."""

from pathlib import Path

import pytest

from report import simulated


@pytest.fixture
def autowu_run(tmp_path: Path) -> Path:
    """A run in which AutoWU found the minimum at step 330 and switched at step 400 of 1000."""
    return simulated.autowu(tmp_path / "autowu")


@pytest.fixture
def baseline_run(tmp_path: Path) -> Path:
    """A run of a warm-up and cosine baseline."""
    return simulated.baseline(tmp_path / "baseline")
