"""The run log of a user's own loop, written where the losses are read: what `autowu report` shows.

No step gets slower: a loss stays on its device until the decision that it is read for, and the lines of all
updates up to there are written in one go. Where nobody reads losses any more (the decay without ``watch``),
the log has them read a fiftieth of the run at a time.
"""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from autowu.arrays import Array
from autowu.config import Config, nearest_preset
from autowu.controller.state import Switch
from autowu.integrations import log_files
from autowu.runlog import writer

if TYPE_CHECKING:
    from autowu.integrations.session import Session

Folder: TypeAlias = "str | os.PathLike[str]"

READS: Final = 50
"""Of the run, where only the log reads losses."""
SHORTEST: Final = 10
"""Updates between two of them, at least."""
UNKNOWN: Final = 1000
"""The same, where the run has no known end."""
EMPTY: Final[Mapping[str, Any]] = {}


def first_process() -> bool:
    """Whether this process is the one that writes, of those that PyTorch or JAX knows of."""
    torch: Any = sys.modules.get("torch.distributed")
    if torch is not None and torch.is_available() and torch.is_initialized():
        return torch.get_rank() == 0
    jax: Any = sys.modules.get("jax.distributed")
    # Only where it has been set up: to ask JAX itself would start its devices.
    if jax is not None and getattr(jax, "is_initialized", lambda: False)():
        return sys.modules["jax"].process_index() == 0
    return True


_Known: TypeAlias = "tuple[int, Switch | None, int, int]"


