"""What is printed while a run goes on: plain lines, in a file."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from autowu import Cut, Switch, Verdict
from autowu.controller.state import Reason
from autowu.train.output.progress.lines import CAUSES, LINES, Progress, p_min
from train.displays import DETECTED, IMAGES, METRICS, NOT_DETECTED, OUTCOME, TEXT, begin


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
        display.switch(Switch(93, False, 81.42, 0.0123, 80), "decay")
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
        (7, "less than an epoch of 50"),
    ],
)
def test_epochs_are_whole(capsys, steps, length):
    begin(Progress(steps, IMAGES))
    assert f"{steps} updates with batch size 128: {length}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("switch", "line"),
    [
        (
            Switch(93, False, 81.42, 0.0123, 80),
            "step 93: minimum detected; back to the weights of step 80, LR 0.0123 (of step 81), linear decay",
        ),
        (
            Switch(93, True, 81.42, 0.0123, None),
            "step 93: minimum detected (at the cap); LR 0.0123 (of step 81), linear decay",
        ),
        (
            Switch(93, True, None, 1.0, None, Reason.CAP),
            "step 93: warm-up has reached its cap; LR 1, linear decay",
        ),
        (
            Switch(93, True, 81.42, 0.0123, None, Reason.CAP),
            "step 93: warm-up has reached its cap; LR 0.0123 (of step 81), linear decay",
        ),
        (
            Switch(93, False, 70.0, 0.5, 60, Reason.NONFINITE),
            "step 93: the loss has ceased to be finite; back to the weights of step 60, LR 0.5, linear decay",
        ),
        (
            Switch(93, False, None, 0.01, 1, Reason.RISE),
            "step 93: the loss has risen, and had never fallen;"
            " back to the weights of step 1, LR 0.01, linear decay",
        ),
        (
            Switch(93, True, None, 0.01, None, Reason.NO_FALL),
            "step 93: warm-up has reached its cap without a fall of the loss; LR 0.01, linear decay",
        ),
        (
            Switch(93, False, 58.0, 0.01, 58, Reason.ASKED),
            "step 93: no minimum detected, and the run is to end; back to the weights of step 58,"
            " LR 0.01 (of step 58), linear decay",
        ),
    ],
)
def test_the_switch_has_a_line_that_says_why(capsys, switch, line):
    display = begin(Progress(500, IMAGES))
    capsys.readouterr()
    display.switch(switch, "decay")
    assert unwrapped(capsys) == line


def test_each_reason_of_a_switch_has_its_words():
    assert set(CAUSES) == set(Reason)


def test_what_follows_the_switch_is_what_the_schedule_does_not_what_was_planned(capsys):
    display = begin(Progress(None, IMAGES))  # of unknown length, until a clock ends it
    for phase, then in (("stable", "held"), ("decay", "linear decay")):
        capsys.readouterr()
        display.switch(Switch(93, False, 58.0, 0.01, None, Reason.ASKED), phase)
        assert unwrapped(capsys).endswith(f", {then}")


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
    assert table["peak LR"] == "0.0123, of step 81, from step 93 on"
    rate = "6,400 images" if task is IMAGES else "409,600 tokens"
    assert table["time"] == "500 updates in 10.0 s, without evaluations"
    assert table["speed"] == f"50.0 updates, {rate} a second"
    assert table["picture"] == "autowu report 'runs/my cats' -o report.html"


def test_one_update_is_no_plural(capsys):
    display = begin(Progress(1, IMAGES))
    assert "\n1 update with batch size 128: less than an epoch of 50\n" in capsys.readouterr().out
    display.finish(METRICS | {"steps": 1}, Path("run"))
    assert "time        1 update in 10.0 s" in capsys.readouterr().out


def test_the_closing_table_of_a_run_that_came_to_nothing(capsys):
    display = begin(Progress(500, TEXT))
    nothing = {"peak_lr": None, "switch_step": None, "capped": None, "t_star": None}
    display.finish(METRICS | nothing | {"test_loss": float("nan")}, Path("run"))
    out = capsys.readouterr().out
    assert "peak LR     –" in out
    assert "test loss   nan (perplexity nan)" in out
