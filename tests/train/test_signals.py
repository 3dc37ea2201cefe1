"""SIGTERM and Ctrl-C as `timeout`, job schedulers and terminals send them: to every process of the run."""

import os
import signal
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

import limits
from autowu.train.checkpoints import checkpoint
from autowu.train.run import signals
from autowu.train.run.signals import StopRequest
from train import commands

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals a process group")
WORKERS = 1  # of each process; each imports what it needs anew, for many seconds
FLAGS = (
    "--model",
    "mlp",
    "--image-size",
    16,
    "--batch-size",
    10,
    "--workers",
    WORKERS,
    "--optimizer",
    "adamw",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """100 training and 10 test images of noise, in two classes."""
    root, random = tmp_path_factory.mktemp("folder") / "noise", np.random.default_rng(0)
    for index in range(110):
        folder = root / ("train" if index < 100 else "val") / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8)).save(folder / f"{index:03}.png")
    return root


def start(root, out, *flags):
    return commands.start("--data", root, *FLAGS, "--checkpoint-every", 5, "--out", out, *flags)


def decoders(process):
    """How many workers the run's servers have started."""
    return sum(
        len(child.children())
        for child in psutil.Process(process.pid).children(recursive=True)
        if served(child)
    )


def served(process):
    try:
        return any("forkserver" in word for word in process.cmdline())
    except psutil.Error:
        return False


def assert_stopped(process, out, number):
    """It says where, has saved that update and all before it, and leaves no process behind."""
    told = commands.finish(process, 128 + number)
    found, damaged = checkpoint.newest(out)
    assert f"stopped after update {found.step}, which is saved" in told
    assert "Traceback" not in told
    assert "Error" not in told
    assert not damaged
    assert commands.steps(out, "step") == list(range(1, found.step + 1))
    end = time.monotonic() + limits.HANG
    while left := [other for other in psutil.process_iter() if of_group(other, process.pid)]:
        assert time.monotonic() < end, left
        time.sleep(0.05)
    return found.step


def of_group(process, group):
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.Error):
        return False


def test_a_group_is_told_twice_as_by_timeout(root, tmp_path):
    """GNU timeout signals the process it has started and then the group."""
    out = tmp_path / "run"
    process = start(root, out, "--epochs", 100_000)
    commands.wait_for_checkpoint(out, process, 5)
    os.kill(process.pid, signal.SIGTERM)
    os.killpg(process.pid, signal.SIGTERM)
    assert_stopped(process, out, signal.SIGTERM)


@pytest.mark.full
def test_ctrl_c_while_the_workers_start(root, tmp_path):
    out = tmp_path / "run"
    process = start(root, out, "--epochs", 100_000)
    commands.wait_for(lambda: decoders(process) > 0, process)
    os.killpg(process.pid, signal.SIGINT)
    assert_stopped(process, out, signal.SIGINT)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_any_moment_and_the_rest_of_the_run_is_as_it_would_have_been(root, tmp_path, number):
    flags = ("--epochs", 12)
    commands.finish(start(root, tmp_path / "whole", *flags))
    moments = {
        "the server starts": lambda out, process: commands.wait_for(
            lambda: any(served(child) for child in psutil.Process(process.pid).children()), process
        ),
        "an update": commands.wait_for_checkpoint,
        "the evaluation's workers start": lambda out, process: commands.wait_for(
            lambda: decoders(process) > WORKERS, process
        ),
        "after an evaluation": lambda out, process: commands.wait_for_checkpoint(out, process, 10),
    }
    for name, wait in moments.items():
        out = tmp_path / name
        process = start(root, out, *flags)
        wait(out, process)
        os.killpg(process.pid, number)
        assert assert_stopped(process, out, number) < 120
        commands.train("--out", out, "--resume")
        commands.assert_same(out, tmp_path / "whole")


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_processes_with_workers_each(root, tmp_path, number):
    out = tmp_path / "run"
    process = start(root, out, "--epochs", 100_000, "--devices", 2)
    commands.wait_for_checkpoint(out, process, 5)
    os.killpg(process.pid, number)
    assert_stopped(process, out, number)


@pytest.mark.full
def test_the_processes_of_torchrun_hear_it_from_the_group_and_from_torchrun(root, tmp_path):
    out = tmp_path / "run"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    flags = ("--data", root, *FLAGS, "--checkpoint-every", 5, "--epochs", 100_000, "--out", out)
    process = commands.start(*flags, launcher=(*launcher, "-m", "autowu"))
    commands.wait_for_checkpoint(out, process, 10)
    os.killpg(process.pid, signal.SIGTERM)
    told = commands.finish(process, 1)  # torchrun's own
    assert f"stopped after update {checkpoint.newest(out)[0].step}, which is saved" in told


# --- the request alone --------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where these tests are a background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_echo_asks_for_nothing_more(clock, interruptible):
    with StopRequest(1) as stop:
        assert stop.received() is None
        signal.raise_signal(signal.SIGTERM)
        clock[0] += 1.9
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop.received() == signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_asks_again_later_means_it(clock, interruptible):
    with StopRequest(1):
        signal.raise_signal(signal.SIGTERM)
        clock[0] += 2.1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
