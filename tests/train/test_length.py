"""Runs that are made longer, that end by a clock, or when the loss has stopped falling."""

import itertools
import signal
import time

import numpy as np
import pytest

from autowu.errors import UserError
from autowu.train.run import engine
from autowu.train.run.ending import has_stopped
from autowu.train.run.signals import StopRequest
from autowu.train.settings.options import Settings
from train import runs

PER_EPOCH = 22  # updates, of the digits with batches of 64


def stopped_after(monkeypatch, updates, out, **settings):
    """A run that a signal has stopped."""
    with monkeypatch.context() as patched:
        calls = itertools.count(1)
        patched.setattr(
            StopRequest, "received", lambda self: signal.SIGTERM if next(calls) == updates else None
        )
        _, stopped = engine.train(Settings(**runs.QUICK | settings, out=str(out)))
    assert stopped == signal.SIGTERM


def lrs(log):
    return np.array([event["lr"] for event in runs.of_kind("step", log)])


def test_a_run_is_resumed_with_more_epochs(tmp_path, monkeypatch):
    out = tmp_path / "run"
    stopped_after(monkeypatch, 300, out)
    engine.train(Settings(**runs.QUICK | {"epochs": 20}, out=str(out)), resume=True)
    about, log = runs.read(out)
    assert about["metrics"]["steps"] == 20 * PER_EPOCH
    assert [(end["step"], end["total_steps"]) for end in runs.of_kind("end", log)] == [(300, 440)]
    assert about["config"]["epochs"] == 20
    switch = about["metrics"]["switch_step"]
    after = lrs(log)[switch:]
    assert switch < 300
    assert (np.diff(after) < 0).all()
    slopes = np.diff(after)  # linear, and flatter from the resume on
    np.testing.assert_allclose(slopes[: 299 - switch], slopes[0], rtol=1e-6)
    np.testing.assert_allclose(slopes[300 - switch :], slopes[-1], rtol=1e-6)
    assert slopes[0] < slopes[-1] < 0
    assert after[-1] == pytest.approx(-slopes[-1])


def test_with_fewer_it_ends_earlier(tmp_path, monkeypatch):
    out = tmp_path / "run"
    stopped_after(monkeypatch, 300, out)
    with pytest.raises(UserError, match=r"total_steps must be .* 300 are done, not 220"):
        engine.train(Settings(**runs.QUICK | {"epochs": 10}, out=str(out)), resume=True)
    engine.train(Settings(**runs.QUICK | {"epochs": 15}, out=str(out)), resume=True)
    assert runs.read(out)[0]["metrics"]["steps"] == 15 * PER_EPOCH


def test_a_baseline_keeps_its_length(tmp_path, monkeypatch):
    out = tmp_path / "run"
    stopped_after(monkeypatch, 30, out, schedule="baseline", lr=0.01)
    with pytest.raises(UserError, match="cannot resume with another --epochs: the run has 16, not 20"):
        engine.train(
            Settings(**runs.QUICK | {"epochs": 20}, schedule="baseline", lr=0.01, out=str(out)), resume=True
        )


def test_until_the_loss_has_stopped_falling(tmp_path, monkeypatch, capsys):
    settings = {"epochs": None, "until_plateau": True, "set": {"warmup_limit": 150}}
    metrics, about, log = runs.train(tmp_path / "whole", **settings)
    phases = [event["phase"] for event in runs.of_kind("step", log)]
    assert list(dict.fromkeys(phases)) == ["warmup", "stable", "decay"]
    (end,) = runs.of_kind("end", log)
    assert end["cooldown"]
    assert end["step"] == phases.index("decay")
    assert phases.count("decay") == pytest.approx(0.2 * len(phases), abs=1)
    assert len(set(lrs(log)[metrics["switch_step"] : phases.index("decay")])) == 1
    assert lrs(log)[-1] < 0.05 * metrics["peak_lr"]
    assert about["status"] == "finished"
    said = capsys.readouterr().out
    assert ", held\n" in said
    assert "the loss has stopped falling" in said
    # The same, bit for bit, with a stop in the stable phase.
    out = tmp_path / "run"
    stopped_after(monkeypatch, phases.index("decay") - 30, out, **settings)
    engine.train(Settings(**runs.QUICK | settings, out=str(out)), resume=True)
    again = runs.read(out)[1]
    assert lrs(again).tolist() == lrs(log).tolist()
    losses = [[event["loss"] for event in runs.of_kind("step", each)] for each in (log, again)]
    assert losses[0] == losses[1]