class RunLog:
    """Writes ``run.json`` and ``log.jsonl`` of a session into a folder.

    Args:
        folder: of the log; made, with its parents, if it is not there.
        config: of the session.
        about: more for ``run.json``: under 'host' the framework's name, under 'packages' those whose versions
            count, and mappings under 'config' and 'machine', in addition to what is known of every run.
        first: whether this process is the one that writes; asked again at each decision.

    Raises:
        TypeError: ``folder`` is not a path.
        ValueError: it is empty, or the folder holds a run of `autowu train`.
    """

    def __init__(
        self,
        folder: Folder,
        config: Config,
        about: Mapping[str, Any],
        first: Callable[[], bool] = first_process,
    ) -> None:
        if not isinstance(folder, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"log must be the path of a folder, not {folder!r:.80}")
        if not os.fspath(folder):  # such as a variable that is not set; it would be the folder of the process
            raise ValueError("log must be the path of a folder, not ''; None for no log")
        self.folder = Path(folder).absolute()  # wherever the process goes later on
        log_files.check(self.folder)
        self._about, self._first = about, first
        # What set the phase and the LR, and the step from which on it did; since the last line.
        self._pieces: list[tuple[int, str, Callable[[int], float]]] = []
        self._seen: _Known | None = None  # of what was decided
        self._length: int | None = None  # of the file, as this process left it; None before its first line
        self._told: tuple[Config, int | None, str] | None = None  # what run.json says
        self._failed = False
        self._alone = True  # as far as it was asked, this process is the one that writes
        self._begin(config)
        self._found = log_files.stamp(self.folder)  # before this log has written; None: not to be compared

    def _begin(self, config: Config) -> None:
        """Have something to show before the first decision; a run that is there may be gone on with."""
        try:  # to look for it may fail, too, as in a folder that may not be read
            if self._writes() and not log_files.is_there(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / writer.LOG).touch()
                writer.write_about(self.folder, self._described(config, config.total_steps))
        except OSError as error:
            warnings.warn(self._failure(error), stacklevel=4)

    # --- what a session says ----------------------------------------------------------------------------

    def entered(self, session: Session) -> None:
        """From now on the session has this phase and LR."""
        self._pieces.append((session.step, session.state.stage, session.lr_function))
        self._seen = self._seen or _known(session)

    def next_read(self, session: Session) -> int | None:
        """When losses are to be read for the log alone, if nobody else reads any; None: never again."""
        total_steps = session.total_steps
        if total_steps is None:
            return session.step + UNKNOWN
        if session.step >= total_steps:
            return None
        return min(session.step + max(SHORTEST, total_steps // READS), total_steps)

    def again(self) -> RunLog:
        """The log of a session that goes on from a saved state."""
        log = copy.copy(self)
        log._pieces, log._seen = [], None
        log._found = log_files.stamp(log.folder)
        return log

    def __getstate__(self) -> dict[str, Any]:
        # A copy finds the file as it is then: others may have written to it.
        return vars(self) | {
            "_length": None, "_told": None, "_failed": False, "_pieces": list(self._pieces), "_found": None
        }  # fmt: skip

    def write(self, session: Session, losses: Array) -> Iterator[str]:
        """Write down the last updates and what was decided, if this process is the one that writes.

        Args:
            session: after the decision.
            losses: of the updates since the last call [n].

        Returns:
            What to warn of.
        """
        pieces, self._pieces = self._pieces, self._pieces[-1:]
        if self._failed or not self._writes():
            return
        try:
            yield from self._write(session, losses, pieces)
        except OSError as error:
            yield self._failure(error)

    def end(self, session: Session, losses: Array) -> Iterator[str]:
        """Write down the last updates of a run that ends before the next read, and that it ends.

        Nothing is written where the log was never this process's alone, or is no longer: a run that goes on
        with it may have cut off what is said here.

        Args:
            session: as it is at the end.
            losses: of the updates since the last read [n].

        Returns:
            What to warn of.
        """
        new = self._length is None
        if self._failed or not self._writes() or not self._alone or (new and not len(losses)):
            return
        here = log_files.stamp(self.folder)
        if here[:1] != (self._length,) if not new else here != self._found:
            return
        try:
            yield from self._write(session, losses, self._pieces, status="stopped")
        except OSError as error:
            yield self._failure(error)

    def _writes(self) -> bool:
        """Whether this process is the one that writes, by now."""
        first = self._first()
        self._alone = self._alone and first  # at the end, all may believe to be the first
        return first

    def _write(
        self, session: Session, losses: Array, pieces: list[Any], status: str = "running"
    ) -> Iterator[str]:
        known: frozenset[bytes] = frozenset()
        if self._length is None:
            self._length = log_files.open_at(self.folder, session.step - len(losses))
            # A log that begins late, or was given up for a while, has all decisions nevertheless.
            self._seen, known = None, log_files.decisions(self.folder)
        lines = map(writer.to_line, self._events(session, losses, pieces))
        with open(self.folder / writer.LOG, "ab") as file:
            if os.fstat(file.fileno()).st_size != self._length:
                self._failed = True
                yield (
                    f"AutoWU: something else writes to the log in {self.folder}, such as another process or a"
                    " copy of the scheduler. This one writes no more."
                )
                return
            file.write(b"".join(line for line in lines if line not in known))
            file.flush()
            self._length = os.fstat(file.fileno()).st_size
        self._seen = _known(session)
        total_steps = session.total_steps
        finished = total_steps is not None and session.step >= total_steps
        told = session.config, total_steps, "finished" if finished else status
        if told != self._told:
            metrics = self._metrics(session, losses) if finished else {}
            writer.write_about(self.folder, self._described(*told, metrics))
            self._told = told

    def _failure(self, error: OSError) -> str:
        self._failed = True
        return (
            f"AutoWU: the log in {self.folder} cannot be written: {error.strerror or error}. The run goes on"
            " without."
        )

    # --- what is written --------------------------------------------------------------------------------

    def _events(self, session: Session, losses: Array, pieces: list[Any]) -> Iterator[writer.Event]:
        """The last updates, and what has been decided since it was seen last."""
        at = 0
        for update, loss in enumerate(losses.tolist(), session.step - len(losses)):
            while at + 1 < len(pieces) and pieces[at + 1][0] <= update:
                at += 1
            _, phase, lr_function = pieces[at]
            yield writer.step_event(update + 1, loss, lr_function(update), phase)
        (tests, switch, cuts, ends), state = self._seen or (0, None, 0, 0), session.state
        yield from map(writer.verdict_event, state.verdicts[tests:])
        if state.switch is not None and state.switch != switch:
            yield writer.switch_event(state.switch)
        yield from map(writer.cut_event, state.cuts[cuts:])
        yield from map(writer.end_event, state.horizon.ends[ends:])

    @staticmethod
    def _metrics(session: Session, losses: Array) -> dict[str, Any]:
        finite = losses[np.isfinite(losses)]
        mean = float(finite.mean()) if len(finite) else None
        return {**writer.outcome(session.state.switch), "train_loss": mean, "steps": session.step}

    def _described(
        self,
        config: Config,
        total_steps: int | None,
        status: str = "running",
        metrics: Mapping[str, Any] = EMPTY,
    ) -> dict[str, Any]:
        """``run.json``; what a user has added to it stays."""
        preset = nearest_preset(asdict(config))
        versions = writer.versions("numpy", *self._about.get("packages", ()))
        return log_files.read_about(self.folder) | {
            "autowu": versions["autowu"],
            "host": self._about["host"],
            "config": {
                "schedule": "paper" if preset == "paper" else "autowu",
                **self._about.get("config", {}),
                "total_steps": total_steps,
            },
            "schedule": {"preset": preset, **asdict(config)},
            "versions": versions,
            "machine": writer.machine() | self._about.get("machine", {}),
            "metrics": dict(metrics),
            "status": status,
        }


def _known(session: Session) -> _Known:
    """The tests, cuts and ends so far, by their numbers, and the switch."""
    state = session.state
    return len(state.verdicts), state.switch, len(state.cuts), len(state.horizon.ends)
