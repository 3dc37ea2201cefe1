"""The programs in examples/, started as a user would, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import limits

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(name: str, *arguments: object, folder: Path) -> subprocess.Popen[str]:
    """Start an example, with ``folder`` as its working directory and standard error joined to its output."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(name: str, *arguments: object, folder: Path) -> str:
    """What an example prints; it has to succeed."""
    process = start(name, *arguments, folder=folder)
    output, _ = process.communicate(timeout=limits.HANG)
    assert process.returncode == 0, output
    return output


def kill_when(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Kill an example with SIGKILL once ``ready`` holds, which has to be while it runs."""
    limits.wait_for(ready, lambda: process.poll() is None)
    assert process.poll() is None, process.communicate()[0]
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
