"""What each logger does with events; :class:`Loggers` sees to it that none comes twice."""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from autowu.report.tensorboard import Writer, scalars
from autowu.train.output.loggers.told import Told

PROJECT: Final = "autowu"
MOST_METRICS: Final = 1000  # in one call of MLflow's
LONGEST_PARAMETER: Final = 500  # characters that every one of MLflow's stores takes


class TensorBoard:
    """Event files in the folder ``tensorboard`` of the run folder."""

    def __init__(self, folder: Path, about: Mapping[str, Any], told: Told) -> None:
        self._writer = Writer(folder / "tensorboard")

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Log events."""
        for event in events:
            self._writer.add(event)
        self._writer.flush()

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """All has been said."""

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the project that ``WANDB_PROJECT`` names, by default 'autowu'; wandb's own settings hold."""

    def __init__(self, folder: Path, about: Mapping[str, Any], told: Told) -> None:
        wandb: Any = import_module("wandb")
        told.run = told.run or uuid.uuid4().hex[:12]
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=told.run,
            name=os.environ.get("WANDB_NAME", folder.resolve().name),
            dir=str(folder),
            resume="allow",
            config={key: about[key] for key in ("config", "schedule", "versions", "machine")},
        )

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Log events, those of one step together, as it wants them."""
        for step, together in groupby(events, key=lambda event: event["step"]):
            values: dict[str, Any] = {}
            for event in together:
                values |= dict(named(event))
                if event["event"] == "switch":
                    self._run.summary.update({f"switch/{key}": value for key, value in event.items()})
            self._run.log(values, step=step)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """What came out goes into the run's summary."""
        self._run.summary.update(dict(metrics))

    def close(self) -> None:
        """End the run, or this part of it."""
        self._run.finish()


class MLflow:
    """A run of the experiment that ``MLFLOW_EXPERIMENT_NAME`` names, by default 'autowu'.

    It goes where ``MLFLOW_TRACKING_URI`` says, or else to MLflow's default place.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], told: Told) -> None:
        mlflow: Any = import_module("mlflow")
        self._metric: Any = mlflow.entities.Metric
        self._client: Any = mlflow.MlflowClient()
        if told.run is not None:
            self._client.update_run(told.run, "RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(name)
            experiment = self._client.create_experiment(name) if found is None else found.experiment_id
            told.run = str(self._client.create_run(experiment, run_name=folder.resolve().name).info.run_id)
            for key, value in {**about["config"], **about["schedule"]}.items():
                self._client.log_param(told.run, key, str(value)[:LONGEST_PARAMETER])
        self._run, self._finished = told.run, False

    def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Log events."""
        now = int(1000 * time.time())
        metrics = [
            self._metric(name, value, now, event["step"]) for event in events for name, value in named(event)
        ]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run, metrics[first : first + MOST_METRICS])
        for event in events:
            if event["event"] == "switch":
                self._client.set_tag(self._run, "switch", f"step {event['step']}, LR {event['peak_lr']:.4g}")

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """What came out becomes tags, which show beside the run."""
        for key, value in metrics.items():
            self._client.set_tag(self._run, key, str(value))
        self._finished = True

    def close(self) -> None:
        """End the run; one that may be resumed is marked as stopped."""
        self._client.set_terminated(self._run, "FINISHED" if self._finished else "KILLED")


def named(event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """An event's values, by names that all loggers take; values that are not finite are left out."""
    for tag, value in scalars(event):
        if math.isfinite(value):
            yield tag.replace(" (0 warm-up, 1 decay)", "").replace(" ", "_"), value
