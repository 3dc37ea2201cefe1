"""The process that trains one cell, and the folder that it works in."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from autowu.errors import UserError
from autowu.reproduce.plan import Job
from autowu.reproduce.results import Result, fcntl
from autowu.text import printable

ABOUT: Final = "cell.json"
OUTPUT: Final = "output.txt"
LOCK: Final = ".lock"
STOPPED: Final = (143, 130, -15, -2)
"""Exit statuses of a run that SIGTERM or SIGINT has stopped."""


@dataclass(frozen=True)
class Running:
    """A cell whose process has been started."""

    job: Job
    folder: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ask it to stop at a checkpoint."""
        if self.process.poll() is None:
            self.process.terminate()

    @property
    def saved(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any((self.folder / "checkpoints").glob("[0-9]*"))

    @property
    def last_line(self) -> str:
        """What it printed last."""
        lines = (self.folder / OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
        return printable(next((line for line in reversed(lines) if line.strip()), "nothing was printed"))


def start(
    job: Job, runs: Path, data: str, data_dir: Path | None, commit: str, *, any_commit: bool
) -> Running | None:
    """Begin the cell, or go on with it; None if another process is at it.

    Args:
        job: the cell.
        runs: folder of the run folders.
        data: what stands for the set's name.
        data_dir: where torchvision keeps its sets.
        commit: of the code.
        any_commit: also go on with what another commit has begun.

    Raises:
        UserError: the folder cannot be written, or another commit has begun the cell.
    """
    folder = runs / job.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("ab") as lock:
            if not _locked(lock):
                return None
            _sign(folder, job, commit, any_commit=any_commit)
            command = [sys.executable, "-m", "autowu", *job.command(data, folder, data_dir)]
            with (folder / OUTPUT).open("ab") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is the runner's, who passes it on
                    # The child holds the lock, too: it lasts as long as either of the two.
                    pass_fds=(lock.fileno(),) if fcntl is not None else (),
                    env={**dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"), **os.environ},
                )
    except OSError as error:
        raise UserError(f"cannot begin {job.cell.name} in {folder}: {error.strerror or error}") from error
    return Running(job, folder, process)


def _locked(lock: IO[bytes]) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(folder: Path, job: Job, commit: str, *, any_commit: bool) -> None:
    """Note which commit trains the cell; a run of two commits is of neither."""
    path = folder / ABOUT
    if path.exists() and not any_commit:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))["commit"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged: remove its folder, and the cell begins anew") from error
        if before != commit:
            raise UserError(
                f"{folder} was begun by the commit {printable(str(before))}, and this is {commit}: "
                "--any-commit goes on with it; without the folder the cell begins anew"
            )
    about = {"cell": job.cell.name, "key": job.key, "scale": job.scale.name, "commit": commit}
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(about) + "\n", encoding="utf-8")
    os.replace(draft, path)


def result(of: Running, commit: str) -> Result | None:
    """What came of a run that has ended; None if it is not finished.

    Raises:
        UserError: its run.json is not what a run writes.
    """
    from autowu.train.output.log import read_run

    run: dict[str, Any] | None = read_run(of.folder)
    if run is None or run.get("status") != "finished":
        return None
    job = of.job
    return Result(
        cell=job.cell.name,
        key=job.key,
        scale=job.scale.name,
        command=shlex.join(["autowu", *job.command(job.set, f"runs/{job.folder}")]),
        commit=commit,
        versions=run["versions"],
        machine=run["machine"],
        seconds=round(float(run["metrics"]["seconds"]), 3),
        metrics=run["metrics"],
    )
