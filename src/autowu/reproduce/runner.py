"""Train the cells that are not done: as many at a time as asked for, for as long as there is time."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from autowu.errors import UserError
from autowu.reproduce import results, running, sets
from autowu.reproduce.plan import Job
from autowu.reproduce.running import Running

PAUSE: Final = 0.1  # seconds between two looks at the processes


@dataclass(frozen=True)
class Study:
    """What is to be trained, and where.

    Args:
        jobs: the cells, in order.
        folder: of the scale.
        data: the data folder; None where all sets are built in.
        processes: cells at a time.
        end: when to stop, by ``time.monotonic()``.
        commit: of the code.
        any_commit: whether what other commits have left is taken.
    """

    jobs: Sequence[Job]
    folder: Path
    data: Path | None
    processes: int
    end: float
    commit: str
    any_commit: bool = False


@dataclass
class Outcome:
    """What became of the cells that were not done."""

    finished: int = 0
    stopped: int = 0
    """Begun, and to be gone on with."""
    waiting: int = 0
    """Not begun, or stopped before anything was saved."""
    busy: list[str] = field(default_factory=list[str])
    """Left to other processes."""
    failed: list[str] = field(default_factory=list[str])

    @property
    def left(self) -> int:
        """Cells that are not done."""
        return self.stopped + self.waiting + len(self.busy) + len(self.failed)


def run(study: Study) -> Outcome:
    """Train until all is done or the time is up.

    SIGTERM and Ctrl-C stop the runs at checkpoints; a second one ends them at once.

    Raises:
        UserError: a folder cannot be written, or another commit has begun a cell. What runs is stopped first.
    """
    before = results.read(study.folder, _scale(study), None if study.any_commit else study.commit)
    done = {(result.cell, result.key) for result in before}
    waiting = deque(job for job in study.jobs if (job.cell.name, job.key) not in done)
    outcome, at_work, total = Outcome(), list[Running](), len(waiting)
    with _signals() as received:
        passed_on = 0
        try:
            while waiting or at_work:
                stopping = bool(received) or time.monotonic() >= study.end
                if stopping and (not passed_on or len(received) > passed_on):
                    passed_on = max(1, len(received))
                    for each in at_work:
                        each.stop()
                if stopping:
                    outcome.waiting += len(waiting)
                    waiting.clear()
                while waiting and len(at_work) < study.processes:
                    _start(waiting.popleft(), study, at_work, outcome)
                for each in [each for each in at_work if each.process.poll() is not None]:
                    at_work.remove(each)
                    _finish(each, study, outcome, total)
                time.sleep(PAUSE if at_work else 0)
        finally:
            for each in at_work:
                each.stop()
            for each in at_work:
                each.process.wait()
    return outcome


def _scale(study: Study) -> str:
    return study.folder.name


def _start(job: Job, study: Study, at_work: list[Running], outcome: Outcome) -> None:
    data = sets.ready(job.set, study.data, study.folder / "data")
    kept = study.data if data in sets.OF_TORCHVISION else None
    runs = study.folder / "runs"
    begun = running.start(job, runs, data, kept, study.commit, any_commit=study.any_commit)
    if begun is None:
        outcome.busy.append(job.cell.name)
        _say(f"{job.cell.name}: another process is at it")
    else:
        at_work.append(begun)


def _finish(each: Running, study: Study, outcome: Outcome, total: int) -> None:
    name, status = each.job.cell.name, each.process.returncode
    try:
        found = running.result(each, study.commit) if status == 0 else None
    except UserError as error:
        found, status = None, str(error)
    if found is not None:
        results.append(study.folder, found)
        outcome.finished += 1
        peak = "" if found.peak_lr is None else f", peak LR {found.peak_lr:.3g}"
        _say(f"{outcome.finished}/{total} {name}: {found.accuracy:.2f}%{peak}, {found.seconds:,.0f} s")
    elif status in running.STOPPED and each.saved:
        outcome.stopped += 1
        _say(f"{name}: stopped at a checkpoint")
    elif status in running.STOPPED:
        outcome.waiting += 1
        _say(f"{name}: stopped before its first checkpoint; it will begin anew")
    else:
        outcome.failed.append(f"{name} (exit status {status}): {each.last_line}")
        _say(f"{name} has failed: {each.last_line}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _signals() -> Generator[list[int]]:
    """Within it SIGTERM and SIGINT are noted in the list."""
    received = list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
