"""What is printed while a run goes on: plain lines in a file, a live display on a terminal."""

import io
import math
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from autowu import Cut, Switch, Verdict
from autowu.train.output import progress
from autowu.train.output.progress.lines import LINES, Progress, p_min
from autowu.train.output.progress.live import SECONDS, LiveProgress, duration
from autowu.train.run.evaluation import Evaluation
from autowu.train.settings.options import Settings

DETECTED = Verdict(90, 10, p_min=(0.99,), detected=True, argmins=(0.5,))
NOT_DETECTED = Verdict(90, 10, p_min=(0.4, 0.7, 0.1), argmins=(0.5, 0.5, 0.5))

IMAGES = SimpleNamespace(
    name="cats",
    kind="images",
    description="cats: 3 images",
    steps_per_epoch=50,
    samples="images",
    per_update=128,
)
TEXT = SimpleNamespace(
    name="plays",
    kind="text",
    description="plays: 9 characters",
    steps_per_epoch=None,
    samples="tokens",
    per_update=8192,
)
OUTCOME = Evaluation(
    step=1_234_567,
    epoch=24_691,
    train_loss=12.34567,
    test_loss=10.98765,
    test_accuracy=1.0,
    lr=1.23e-3,
    phase="warmup",
    samples_per_second=9_876_543.2,
)
METRICS = {
    "test_accuracy": 0.9876,
    "test_loss": 1.5,
    "peak_lr": 0.0123,
    "switch_step": 93,
    "capped": False,
    "t_star": 81.42,
    "steps": 500,
    "seconds": 10.0,
}


def begin(display, *, eval_steps=50, decay="linear"):
    """A display of a run that has just begun."""
    method = SimpleNamespace(settings={"decay": decay})
    display.start(Settings(), torch.nn.Linear(2, 3), method, eval_steps)
    return display


def unwrapped(capsys):
    """What was printed, of which no line is wider than 80 columns, and all but the first are indented."""
    first, *rest = capsys.readouterr().out.splitlines()
    assert max(map(len, (first, *rest))) <= 80
    assert all(line.startswith("  ") for line in rest)
    return " ".join([first, *(line.strip() for line in rest)])


def test_a_line_is_as_wide_as_the_terminal(capsys, monkeypatch):
    display = begin(Progress(500, IMAGES))
    capsys.readouterr()
    said = []
    for width in ("60", "120"):
        monkeypatch.setenv("COLUMNS", width)
        display.switch(Switch(93, False, 81.42, 0.0123, 80), (DETECTED,))
        said.append(capsys.readouterr().out.splitlines())
    assert [len(lines) for lines in said] == [2, 1]
    assert max(map(len, said[0])) <= 60


@pytest.mark.parametrize(
    ("steps", "length"),
    [
        (500, "10 epochs of 50"),
        (50, "1 epoch of 50"),
        (513, "10 epochs of 50 and 13 updates more"),
        (51, "1 epoch of 50 and 1 update more"),
        (7, "0 epochs of 50 and 7 updates more"),
    ],
)
def test_epochs_are_whole(capsys, steps, length):
    begin(Progress(steps, IMAGES))
    assert f"{steps} updates with batch size 128: {length}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("switch", "verdict", "line"),
    [
        (
            Switch(93, False, 81.42, 0.0123, 80),
            DETECTED,
            "step 93: minimum detected at t* = 81.4; back to the weights of step 80, LR 0.0123, linear decay",
        ),
        (
            Switch(93, True, 81.42, 0.0123, None),
            DETECTED,
            "step 93: minimum detected at t* = 81.4 (at the cap); LR 0.0123, linear decay",
        ),
        (
            Switch(93, True, None, 1.0, None),
            DETECTED,
            "step 93: warm-up has reached its cap; LR 1, linear decay",
        ),
        (
            Switch(93, True, None, 1.0, None),
            NOT_DETECTED,
            "step 93: warm-up has reached its cap; LR 1, linear decay",
        ),
        (
            Switch(93, False, 70.0, 0.5, 60),
            NOT_DETECTED,
            "step 93: the loss has ceased to be finite; back to the weights of step 60, LR 0.5, linear decay",
        ),
        (
            Switch(93, False, None, 0.01, 1),
            NOT_DETECTED,
            "step 93: the loss has risen twice, or ceased to be finite, without having fallen;"
            " back to the weights of step 1, LR 0.01, linear decay",
        ),
    ],
)
def test_the_switch_has_a_line_that_says_why(capsys, switch, verdict, line):
    display = begin(Progress(500, IMAGES))
    capsys.readouterr()
    display.switch(switch, (verdict,))
    assert unwrapped(capsys) == line


