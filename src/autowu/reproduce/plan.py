"""A cell's settings, its key, its folder and its command."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, NoReturn

from autowu.arguments import Parser
from autowu.errors import UserError
from autowu.reproduce.cells import Cell
from autowu.reproduce.scales import Scale
from autowu.train.settings import arguments, recipes
from autowu.train.settings.options import Settings, flag

OF_MACHINE: Final = (
    *("accelerator", "devices", "nodes", "strategy", "precision", "compile", "channels_last", "threads"),
    *("micro_batch_size", "workers", "checkpoint_every"),
)
"""Flags of the trainer that ``--train`` may give: how a cell is computed."""

OF_DEVIATION: Final = ("weight_decay_on", "lamb_clip", "keep_last_batch")
"""And what the paper leaves open."""

PUBLISHED: Final = {"fit": "published"}
"""And, of the fields of :class:`autowu.Config`, what follows the authors' code: ``--set fit=published``."""

UNKEYED: Final = ("out", "data_dir", "workers", "checkpoint_every", "logger")
"""Settings that do not enter the computation."""


@dataclass(frozen=True)
class Job:
    """A cell at a scale, with what ``--train`` adds.

    Args:
        cell: the cell.
        scale: its scale.
        given: settings of the trainer; ``data`` is the set's name.
    """

    cell: Cell
    scale: Scale
    given: Mapping[str, Any]

    @property
    def set(self) -> str:
        """The name of the data set."""
        return str(self.given["data"])

    def settings(self) -> Settings:
        """All of them, checked.

        Raises:
            UserError: a value is out of range.
        """
        return Settings(**recipes.apply(self.cell.task, self.given))

    @property
    def key(self) -> str:
        """A digest of the settings that are not the trainer's defaults."""
        defaults = {each.name: None if each.default is MISSING else each.default for each in fields(Settings)}
        own = {
            name: value
            for name, value in asdict(self.settings()).items()
            if name not in UNKEYED and value != defaults[name] and value != {}
        }
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """The name of the run folder."""
        return f"{self.cell.name}-{self.key}"

    def command(self, data: str, out: Path | str, data_dir: Path | None = None) -> list[str]:
        """The arguments of ``autowu`` that train the cell, or go on with it.

        Args:
            data: what stands for the set's name.
            out: the run folder.
            data_dir: where torchvision keeps its sets.
        """
        words = ["train", "--recipe", self.cell.task]
        chosen: dict[str, Any] = {**self.given, "data": data, "out": str(out)}
        if data_dir is not None:
            chosen["data_dir"] = str(data_dir)
        for name, value in chosen.items():
            if name == "set":
                words += [f"--set={field}={json.dumps(item)}" for field, item in value.items()]
            elif isinstance(value, bool):
                words.append(flag(name) if value else flag(f"no_{name}"))
            else:
                words += [flag(name), str(value)]
        return [*words, "--resume"]


def job(cell: Cell, scale: Scale, more: Mapping[str, Any]) -> Job:
    """``cell`` at ``scale`` with ``more`` settings; their ``set`` is for the cells of the preset `paper`."""
    own = scale.settings(cell)
    both: dict[str, Any] = dict(own.get("set", {}))
    if own["schedule"] == "paper":
        both |= more.get("set", {})
    rest = {name: value for name, value in more.items() if name != "set"}
    return Job(cell, scale, {**own, **rest, **({"set": both} if both else {})})


def more_settings(text: str) -> dict[str, Any]:
    """What ``--train`` says, checked as the trainer's own flags are.

    Raises:
        UserError: it is none of the flags that a reproduction may have.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    arguments.add_arguments(parser)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--train cannot be read: {error}") from error
    given = vars(parser.parse_args(words))
    if given.get("set", PUBLISHED) != PUBLISHED:
        raise UserError("--train must have no --set but fit=published: the cell has the rest")
    for name in given:
        if name != "set" and name not in OF_MACHINE + OF_DEVIATION:
            allowed = ", ".join([*map(flag, OF_MACHINE + OF_DEVIATION), "--set fit=published"])
            raise UserError(f"--train must be of {allowed}, not {flag(name)}: the cell has the rest")
    return given


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"--train: {message}")
