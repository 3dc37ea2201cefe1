"""A run for TensorBoard: LR, loss, P_min, phase, accuracy, throughput, and the switch and cuts as text.

:class:`Writer` takes the records of ``log.jsonl`` one by one, so a trainer may hand them over as they come;
:func:`export` does the same for runs that are on disk.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from autowu.errors import UserError
from autowu.offline.logs.tensorboard_table import has_events
from autowu.runlog.events import EVALUATION
from autowu.runlog.run import Run


class Writer:
    """Writes event files into ``folder``; a context manager.

    Raises:
        ImportError: TensorBoard, of the extra ``tensorboard``, is not installed.
    """

    def __init__(self, folder: Path) -> None:
        file: Any = import_module("tensorboard.summary.writer.event_file_writer")
        self._event: Any = import_module("tensorboard.compat.proto.event_pb2").Event
        self._proto: Any = import_module("tensorboard.compat.proto.summary_pb2")
        self._text: Any = import_module("tensorboard.plugins.text.metadata")
        self._tensors: Any = import_module("tensorboard.util.tensor_util")
        self._file = file.EventFileWriter(str(folder))

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add(self, record: Mapping[str, Any]) -> None:
        """One event of a log: a 'step', 'test', 'switch', 'cut' or 'evaluation'; others are passed over."""
        step = int(record.get("step", 0))
        for tag, value in scalars(record):
            self._write(step, self._proto.Summary.Value(tag=f"autowu/{tag}", simple_value=value))
        if record.get("event") == "switch":
            words = (
                f"Warm-up ended at step {step}; peak LR {record['peak_lr']:.4g}, of step {record['t_star']}, "
                f"weights of step {record['rewound_to']}, at the cap: {'yes' if record['capped'] else 'no'}."
            )
            self._say(step, "switch", "The end of warm-up.", words)
        elif record.get("event") == "cut":
            words = (
                f"At step {step} the LR became {record['factor']:.3g} of the line that began at the switch; "
                f"weights of step {record['back_to']}."
            )
            self._say(step, "cut", "A change of the LR in the decay phase.", words)
        elif record.get("event") == "end":
            words = f"From step {step} on the run ends at step {record['total_steps']:,}"
            words += ", and the LR falls to zero." if record["cooldown"] else "."
            self._say(step, "end", "An end of the run that was set while it went on.", words)

    def _say(self, step: int, tag: str, about: str, words: str) -> None:
        value = self._proto.Summary.Value(
            tag=f"autowu/{tag}",
            tensor=self._tensors.make_tensor_proto([words.encode()]),
            metadata=self._text.create_summary_metadata(f"autowu/{tag}", about),
        )
        self._write(step, value)

    def flush(self) -> None:
        """Put what was added on the disk, for who watches."""
        self._file.flush()

    def close(self) -> None:
        """Put what was added on the disk, and close the file."""
        self._file.close()

    def _write(self, step: int, value: Any) -> None:
        self._file.add_event(self._event(step=step, summary=self._proto.Summary(value=[value])))


def scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Tags and values of one event; what is missing has none."""
    kind = record.get("event")
    if kind == "step":
        values = {"learning_rate": record["lr"], "loss": record["loss"]}
        values |= {"phase (0 warm-up, 1 decay)": float(record["phase"] == "decay")}
    elif kind == "test":
        p_min = record["p_min"]
        values = {"p_min/median": statistics.median(p_min) if p_min else None, "streak": record["streak"]}
        values |= {f"p_min/subset {i}": p for i, p in enumerate(p_min)}
    elif kind == "switch":
        values = {"peak_lr": record["peak_lr"], "t_star": record["t_star"]}
    elif kind in EVALUATION:
        names = ("test_accuracy", "test_loss", "train_loss", "samples_per_second", "images_per_second")
        values = {name: record.get(name) for name in names}
    else:
        values = dict[str, Any]()
    for tag, value in values.items():
        if value is not None and not math.isnan(value):
            yield tag, float(value)


def records(run: Run) -> Iterator[dict[str, Any]]:
    """The events of ``run``, each kind in order."""
    for step, loss, lr in zip(run.steps.tolist(), run.losses.tolist(), run.lrs.tolist(), strict=True):
        phase = "warmup" if step <= run.warmup_end else "decay"
        phase = "stable" if run.stable is not None and run.stable[0] < step <= run.stable[1] else phase
        yield {"event": "step", "step": step, "loss": loss, "lr": lr, "phase": phase if run.adaptive else ""}
    for test in run.tests:
        yield {"event": "test", "step": test.step, "p_min": test.p_min, "streak": test.streak}
    if run.switch is not None:
        yield {"event": "switch"} | asdict(run.switch)
    for cut in run.cuts:
        yield {"event": "cut"} | asdict(cut)
    for end in run.ends:
        yield {"event": "end"} | asdict(end)
    for evaluation in run.evaluations:
        yield {"event": "evaluation"} | asdict(evaluation)


def check(folder: Path) -> None:
    """See before any work that ``folder`` can be made, or written to.

    Raises:
        UserError: it cannot.
    """
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not there.is_dir():
        raise UserError(f"-o {folder}: cannot be written: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"-o {folder}: cannot be written: permission denied")


def export(runs: Sequence[Run], folder: Path) -> Sequence[Run]:
    """Write each run into a folder of its own within ``folder``; returns the runs.

    Raises:
        UserError: one of these has event files already: TensorBoard would show all points twice.
    """
    folders = [folder / f"{i}-{safe(run.name)}" for i, run in enumerate(runs)]
    for each in folders:
        if each.is_dir() and has_events(each):
            raise UserError(f"{each}: has event files already; remove them, or name another folder with -o")
    for each, run in zip(folders, runs, strict=True):
        with Writer(each) as writer:
            for record in records(run):
                writer.add(record)
    return runs


def safe(name: str) -> str:
    """``name`` as that of a folder: nothing that leads out of where it is put."""
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in name)[:60].strip(".") or "run"
