"""What is shown on a terminal while a run goes on."""

import io
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from autowu.train.output import progress
from autowu.train.output.progress.lines import Progress
from autowu.train.output.progress.live import SECONDS, LiveProgress, duration
from train.displays import IMAGES, METRICS, NOT_DETECTED, OUTCOME, TEXT, begin


class Terminal:
    """A live display on a terminal of 80 columns, and what it has written."""

    def __init__(self, task=IMAGES, total=500, width=80):
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=width, color_system=None)
        self.display = begin(LiveProgress(total, task, console))

    def new(self):
        text = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        return text


def test_the_display_follows_the_run(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    terminal = Terminal()
    terminal.new()
    display = terminal.display
    display.step(1, 1e-5, "warmup", ())
    first = terminal.new()
    assert "step 1 of 500" in first
    assert "epoch 1 of 10" in first
    assert "loss –" in first
    display.transferred([{"event": "step", "loss": 2.5}, {"event": "step", "loss": 2.25}, {"event": "test"}])
    now[0] += 10
    display.step(101, 1.5e-2, "warmup", (NOT_DETECTED,))  # 100 updates in 10 seconds
    text = terminal.new()
    assert "step 101 of 500" in text
    assert "20%, 0:40 left" in text
    for fact in ("epoch 3 of 10", "warmup", "loss 2.2500", "LR 1.50e-02", "P_min 0.4000", "1,280 images/s"):
        assert fact in text
    display.close()
    assert "\x1b[?25h" in terminal.new()  # the cursor is back
    display.close()
    assert terminal.new() == ""


def test_evaluations_are_no_part_of_the_throughput_but_of_the_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    terminal = Terminal()
    display = terminal.display
    for step, at in ((0, 0.0), (50, 5.0)):
        now[0] = at
        display.step(step, 1e-3, "decay", ())
    now[0] = 10.0
    display.evaluation(replace(OUTCOME, step=50, samples_per_second=1280.0), ())
    display.step(51, 1e-3, "decay", ())
    now[0] = 15.0
    terminal.new()
    display.step(100, 1e-3, "decay", ())
    text = terminal.new()
    assert "1,254 images/s" in text  # 49 updates of 128 in 5 seconds
    assert "1:00 left" in text  # 400 at 100 in 15 seconds
    display.close()


@pytest.mark.parametrize("width", [80, 120])
def test_the_lines_and_the_display_fit_the_terminal(width, monkeypatch):
    terminal = Terminal(TEXT, total=1_234_567, width=width)
    terminal.display.transferred([{"event": "step", "loss": 10.98765}])
    terminal.display.evaluation(replace(OUTCOME, epoch=None), ())
    lines = terminal.new().splitlines()
    terminal.display.step(1_234_000, 1.23e-3, "warmup", (NOT_DETECTED,))
    lines += terminal.new().replace("\x1b[?25l", "").splitlines()
    terminal.display.finish(METRICS, Path("run"))
    assert max(map(len, lines)) <= width
    assert "P_min 0.4000" in "".join(lines)
    assert "╭" in terminal.new()


def test_between_two_drawings_a_step_takes_microseconds():
    terminal = Terminal()
    display = terminal.display
    display.step(1, 1e-3, "warmup", ())
    display._due = math.inf  # so that nothing is drawn, however slow the machine
    terminal.new()
    times = []
    for _ in range(20):
        began = time.thread_time()
        for step in range(1000):
            display.step(step, 1e-3, "warmup", ())
        times.append((time.thread_time() - began) / 1000)
    display._due = 0.0
    assert min(times) < 20e-6
    assert terminal.new() == ""
    display.close()


def test_it_draws_at_most_a_few_times_a_second(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    terminal = Terminal()
    terminal.new()
    drawings = 0
    for step in range(1000):
        now[0] += 0.001
        terminal.display.step(step, 1e-3, "warmup", ())
        drawings += bool(terminal.new())
    assert drawings == 1 / SECONDS
    terminal.display.close()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0:00"), (187, "3:07"), (7387, "2:03:07"), (86_400 * 5 + 7387, "5 d 2:03:07")],
)
def test_the_time_left_is_easy_to_read(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("tty", "term", "live"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_the_display_is_live_on_a_terminal_alone(monkeypatch, tty, term, live):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty, raising=False)
    monkeypatch.setenv("TERM", term)
    assert type(progress.build(10, IMAGES)) is (LiveProgress if live else Progress)