@pytest.mark.parametrize(
    ("cuts", "line"),
    [
        ([Cut(443, 1 / 3, 371, 2.5, 0.03)], "the loss has risen for good; back to the weights of step 371, "),
        ([Cut(443, 1 / 3, None, math.inf, 0.03)], "the loss is not finite; "),
    ],
)
def test_a_cut_has_a_line(capsys, cuts, line):
    display = begin(Progress(500, IMAGES))
    capsys.readouterr()
    display.cut(cuts)
    assert unwrapped(capsys) == f"step 443: {line}a third of the LR"
    display.cut([*cuts, Cut(455, 1.0, None, 2.5, 0.03)])
    line = "step 455: the loss is as high all the same; the LR is again what it was"
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize("task", [IMAGES, TEXT])
def test_a_line_of_large_numbers_is_aligned_with_the_head_and_fits_into_80_columns(capsys, task):
    display = begin(Progress(1_234_567, task))
    head = capsys.readouterr().out.splitlines()[-1]
    outcome = OUTCOME if task is IMAGES else replace(OUTCOME, epoch=None)
    display.evaluation(replace(outcome, epoch=outcome.epoch), (NOT_DETECTED,))
    (line,) = capsys.readouterr().out.splitlines()
    assert len(head) == len(line) <= 80
    assert head.split() == [
        *(["epoch"] if task is IMAGES else []),
        *("step", "train", "loss", "test", "loss", "accuracy", "LR", "phase", "P_min", f"{task.samples}/s"),
    ]
    assert line.split() == [
        *(["24691"] if task is IMAGES else []),
        *("1,234,567", "12.3457", "10.9877", "100.00%", "1.23e-03", "warmup", "0.4000", "9,876,543"),
    ]


def test_a_long_run_shows_at_most_so_many_lines_the_last_among_them(capsys):
    display = begin(Progress(10_000, IMAGES), eval_steps=50)  # 200 evaluations
    capsys.readouterr()
    for step in range(50, 10_001, 50):
        display.evaluation(replace(OUTCOME, step=step), ())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == LINES
    assert lines[-1].split()[1] == "10,000"


def test_p_min_is_the_median_in_warm_up_alone():
    assert p_min("warmup", (DETECTED, NOT_DETECTED)) == "0.4000"
    assert p_min("decay", (DETECTED,)) == p_min("warmup", ()) == p_min("warmup", (Verdict(9, 0),)) == "–"


@pytest.mark.parametrize("task", [IMAGES, TEXT])
def test_the_closing_table(capsys, task):
    display = begin(Progress(500, task))
    capsys.readouterr()
    display.finish(METRICS, Path("runs/my cats"))
    table = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if line)
    table = {name: value.strip() for name, value in table.items()}
    assert table["model"] == "cnn with 9 parameters"
    assert table["trained by"] == "adamp, schedule autowu"
    assert table["accuracy"] == "98.76%"
    assert table["test loss"] == "1.5000" + (" (perplexity 4.482)" if task is TEXT else "")
    assert table["peak LR"] == "0.0123, of t* = 81.4, from step 93 on"
    rate = "6,400 images" if task is IMAGES else "409,600 tokens"
    assert table["time"] == "500 updates in 10.0 s, without evaluations"
    assert table["speed"] == f"50.0 updates, {rate} a second"
    assert table["picture"] == "autowu report 'runs/my cats' -o report.html"


def test_the_closing_table_of_a_run_that_came_to_nothing(capsys):
    display = begin(Progress(500, TEXT))
    nothing = {"peak_lr": None, "switch_step": None, "capped": None, "t_star": None}
    display.finish(METRICS | nothing | {"test_loss": float("nan")}, Path("run"))
    out = capsys.readouterr().out
    assert "peak LR     –" in out
    assert "test loss   nan (perplexity nan)" in out


# --- on a terminal ------------------------------------------------------------------------------------


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
