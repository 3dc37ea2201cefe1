"""The run folder: ``run.json``, what was run and what came out, and ``log.jsonl``, one line per event."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor

import autowu
from autowu import Switch, Verdict
from autowu.errors import UserError
from autowu.train.options import Settings

_TEST = (
    "step",
    "start",
    "p_min",
    "detected",
    "argmin",
    "argmins",
    "t_star",
    "streak",
    "no_evidence",
    "noise",
)


class RunLog:
    """Writes a run folder; a context manager, so that a run that is stopped keeps its last lines.

    Losses stay on their device until :meth:`flush` brings them over, all in one transfer: logging makes the
    host wait for the device once per flush and not once per update.

    Raises:
        UserError: the folder cannot be written, or holds a finished run (an unfinished one is replaced).
    """

    def __init__(self, folder: Path, settings: Settings, schedule: Mapping[str, Any]) -> None:
        self._folder = folder
        self._run: dict[str, Any] = {
            "autowu": autowu.__version__,
            "config": asdict(settings),
            "schedule": dict(schedule),
            "versions": _versions(),
            "machine": _machine(),
            "metrics": {},
            "status": "running",
        }
        self._waiting: list[dict[str, Any]] = []
        self._losses: list[Tensor] = []
        try:
            _refuse_finished(folder / "run.json")
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(  # noqa: SIM115, this object is its context manager
                folder / "log.jsonl", "w", buffering=1, encoding="utf-8"
            )
            self._write_run()
        except OSError as error:
            raise UserError(f"cannot write to the run folder {folder}: {error.strerror or error}") from error

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.flush()
        self._file.close()

    def step(self, step: int, epoch: int, loss: Tensor, lr: float, phase: str) -> None:
        """One update: ``step`` counts it, ``loss``, ``lr`` and ``phase`` are what it saw."""
        self._losses.append(loss)
        self._waiting.append(
            {"event": "step", "step": step, "epoch": epoch, "loss": None, "lr": lr, "phase": phase}
        )

    def test(self, verdict: Verdict) -> None:
        """One test for a minimum."""
        curve = {
            name: None if (v := getattr(verdict, name)) is None else v.tolist() for name in ("mean", "sd")
        }
        self._waiting.append({"event": "test"} | {name: getattr(verdict, name) for name in _TEST} | curve)

    def switch(self, switch: Switch) -> None:
        """The end of AutoWU's warm-up."""
        self._waiting.append({"event": "switch"} | asdict(switch))

    def epoch(self, values: Mapping[str, Any]) -> None:
        """The end of an epoch."""
        self._waiting.append({"event": "epoch"} | dict(values))
        self.flush()

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """The end of the run."""
        self._run |= {"metrics": dict(metrics), "status": "finished"}
        self._write_run()

    def flush(self) -> list[float]:
        """Write what has come in since the last flush; returns the losses of these updates."""
        losses = cast(list[float], torch.stack(self._losses).tolist()) if self._losses else []
        unwritten = iter(losses)
        for event in self._waiting:
            if event["event"] == "step":
                event["loss"] = next(unwritten)
            self._file.write(json.dumps(_strict(event), allow_nan=False) + "\n")
        self._waiting.clear()
        self._losses.clear()
        return losses

    def _write_run(self) -> None:
        # Whoever reads run.json finds the old file or the new one, never a part of one.
        path = self._folder / "run.json"
        draft = path.with_suffix(".json.tmp")
        draft.write_text(json.dumps(_strict(self._run), indent=2) + "\n", encoding="utf-8")
        os.replace(draft, path)


def _refuse_finished(path: Path) -> None:
    if not path.exists():
        return
    try:
        running = json.loads(path.read_text(encoding="utf-8"))["status"] == "running"
    except (ValueError, KeyError, TypeError):
        running = False
    if not running:
        raise UserError(f"{path.parent} holds a finished run; choose another --out, or remove it")


def _strict(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in cast(Mapping[str, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in cast(Sequence[Any], value)]
    return value


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch", "timm"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }
