"""A package that is only asked for its version is not imported for it: its version is the right one."""

import importlib
import sys

import pytest

from autowu.train.run.processes import version_only


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """An installed package whose import fails, if it is ever imported."""
    (tmp_path / "slow.py").write_text("raise AssertionError('imported')")
    about = tmp_path / "slow-1.2.3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.2.3\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "slow"


def test_its_version_is_told_and_nothing_stays(slow):
    with version_only(slow):
        assert importlib.import_module(slow).__version__ == "1.2.3"
    assert slow not in sys.modules
    with pytest.raises(AssertionError, match="imported"):
        importlib.import_module(slow)


def test_nothing_stays_of_it_after_an_error(slow):
    with pytest.raises(KeyError), version_only(slow):
        raise KeyError
    assert slow not in sys.modules


def test_what_is_imported_already_stays_itself():
    with version_only("pytest"):
        assert importlib.import_module("pytest") is pytest
    assert sys.modules["pytest"] is pytest


def test_what_is_not_installed_is_not_there():
    with version_only("no_such_package"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_package")
