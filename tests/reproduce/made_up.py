"""Results that nobody has trained."""

from pathlib import Path

from autowu.reproduce import plan, results
from autowu.reproduce.cells import Cell
from autowu.reproduce.plan import Job
from autowu.reproduce.results import Result
from autowu.reproduce.scales import Scale
from report import simulated

COMMIT = "0123456789ab"


def job(cell: Cell, scale: Scale) -> Job:
    return plan.job(cell, scale, {})


def finished(of: Job, accuracy: float, peak: float | None = 0.01, commit: str = COMMIT) -> Result:
    """A line for a cell, its accuracy in %."""
    return Result(
        cell=of.cell.name,
        key=of.key,
        scale=of.scale.name,
        command="autowu train",
        commit=commit,
        versions={"torch": "2.13.0"},
        machine={"device": "cpu"},
        seconds=36.0,
        metrics={"test_accuracy": accuracy / 100, "peak_lr": peak},
    )


def line(of: Result) -> str:
    """As it stands in the file."""
    import json

    return json.dumps({name: getattr(of, name) for name in results.KEYS}) + "\n"


def trained(of: Job, runs: Path, status: str = "finished") -> Path:
    """A run folder for a cell."""
    folder = runs / of.folder
    make = simulated.baseline if of.cell.schedule.settings["schedule"] == "baseline" else simulated.autowu
    return make(folder, status=status)
