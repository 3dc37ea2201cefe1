"""The run folder: ``run.json``, what was run and what came out, and ``log.jsonl``, one line per event."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from autowu.errors import UserError
from autowu.runlog import writer

try:
    import fcntl
except ImportError:  # Windows: there, nobody looks
    fcntl = None

if TYPE_CHECKING:
    import torch


class RunLog:
    """Writes a run folder. In a process that does not write it does nothing, so that all can call it.

    From here to :meth:`close` no other process can write there: the log is locked, where the system can.

    Args:
        folder: the run folder; made, with its parents, if it is not there.
        writes: whether this process is the one that writes.

    Raises:
        UserError: the folder cannot be written, or another process writes to it.
    """

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self.folder = folder
        self._run: dict[str, Any] = {}
        self._file: BinaryIO | None = None
        if not writes:
            return
        with _written(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(folder / writer.LOG, "ab")  # noqa: SIM115, closed by close()
        if not _locked(self._file):
            self._file.close()
            raise UserError(f"another process trains in {folder}; choose another --out")

    def begin(self, about: Mapping[str, Any], length: int) -> None:
        """The run begins, or goes on.

        Args:
            about: what ``run.json`` says of the run: its settings, schedule and machine.
            length: bytes of ``log.jsonl`` to keep, of a run that goes on; what came after is cut off.
        """
        self._run = {**about, "metrics": {}, "status": "running"}
        if self._file is not None:
            with _written(self.folder):
                self._file.truncate(self._whole(length))
                writer.write_about(self.folder, self._run)

    def _whole(self, length: int) -> int:
        """``length``, or less where the log has less: to be cut there, it would be filled up with zeros."""
        path = self.folder / writer.LOG
        size = path.stat().st_size
        if size >= length:
            return length
        warnings.warn(
            f"{path} has {size:,} bytes, where the checkpoint knows of {length:,}: the log, and its report,"
            " lack updates from before",
            stacklevel=3,
        )
        return path.read_bytes().rfind(b"\n") + 1

    def write(self, events: Iterable[Mapping[str, Any]]) -> int:
        """Add one line for each event; the bytes that the log has then, all of them with the system."""
        if self._file is None:
            return 0
        with _written(self.folder):
            self._file.write(writer.to_lines(events))
            self._file.flush()
        return self._file.tell()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """The end of the run."""
        self._run |= {"metrics": dict(metrics), "status": "finished"}
        if self._file is not None:
            with _written(self.folder):
                writer.write_about(self.folder, self._run)

    def close(self) -> None:
        """Let go of the log, and of the folder."""
        if self._file is not None:
            with suppress(OSError):  # of a full disk, told of already: what is left in the buffer
                self._file.close()


@contextmanager
def _written(folder: Path) -> Generator[None]:
    """Within, what cannot be written is a UserError that names the folder."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to the run folder {folder}: {error.strerror or error}") from error


def _locked(log: BinaryIO) -> bool:
    """Lock it for as long as it is open; False where another process has. The system ends a lock with its
    process, however that ends."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def read_run(folder: Path) -> dict[str, Any] | None:
    """``run.json`` of a run folder, or None if there is none.

    Raises:
        UserError: it is not what a run writes.
    """
    path = folder / writer.ABOUT
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(run, dict) or not isinstance(cast("dict[str, Any]", run).get("config"), dict):
        raise UserError(f"{path} was not written by `autowu train`: it has no object 'config'")
    return cast("dict[str, Any]", run)


def versions() -> dict[str, str]:
    """Of Python, autowu and what it computes with."""
    return writer.versions("numpy", "torch", "timm", "lightning-fabric")


def machine(device: torch.device) -> dict[str, Any]:
    """What the run computes on."""
    import torch

    on_gpu = device.type == "cuda"
    return {
        **writer.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
    }
