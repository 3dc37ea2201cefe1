"""``autowu train`` in processes that are quick to start: forked from one that has imported everything."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

import limits
from autowu.train.checkpoints import checkpoint
from reliability.killed import kill_in

STEPS, EVERY = 132, 6
FLAGS = ("--epochs", "6", "--model", "mlp", "--batch-size", "64", "--optimizer", "adamw")
FLAGS = (*FLAGS, "--checkpoint-every", str(EVERY))


def start(out: Path, *flags: str, killed_in: str | None = None, at: int = 0) -> BaseProcess:
    """A run, or the rest of one; it may kill itself in its ``at``-th test, checkpoint or renaming."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["autowu.train.run.engine", "torch._dynamo"])
    words = ["train", *FLAGS, "--out", str(out), "--resume", *flags]
    process = context.Process(target=_run, args=(words, out, killed_in, at))
    process.start()
    return process


def _run(words: list[str], out: Path, killed_in: str | None, at: int) -> None:
    from autowu.cli import main

    # Another test may have started the server, as the trainer does: born with these blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    sys.stdout = sys.stderr = open(f"{out}.txt", "a", buffering=1, encoding="utf-8")  # noqa: SIM115
    kill_in(killed_in, at)
    sys.exit(main(words))


def finish(process: BaseProcess, status: int = 0) -> None:
    """Wait for a run, which must end with ``status``."""
    process.join(limits.HANG)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("hangs")
    assert process.exitcode == status


def told(out: Path) -> str:
    """What the runs in ``out`` have printed."""
    return Path(f"{out}.txt").read_text(encoding="utf-8")


def wait_for_update(out: Path, step: int, process: BaseProcess) -> None:
    """Until a checkpoint of update ``step`` or later is there, or the run has ended."""
    limits.wait_for(
        lambda: any(int(path.name) >= step for path in out.glob("checkpoints/[0-9]*")), process.is_alive
    )


def kill(process: BaseProcess) -> bool:
    """``kill -9``; whether it came before the run's end."""
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def result(out: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The whole log, without its times, and the first process's part of the last checkpoint."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    log = [{key: value for key, value in line.items() if key != "samples_per_second"} for line in lines]
    found, damaged = checkpoint.newest(out)
    assert found is not None
    assert not damaged
    assert found.step == STEPS
    state = checkpoint.read_part(out, STEPS, 0, torch.device("cpu"))
    del state["seconds"], state["last"]
    return log, state


def no_drafts(out: Path) -> bool:
    """Whether nothing half-written is left."""
    names = [name for _, folders, files in os.walk(out) for name in (*folders, *files)]
    return not any(name.startswith(".") or name.endswith(".tmp") for name in names)
