"""kill -9 of a training loop that checkpoints."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autowu.integrations.torch.tensors import StateDict

pytest.importorskip("torch")

import torch

import limits
from reliability import killed
from reliability.promises import Trials, promise

PLACES = [None, None, "test", "save", "rename"]


def start(*arguments: Any) -> multiprocessing.process.BaseProcess:
    """The loop in a process of its own, forked from one that has imported PyTorch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "autowu.integrations.torch.scheduler"])
    process = context.Process(target=killed.train, args=arguments)
    process.start()
    return process


def kill_at_random(folder: Path, moments: random.Random, usual: float) -> int:
    """Start the loop and send SIGKILL at a moment of its life; the step of the last checkpoint."""
    longest = usual
    while True:
        process = start(folder)
        limits.wait_for((folder / "started").exists, process.is_alive)
        assert (folder / "started").exists()
        time.sleep(moments.uniform(0, longest))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL and not (folder / "end.pt").exists():
            return process.exitcode
        for file in folder.iterdir():  # it had come to its end already: once more, and sooner
            file.unlink()
        longest /= 2


@promise(
    "kill -9 of a training loop: at any moment, within a test, while a checkpoint is written or renamed",
    "the loop, started again, ends with the same LR trace, weights, optimizer and scheduler, to the bit, as "
    "one that was never killed",
    full=200,
    plain=5,
    unit="kills",
)
def test_kill_9(trials: Trials, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    begun = time.monotonic()
    process = start(whole)
    process.join()
    usual = time.monotonic() - begun
    expected = torch.load(whole / "end.pt", weights_only=True)
    assert StateDict(expected["scheduler"])["controller"]["phase"]["kind"] == "Decay"

    places: Counter[str] = Counter()
    for trial in trials:
        moments, place = random.Random(trial), PLACES[trial % len(PLACES)]
        folder = tmp_path / str(trial)
        folder.mkdir()
        if place is None:
            kill_at_random(folder, moments, usual)
        else:
            process = start(folder, place, moments.randrange({"test": 12, "save": 24, "rename": 24}[place]))
            process.join()
            assert process.exitcode == -signal.SIGKILL
            assert not (folder / "end.pt").exists()
        resumed = start(folder)
        resumed.join()
        assert resumed.exitcode == 0
        found = torch.load(folder / "end.pt", weights_only=True)
        assert_equal(found, expected)
        places[place or "anywhere"] += 1
    trials.notes["kills"] = ", ".join(f"{count} {place}" for place, count in places.items())


def assert_equal(left: Any, right: Any) -> None:
    """That nested dicts, lists, tuples and tensors are equal to the bit."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_equal(a, b)
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert left.contiguous().view(-1).numpy().tobytes() == right.contiguous().view(-1).numpy().tobytes()
    else:
        assert left == right or (left != left and right != right)
