"""What the runs were told and what they ran on, side by side; and the command that repeats each."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final, cast

from autowu.runlog.run import Run, printable

NOTHING: Final = "–"
EMBEDDED: Final = "digits"  # a data set that comes with the package: nothing is loaded, cropped or cached
ADAPTIVE: Final = ("autowu", "paper")  # schedules that are told no LR
LONGEST: Final = 120  # characters of a value
MOST_ROWS: Final = 150  # settings of one group

GROUPS: Final = {
    "training": "config",
    "schedule": "schedule",
    "versions": "versions",
    "machine": "machine",
}
"""What a group is called, and the attribute of Run that holds it."""


def table(runs: Sequence[Run]) -> str:
    """All settings as HTML, a column for each run; rows in which runs differ are marked."""
    head = "".join(f'<th scope="col">{escape(run.name)}</th>' for run in runs)
    body = "".join(_group(name, [getattr(run, at) for run in runs]) for name, at in GROUPS.items())
    if not body:
        return ""
    differ = (
        '<p>Settings in which the runs differ are marked with <span class="differs">≠</span>.</p>'
        if len(runs) > 1
        else ""
    )
    rows = f'<table>\n<thead><tr><th scope="col">setting</th>{head}</tr></thead>\n{body}</table>'
    return f'{differ}\n<div class="settings">{rows}</div>'


def _group(name: str, settings: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for each in settings for key in each))[:MOST_ROWS]
    if not keys:
        return ""
    cells = f'<th scope="rowgroup" colspan="{len(settings) + 1}">{name}</th>'
    rows = "".join(_row(key, [shown(each.get(key)) for each in settings]) for key in keys)
    return f"<tbody><tr>{cells}</tr>\n{rows}</tbody>\n"


def _row(key: str, values: Sequence[str]) -> str:
    differs = len(set(values)) > 1
    mark = '<span class="differs">≠</span> ' if differs else ""
    cells = "".join(f"<td>{escape(value)}</td>" for value in values)
    kind = ' class="differing"' if differs else ""
    return f'<tr{kind}><th scope="row">{mark}{escape(shown(key))}</th>{cells}</tr>\n'


def shown(value: object) -> str:
    """A value on one line, of bearable length."""
    text = NOTHING if value is None else printable(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def command(run: Run) -> str | None:
    """The command line that repeats ``run``; None where it is not known.

    Every flag that has to do with the run is named, also where it had its default, so that it holds for
    versions with other defaults.
    """
    if run.command is not None or run.host is not None:
        return run.command
    flags = " ".join(_flags(_relevant(run)))
    return f"autowu train {flags}" if flags else None


def _words(line: str) -> list[str]:
    try:
        return [shlex.quote(word) for word in shlex.split(line)]
    except ValueError:  # a log of others may hold any text: a quotation without an end
        return [line]


def _relevant(run: Run) -> Mapping[str, Any]:
    """The settings without those that such a run does not look at."""
    config = run.config
    data, optimizer, schedule = (config.get(name) for name in ("data", "optimizer", "schedule"))
    idle = set[str]()
    if run.samples == "images":
        idle |= {"tokens", "context"}
    if data == EMBEDDED:
        idle |= {"data_dir", "workers", "image_size"}
    if optimizer is not None and optimizer != "lamb":
        idle.add("lamb_clip")
    if schedule in ADAPTIVE:
        idle |= {"lr", "warmup_epochs", "warmup_steps"}
    if config.get("accelerator") == "cpu":
        idle.add("channels_last")
    if config.get("nodes") == 1:
        idle.add("nodes")
    return {name: value for name, value in config.items() if name not in idle}


def _flags(config: Mapping[str, Any]) -> Iterable[str]:
    for name, value in config.items():
        flag = f"--{name.replace('_', '-')}"
        if value is None or value is False or value in ([], {}):
            continue
        if name in ("out", "resume") or not re.fullmatch(r"[a-z_]+", name):
            continue
        if isinstance(value, Mapping):  # of --set FIELD=VALUE
            for key, item in cast("Mapping[str, Any]", value).items():
                yield f"{flag} {shlex.quote(printable(f'{key}={json.dumps(item)}'))}"
        elif isinstance(value, list):
            yield f"{flag} {shlex.quote(printable(','.join(map(str, cast('list[Any]', value)))))}"
        else:
            yield flag if value is True else f"{flag} {shlex.quote(printable(value))}"


def reproduce(runs: Sequence[Run]) -> str:
    """The commands as HTML, and what has to be the same for bit-identical losses."""
    parts = list[str]()
    for run in runs:
        line = command(run)
        if line is None:
            continue
        versions = ", ".join(f"{shown(name)} {shown(value)}" for name, value in run.versions.items())
        on = f'<span class="with">{escape(versions)}</span>' if versions else ""
        # A browser breaks a line after a hyphen; a flag stays whole, and so does what was quoted.
        words = " ".join(f"<span>{escape(word)}</span>" for word in _words(line))
        parts.append(f"<dt>{escape(run.name)}</dt>\n<dd><code>{words}</code>{on}</dd>\n")
    return f"<dl>\n{''.join(parts)}</dl>" if parts else ""
