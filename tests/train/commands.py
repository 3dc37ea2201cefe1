"""``autowu train`` as a user starts it: a process of its own, or several."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import torch

import limits

ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # or torchrun's restarts fail now and then
}


def start(*flags, launcher=(sys.executable, "-m", "autowu"), **options) -> subprocess.Popen:
    """A run that goes on; it leads a process group of its own."""
    words = [*launcher, "train", *map(str, flags)]
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=ENVIRONMENT,
        **options,
    )


def finish(process: subprocess.Popen, status: int = 0) -> str:
    """Wait for a run; what it has printed. It must end with ``status``."""
    try:
        out, _ = process.communicate(timeout=limits.HANG)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"hangs: {kill(process)}") from None
    assert process.returncode == status, out
    return out


def train(*flags, status: int = 0, **options) -> str:
    """A whole run; what it has printed."""
    return finish(start(*flags, **options), status)


def kill(process: subprocess.Popen) -> str:
    """``kill -9`` of a run with all its processes; what it has printed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


def wait_for(condition, process: subprocess.Popen) -> None:
    """Until ``condition()`` holds or the run has ended."""
    limits.wait_for(condition, lambda: process.poll() is None)


def wait_for_checkpoint(run: Path, process: subprocess.Popen, step: int = 0) -> None:
    """Until a checkpoint later than update ``step`` is there."""
    wait_for(lambda: any(int(path.name) > step for path in run.glob("checkpoints/[0-9]*")), process)


def events(run: Path) -> list[dict]:
    """The log, without the times in it."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "samples_per_second"} for line in lines]


def steps(run: Path, name: str) -> list:
    """One value of each update."""
    return [event[name] for event in events(run) if event["event"] == "step"]


def last_state(run: Path) -> dict:
    """The first process's part of the last checkpoint."""
    newest = sorted(run.glob("checkpoints/[0-9]*"))[-1]
    return torch.load(newest / "rank-0.pt", weights_only=True)


def assert_same(one: Path, other: Path) -> None:
    """The same log and the same weights, bit for bit."""
    assert events(one) == events(other)
    ours, theirs = last_state(one)["model"], last_state(other)["model"]
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def children(process: subprocess.Popen) -> list[int]:
    """The processes that a run has started, in the order of their numbers."""
    return sorted(child.pid for child in psutil.Process(process.pid).children())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        return there.getsockname()[1]
