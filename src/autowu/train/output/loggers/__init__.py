"""Loggers beside the run folder: TensorBoard, Weights & Biases, MLflow; each is told each event once.

A run that is resumed repeats the updates since its checkpoint, bit for bit. What a logger has been told is
therefore kept in ``loggers.json`` in the run folder, and not told again; what it has not been told (because
it was not asked for before, or the process was killed in between) is read from ``log.jsonl``.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from autowu.errors import UserError
from autowu.extras import install
from autowu.train.output.loggers import told
from autowu.train.output.loggers.told import Told
from autowu.train.settings.options import Logger

INSTALL: Final[dict[Logger, tuple[str, str]]] = {
    "tensorboard": ("tensorboard", install("tensorboard")),
    "wandb": ("wandb", "pip install wandb"),
    "mlflow": ("mlflow", "pip install mlflow"),
}
"""The module that a logger needs, and the command that installs it."""


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


def check(names: Sequence[Logger]) -> None:
    """See that what the loggers need is installed, before anything is written.

    Raises:
        UserError: naming the package that is missing.
    """
    for name in names:
        module, how = INSTALL[name]
        if find_spec(module) is None:
            raise UserError(f"--logger {name} needs a package that is not installed: {how}")


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
        self._told = told.read(folder) if resumes and writes else {}
        self._sinks: dict[str, Sink] = {}
        if writes and not resumes:
            told.discard(folder)
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        for name in names if writes else ():
            known = self._told.setdefault(name, Told())
            self._sinks[name] = _open(name, folder, about, known)
        self.write(list(_logged(folder)) if self._sinks else [])

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Hand on events that are new to a logger."""
        for name in list(self._sinks):
            if news := self._told[name].news(events):
                self._call(name, lambda sink, news=news: sink.write(news))
                if name in self._sinks:
                    self._told[name].add(news)
                    told.keep(self._folder, self._told)

    def _call(self, name: str, act: Callable[[Sink], None]) -> None:
        try:
            act(self._sinks[name])
        except Exception as error:  # a server that is away is no reason to lose a run
            del self._sinks[name]
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"--logger {name} has failed, and the run goes on without it: {reason}", file=sys.stderr)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """The end of the run."""
        for name in list(self._sinks):
            self._call(name, lambda sink: sink.finish(metrics))

    def close(self) -> None:
        """Let go of all of them."""
        for name in list(self._sinks):
            self._call(name, lambda sink: sink.close())


def _open(name: str, folder: Path, about: Mapping[str, Any], known: Told) -> Sink:
    from autowu.train.output.loggers import sinks

    makers: dict[str, Callable[[Path, Mapping[str, Any], Told], Sink]] = {
        "tensorboard": sinks.TensorBoard,
        "wandb": sinks.WeightsAndBiases,
        "mlflow": sinks.MLflow,
    }
    try:
        return makers[name](folder, about, known)
    except Exception as error:  # each has its own kinds: no account, no network, a server that refuses
        reason = " ".join(str(error).split()) or type(error).__name__
        hint = " (without an account or a network: WANDB_MODE=offline)" if name == "wandb" else ""
        raise UserError(f"--logger {name}: {reason}{hint}") from error


def _logged(folder: Path) -> Iterator[dict[str, Any]]:
    """What the log has so far."""
    with open(folder / "log.jsonl", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
