"""What the tests of `autowu replay` share."""

from pathlib import Path

import pytest
from tests.offline.curves import v_shaped, write


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def v_curve(tmp_path: Path) -> str:
    return write(tmp_path / "v.csv", v_shaped(), range(300))
