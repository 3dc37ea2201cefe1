"""The cells as a job array, by submitit: on SLURM, or as processes of this machine.

Each job is the command `autowu reproduce` for one cell. Stopped by its own `--minutes`, it leaves a
checkpoint, and the same submission goes on from there.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from autowu.errors import UserError

ENGINES: Final = ("slurm", "local")
MARGIN: Final = 5
"""Minutes from a job's own stop to the cluster's."""


def train(arguments: Sequence[str]) -> int:
    """What a job runs: ``autowu`` with ``arguments``; its exit status."""
    return subprocess.run([sys.executable, "-m", "autowu", *arguments], check=False).returncode


def submit(
    engine: str, commands: Sequence[Sequence[str]], folder: Path, minutes: float, options: dict[str, Any]
) -> list[Any]:
    """Hand in one job for each of ``commands``; the jobs, in order.

    Args:
        engine: 'slurm' or 'local'.
        commands: arguments of ``autowu``.
        folder: where submitit keeps what the jobs print.
        minutes: that a command takes at most.
        options: of submitit's executor, such as ``slurm_partition``.

    Raises:
        UserError: submitit refuses them.
    """
    submitit: Any = import_module("submitit")

    try:
        executor: Any = submitit.AutoExecutor(folder=folder, cluster=engine)
        executor.update_parameters(
            name="autowu",
            timeout_min=int(minutes) + MARGIN,
            **{"slurm_gpus_per_node": 1, "slurm_cpus_per_task": 4} | options,
        )
        return list(executor.map_array(train, commands))
    except (RuntimeError, ValueError, NameError, TypeError) as error:
        raise UserError(f"--jobs {engine}: {' '.join(str(error).split())}") from error


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE of ``--job-option``, integers as such.

    Raises:
        ArgumentTypeError: there is no '=', or no name before it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ArgumentTypeError(f"must be NAME=VALUE, such as slurm_partition=gpu, not {text!r}")
    return name, int(value) if value.lstrip("-").isdigit() else value
