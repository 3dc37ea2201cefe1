"""Loggers beside the run folder: TensorBoard, Weights & Biases, MLflow; each is told each event once.

A run that is resumed repeats the updates since its checkpoint, bit for bit. What a logger has been told is
therefore kept in ``loggers.json`` in the run folder, and not told again; what it has not been told (because
it was not asked for before, or the process was killed in between) is read from ``log.jsonl``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, cast

from autowu.errors import UserError
from autowu.runlog_events import EVALUATION
from autowu.train.options import Logger

INSTALL: Final[dict[Logger, tuple[tuple[str, ...], str]]] = {
    "tensorboard": (("tensorboard",), "'autowu[tensorboard]'"),
    "wandb": (("wandb",), "wandb"),
    "mlflow": (("mlflow",), "mlflow"),
}
"""The module that a logger needs, and what pip installs for it."""


class Sink(Protocol):
    """One logger."""

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Log events, and see to it that they stay if the process is killed."""
        ...

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """The run's metrics, at its end."""
        ...

    def close(self) -> None:
        """Let go; of a run that has not finished, it may go on later."""
        ...


@dataclass
class Told:
    """What a logger knows of a run already."""

    step: int = 0
    """Updates whose steps, tests and switch it has been told."""
    evaluation: int = 0
    """Updates whose evaluation it has been told; it comes after the rest."""
    run: str | None = None
    """What the logger itself calls the run."""

    def news(self, events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of ``events`` that it has not been told."""
        return [event for event in events if event["step"] > self._until(event)]

    def _until(self, event: Mapping[str, Any]) -> int:
        return self.evaluation if event["event"] in EVALUATION else self.step

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take note that it has been told ``events``."""
        for event in events:
            if event["event"] in EVALUATION:
                self.evaluation = max(self.evaluation, event["step"])
            else:
                self.step = max(self.step, event["step"])


def check(names: Sequence[Logger]) -> None:
    """See that what the loggers need is installed, before anything is written.

    Raises:
        UserError: naming the package that is missing.
    """
    for name in names:
        modules, package = INSTALL[name]
        if any(find_spec(module) is None for module in modules):
            raise UserError(f"--logger {name} needs a package that is not installed: pip install {package}")


class Loggers:
    """All loggers of a run.

    One that fails in the middle of a run is left behind, with a warning: the run goes on, and a resume tells
    it the rest.

    Args:
        names: of the loggers.
        folder: the run folder.
        about: the run's settings and machine, as ``run.json`` has them.
        writes: whether this process, the first, is the one that logs; the others only call along.
        resumes: whether the run goes on; if not, what an earlier one left is removed.

    Raises:
        UserError: a logger cannot be had.
    """

    def __init__(
        self,
        names: Sequence[Logger],
        folder: Path,
        about: Mapping[str, Any],
        *,
        writes: bool = True,
        resumes: bool = False,
    ) -> None:
        self._folder = folder
        self._told = _read(folder) if resumes and writes else {}
        self._sinks: dict[str, Sink] = {}
        if writes and not resumes:
            _discard(folder)
        for name in names if writes else ():
            told = self._told.setdefault(name, Told())
            self._sinks[name] = _open(name, folder, about, told)
        self.write(list(_logged(folder)) if self._sinks else [])

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Hand on events that are new to a logger."""
        for name in list(self._sinks):
            if news := self._told[name].news(events):
                self._call(name, lambda sink, news=news: sink.write(news))
                if name in self._sinks:
                    self._told[name].add(news)
                    self._keep()

    def _call(self, name: str, act: Callable[[Sink], None]) -> None:
        try:
            act(self._sinks[name])
        except Exception as error:  # a server that is away is no reason to lose a run
            del self._sinks[name]
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"--logger {name} has failed, and the run goes on without it: {reason}", file=sys.stderr)

    def _keep(self) -> None:
        path = self._folder / "loggers.json"
        draft = path.with_suffix(".json.tmp")
        draft.write_text(json.dumps({name: vars(told) for name, told in self._told.items()}) + "\n")
        os.replace(draft, path)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """The end of the run."""
        for name in list(self._sinks):
            self._call(name, lambda sink: sink.finish(metrics))

    def close(self) -> None:
        """Let go of all of them."""
        for name in list(self._sinks):
            self._call(name, lambda sink: sink.close())


def _open(name: str, folder: Path, about: Mapping[str, Any], told: Told) -> Sink:
    from autowu.train import logger_sinks

    makers: dict[str, Callable[[Path, Mapping[str, Any], Told], Sink]] = {
        "tensorboard": logger_sinks.TensorBoard,
        "wandb": logger_sinks.WeightsAndBiases,
        "mlflow": logger_sinks.MLflow,
    }
    try:
        return makers[name](folder, about, told)
    except Exception as error:  # each has its own kinds: no account, no network, a server that refuses
        reason = " ".join(str(error).split()) or type(error).__name__
        hint = " (without an account or a network: WANDB_MODE=offline)" if name == "wandb" else ""
        raise UserError(f"--logger {name}: {reason}{hint}") from error


def _read(folder: Path) -> dict[str, Told]:
    path = folder / "loggers.json"
    try:
        content = cast("dict[str, dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
        return {name: Told(**told) for name, told in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read, so loggers would be told twice: {error}") from error


def _discard(folder: Path) -> None:
    (folder / "loggers.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _logged(folder: Path) -> Iterator[dict[str, Any]]:
    """What the log has so far."""
    with open(folder / "log.jsonl", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
