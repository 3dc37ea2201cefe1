"""What a run folder holds of before: whether a run may begin there, or go on, and from where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from autowu.errors import UserError
from autowu.train.checkpoints import checkpoint
from autowu.train.data.task import Task
from autowu.train.optimizers import table
from autowu.train.output.progress import updates
from autowu.train.settings import paths
from autowu.train.settings.options import AUTOWU, OwnSchedule, Settings, flag

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FREE: Final = frozenset({"out", "data", "data_dir", "workers", "checkpoint_every", "logger", "max_time"})
"""What a run may change when it goes on: none of it enters the computation."""
LENGTHS: Final = frozenset({"epochs", "steps"})
"""What AutoWU may also change."""
KNOWN: Final = {"data": "data set (its fingerprint)", "processes": "number of processes"}
"""What is no setting, and yet to be the same."""


def finished(settings: Settings, *, resume: bool) -> dict[str, Any]:
    """The metrics of the run in the run folder if it has finished and is to be resumed; else nothing.

    Raises:
        UserError: the folder holds a run, and ``resume`` was not asked for; or it has finished with other
            settings.
    """
    folder = settings.folder
    before = paths.check_folder(folder, resume=resume)
    if before is None:
        return {}
    if resume:
        if before.get("status") != "finished":
            return {}
        _check_finished(folder, before, settings)
        return before["metrics"]
    if checkpoint.newest(folder)[0] is not None:
        raise UserError(
            f"{folder} holds an unfinished run: --resume goes on with it, or choose another --out"
        )
    return {}


def _check_finished(folder: Path, before: Mapping[str, Any], settings: Settings) -> None:
    """See that a finished run is the one that was asked for."""
    now = json.loads(json.dumps(asdict(settings)))  # as run.json has it: lists for tuples
    was, name = before["config"], now["schedule"]
    checkpoint.check_same(_computed(was, name), _computed(now, name), _name)
    if (its := _length(was)) != (asked := _length(now)):
        raise UserError(
            f"{folder} holds a finished run of {updates(before['metrics']['steps'])} ({its}; now"
            f" {asked}), whose LR has fallen to 0: --resume makes a run longer that still goes on. Choose"
            " another --out"
        )
    # A file may have been moved, but one of another name is other data.
    its, asked = str(was.get("data")), str(now["data"])
    if Path(its).name != Path(asked).name:
        raise UserError(f"{folder} holds a finished run of --data {its}, not {asked}: choose another --out")


def still_free(settings: Settings, *, resume: bool) -> None:
    """Look once more, now that no other process can write to the run folder.

    Raises:
        UserError: another one has had a run there meanwhile.
    """
    if finished(settings, resume=resume):
        raise UserError(f"another process has finished the run in {settings.folder}")


def last_checkpoint(folder: Path, about: dict[str, Any], fabric: Fabric) -> checkpoint.Manifest | None:
    """The checkpoint to go on from, as the first process finds it.

    Raises:
        UserError: it is of a run with other settings, data or processes.
    """
    found, damaged, problem = None, [], None
    if fabric.is_global_zero:
        checkpoint.discard_drafts(folder)
        try:
            found, damaged = _usable(folder, about)
        except UserError as error:
            problem = str(error)
    found, damaged, problem = fabric.broadcast((found, damaged, problem))
    if problem:
        raise UserError(problem)
    if fabric.is_global_zero:
        for damage in damaged:
            print(
                f"the checkpoint {damage.path.name} is damaged ({damage.reason}); going on from an older one"
            )
    return found


def _usable(
    folder: Path, about: Mapping[str, Any]
) -> tuple[checkpoint.Manifest | None, list[checkpoint.Damage]]:
    """The newest checkpoint that is whole, and the damaged ones after it.

    Raises:
        UserError: it is of another run than ``about``, or none is whole.
    """
    found, damaged = checkpoint.newest(folder)
    if found is not None:
        was = {name: value for name, value in found.about.items() if name not in KNOWN}
        same = {name: found.about.get(name) for name in KNOWN if name in about}
        name = about["schedule"]
        checkpoint.check_same(_resolved(was, name) | same, _resolved(about, name), _name)
    elif damaged:
        raise UserError(f"no checkpoint in {folder} can be used: {damaged[0].path.name}: {damaged[0].reason}")
    return found, damaged


def refusal(settings: Settings, *, resume: bool) -> str | None:
    """Why `autowu train` would not train in the run folder, as far as is known without the data; or None."""
    try:
        if finished(settings, resume=resume):
            return f"{settings.folder} holds a finished run: --resume has nothing to do"
        if resume:
            _usable(settings.folder, _computed(asdict(settings), settings.schedule))
    except UserError as error:
        return str(error)
    return None


def about(settings: Settings, task: Task, processes: int) -> dict[str, Any]:
    """What a checkpoint has to have in common with the run that goes on from it."""
    own = {name: value for name, value in asdict(settings).items() if name not in _free(settings.schedule)}
    return own | {"data": task.fingerprint, "processes": processes}


def _free(schedule: str) -> frozenset[str]:
    return FREE | LENGTHS if schedule in AUTOWU else FREE


def _computed(config: Mapping[str, Any], schedule: str) -> dict[str, Any]:
    """The settings that enter the computation of all updates alike, their defaults spelled out."""
    own = {name: value for name, value in config.items() if name not in _free(schedule)}
    return _resolved(own, schedule)


def _resolved(config: Mapping[str, Any], schedule: str) -> dict[str, Any]:
    """``config`` with the optimizer's defaults for what it leaves open: they may be given as flags, too."""
    optimizer = config.get("optimizer")
    if schedule not in get_args(OwnSchedule) or optimizer not in table.WEIGHT_DECAY:
        return dict(config)
    known: dict[str, Any] = {"weight_decay": table.WEIGHT_DECAY[optimizer]}
    if schedule not in AUTOWU:
        known["lr"] = table.BASE_LR[optimizer]
    return {**config, **{name: value for name, value in known.items() if config.get(name) is None}}


def _length(config: Mapping[str, Any]) -> str:
    """Of the run, as it was asked for."""
    given = [f"{flag(name)} {config[name]}" for name in sorted(LENGTHS) if config.get(name) is not None]
    return " and ".join(given) or "no length"


def _name(key: str) -> str:
    return KNOWN.get(key, flag(key))
