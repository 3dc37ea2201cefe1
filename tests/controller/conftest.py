"""A detector that says what a test wants to hear."""

from dataclasses import replace
from typing import Any

import pytest

from autowu import Config, Verdict
from autowu.controller import ending


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """Verdicts that the detector hands out one after the other, whatever the losses."""
    script: list[Verdict] = []

    def detect(config: Config, losses: Any, start: int, adam: Any) -> tuple[Verdict, Any]:
        return replace(script.pop(0), step=start + len(losses), start=start), adam

    monkeypatch.setattr(ending, "detect", detect)
    return script
