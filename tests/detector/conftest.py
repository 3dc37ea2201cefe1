"""A fit that is known."""

import pytest

from autowu.detector import fit, gp


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> gp.Hyperparameters:
    """Parameters in place of the fitted ones."""
    parameters = gp.Hyperparameters(0.2, 1.5, 0.3)
    monkeypatch.setattr(fit, "maximum", lambda of: parameters)
    return parameters