def test_a_run_is_done_in_time(tmp_path, capsys):
    began = time.monotonic()
    metrics, about, log = runs.train(tmp_path, epochs=100_000, max_time=0.05)
    assert metrics["steps"] < 100_000 * PER_EPOCH
    assert about["status"] == "finished"
    assert time.monotonic() - began < 60  # three seconds, and ten times that to end a hang
    assert lrs(log)[-1] < 0.05 * metrics["peak_lr"]
    said = capsys.readouterr().out
    assert "to be done within 0.05 min the run ends at step" in said


def test_a_run_that_was_not_done_in_time_says_so(tmp_path, capsys, monkeypatch):
    ticks = itertools.count(step=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: float(next(ticks)))  # a second from one look to the next
        runs.train(tmp_path, epochs=4, max_time=1e-9)
    assert "took " in capsys.readouterr().out.splitlines()[-1]


def test_a_run_that_was_says_nothing_of_it(tmp_path, capsys):
    runs.train(tmp_path, epochs=4, max_time=1000.0)
    assert "--max-time" not in capsys.readouterr().out


def test_a_run_that_has_time_enough_is_not_shortened(tmp_path):
    metrics, _, _ = runs.train(tmp_path, epochs=4, max_time=1000)
    assert metrics["steps"] == 4 * PER_EPOCH


def test_a_resumed_run_with_more_time_has_its_planned_length_again(tmp_path, monkeypatch):
    out, ticks = tmp_path / "run", itertools.count(step=30.0)
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: next(ticks))  # half a minute from one look to the next
        stopped_after(monkeypatch, 60, out, epochs=16, max_time=90.0)
    shortened = runs.of_kind("end", runs.read(out)[1])
    assert shortened[-1]["total_steps"] < 16 * PER_EPOCH
    engine.train(Settings(**runs.QUICK | {"epochs": 16}, max_time=1000.0, out=str(out)), resume=True)
    assert runs.read(out)[0]["metrics"]["steps"] == 16 * PER_EPOCH


def test_time_that_is_left_makes_no_cooldown_of_a_plateau_longer(tmp_path):
    settings = {"epochs": None, "until_plateau": True, "set": {"warmup_limit": 150}, "max_time": 1000.0}
    metrics, _, log = runs.train(tmp_path, **settings)
    (end,) = runs.of_kind("end", log)
    assert metrics["steps"] == end["total_steps"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"until_plateau": True, "epochs": 3}, "--until-plateau and --epochs exclude each other"),
        ({"until_plateau": True, "steps": 3}, "--until-plateau and --steps exclude each other"),
        ({"until_plateau": True, "decay": "plateau"}, "--until-plateau cools the LR down"),
        ({"until_plateau": True, "schedule": "baseline"}, "--until-plateau is for --schedule autowu"),
        ({"max_time": 1.0, "schedule": "wsd"}, "--max-time is for --schedule autowu"),
        ({"max_time": 0.0}, "--max-time must be a number above 0, not 0.0"),
    ],
)
def test_what_does_not_go_together(settings, message):
    with pytest.raises(UserError, match=message):
        Settings(**settings)


def test_when_a_loss_has_stopped_falling():
    random = np.random.default_rng(0)
    noise = 0.01 * random.standard_normal(40)
    assert not has_stopped([])
    assert not has_stopped([1.0] * 5)
    assert has_stopped([1.0] * 6)
    assert not has_stopped(list(2 - 0.02 * np.arange(40) + noise))
    assert has_stopped(list(np.maximum(2 - 0.1 * np.arange(40), 1) + noise))
    assert has_stopped(list(1 + 0.02 * np.arange(40)))
