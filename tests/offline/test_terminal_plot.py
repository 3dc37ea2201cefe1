"""The plot of a replay in a terminal."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.offline.curves import printed, v_shaped, write

from autowu.extras import install


def test_the_plot_is_plain_where_the_output_is_no_terminal(
    capsys: pytest.CaptureFixture[str], v_curve: str
) -> None:
    pytest.importorskip("plotext")
    text = printed(capsys, v_curve, "--total-steps", "500")
    assert text.isascii()
    assert "\x1b" not in text
    assert text.endswith(" . loss   # smoothed   : minimum   | switch   ! LR cut\n")
    assert max(map(len, text.splitlines())) == 80


@pytest.mark.parametrize(
    ("environment", "color"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_the_plot_in_a_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    v_curve: str,
    environment: dict[str, str],
    color: bool,
) -> None:
    pytest.importorskip("plotext")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = printed(capsys, v_curve, "--total-steps", "500")
    assert "┌──" in text
    assert ("\x1b[38" in text) == color
    assert "\x1b[48" not in text  # the terminal's own background stays


@pytest.mark.parametrize("width", [50, 66, 300])
def test_the_plot_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, v_curve: str, width: int
) -> None:
    pytest.importorskip("plotext")
    monkeypatch.setenv("COLUMNS", str(width))
    frame = [line for line in printed(capsys, v_curve).splitlines() if line.endswith("--+")]
    assert [len(line) for line in frame] == [min(width, 100)]


def test_losses_over_decades_are_drawn_on_a_log_scale(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("plotext")
    for decades, scale in ((1.5, ["5", "10", "15"]), (3, ["0.1", "1", "10"])):
        text = printed(capsys, write(tmp_path / "x.csv", 10 ** np.linspace(1.2, 1.2 - decades, 400)))
        assert re.findall(r"^ *([\d.]+)\+ ", text, re.MULTILINE)[::-1] == scale


def test_a_few_spikes_do_not_flatten_the_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("plotext")
    text = printed(capsys, write(tmp_path / "spikes.csv", [*v_shaped(), 1e30, 1e31]))
    assert "(2 off the plot)" in text
    assert not any("e+3" in line for line in text.splitlines() if "|" in line)  # the frame and its numbers


@pytest.mark.parametrize(
    "losses",
    [
        [1.0],
        [0.0] * 30,
        [2.0] * 30,
        [1e308, 1e-308, 3.0],
        [5e-324, 1e-323],
        [-1e9, 1e9] * 20,
        [1e-9, 1e9] * 20,
    ],
)
def test_every_range_can_be_plotted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, losses: list[float]
) -> None:
    pytest.importorskip("plotext")
    text = printed(capsys, write(tmp_path / "range.csv", losses))
    assert " . loss" in text.splitlines()[-1]
    assert "plotext" not in text


def test_without_plotext_a_line_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, v_curve: str
) -> None:
    monkeypatch.setitem(sys.modules, "plotext", None)
    assert printed(capsys, v_curve).endswith(f"\nFor a plot of it: {install('report')}\n")
