"""The tests of a run as a table, and its rich display; NumPy is all that they need."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from autowu import Config, replay
from autowu.controller import display, machine

from .endings import ENDINGS

OUTCOME = ENDINGS["a minimum"].replay()


def test_the_records_tell_what_the_json_tells() -> None:
    for row, test in zip(OUTCOME.records(), OUTCOME.to_json()["tests"], strict=True):
        assert {key: row[key] for key in ("step", "detected", "argmin", "streak", "no_evidence")} == {
            key: test[key] for key in ("step", "detected", "argmin", "streak", "no_evidence")
        }
        assert row["votes"] == sum(p > 0.95 for p in test["p_min"])


def test_the_frame_is_pandas_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = ModuleType("pandas")
    pandas.DataFrame = SimpleNamespace(from_records=lambda rows: ("frame", rows))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert OUTCOME.to_frame() == ("frame", OUTCOME.records())
    monkeypatch.setitem(sys.modules, "pandas", None)
    message = r"to_frame\(\) needs pandas: pip install pandas; records\(\) has the same, and needs nothing"
    with pytest.raises(ImportError, match=message):
        OUTCOME.to_frame()


def test_the_rich_display_needs_no_other_library_and_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plotly", "matplotlib", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    html = OUTCOME._repr_html_()
    assert "<svg" in html
    assert "peak LR" in html
    assert "<b>" not in display.html("<b>", Config(total_steps=5), machine.start(Config(total_steps=5)), 0)


@pytest.mark.parametrize("name", ENDINGS)
def test_the_rich_display_shows_every_end_of_warm_up(name: str) -> None:
    found = ENDINGS[name].replay()
    html = found._repr_html_()
    cap = " (cap)" if found.capped else ""
    assert f"<th>switch</th><td>step {found.switch_step}{cap}</td>" in html
    assert f"<th>peak LR</th><td>{found.peak_lr:.3g}</td>" in html
    assert ("<th>peak step</th><td>–</td>" in html) == (found.t_star is None)


def test_the_rich_display_tells_of_cuts() -> None:
    record = ENDINGS["a minimum"].losses
    switch = ENDINGS["a minimum"].replay().switch_step
    found = replay(np.r_[record[:switch], np.full(40, 1.0), np.full(60, 2.0)], 1000)
    assert [cut.factor for cut in found.cuts] == [1 / 3, 1.0]
    at = [f"step {cut.step}" for cut in found.cuts]
    assert f"<th>LR cut</th><td>{at[0]}: × 0.33, {at[1]}: × 1</td>" in found._repr_html_()
    quiet = replay(np.r_[record[:switch], np.full(100, 1.0)], 1000)
    assert "LR cut" not in quiet._repr_html_()
