"""The trainer's tests need what the trainer needs."""

import pytest

pytest.importorskip("torch")
