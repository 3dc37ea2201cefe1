"""The format of a run folder, for all that write one: `run.json`, and `log.jsonl` with one line per event."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from autowu.controller.state import Cut, End, Switch
from autowu.detector.detect import Verdict

ABOUT: Final = "run.json"
LOG: Final = "log.jsonl"

Event: TypeAlias = dict[str, Any]

_encode = json.JSONEncoder(allow_nan=False).encode

_TEST: Final = (
    *("step", "start", "p_min", "detected", "argmin", "argmins", "t_star"),
    *("streak", "no_evidence", "noise"),
)


def step_event(step: int, loss: float | None, lr: float, phase: str, **more: Any) -> Event:
    """One update: ``step`` counts it, ``loss``, ``lr`` and ``phase`` are what it saw."""
    return {"event": "step", "step": step, **more, "loss": loss, "lr": lr, "phase": phase}


def verdict_event(verdict: Verdict) -> Event:
    """One test for a minimum."""
    curve = {name: None if (v := getattr(verdict, name)) is None else v.tolist() for name in ("mean", "sd")}
    return {"event": "test"} | {name: getattr(verdict, name) for name in _TEST} | curve


def switch_event(switch: Switch) -> Event:
    """The end of AutoWU's warm-up."""
    return {"event": "switch"} | asdict(switch)


def cut_event(cut: Cut) -> Event:
    """A change of the LR in AutoWU's decay phase."""
    return {"event": "cut"} | asdict(cut)


def end_event(end: End) -> Event:
    """An end of the run that was set while it went on."""
    return {"event": "end"} | asdict(end)


def to_lines(events: Iterable[Mapping[str, Any]]) -> bytes:
    """One line for each event."""
    return b"".join(map(to_line, events))


def to_line(event: Mapping[str, Any]) -> bytes:
    """The line of an event."""
    try:
        text = _encode(event)
    except (ValueError, TypeError):  # a number that is not finite, or a mapping that is no dict
        text = _encode(_strict(event))
    return f"{text}\n".encode()


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write ``run.json``: whoever reads it finds the old file or the new one, never a part of one.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / ABOUT
    draft = path.with_suffix(".json.tmp")
    try:
        draft.write_text(json.dumps(_strict(about), indent=2) + "\n", encoding="utf-8")
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):  # the first error is what is told
            draft.unlink(missing_ok=True)  # a disk that is full leaves an empty one
        raise


def outcome(switch: Switch | None) -> dict[str, Any]:
    """What the metrics of ``run.json`` say of the end of warm-up."""
    return {
        "peak_lr": switch.peak_lr if switch else None,
        "switch_step": switch.step if switch else None,
        "capped": switch.capped if switch else None,
        "t_star": switch.t_star if switch else None,
        "rewound_to": switch.rewound_to if switch else None,
    }


def versions(*packages: str) -> dict[str, str]:
    """Of Python, autowu, and those ``packages`` that are installed."""
    here: Any = sys.modules["autowu"]  # not imported: the package itself is above this room
    found = {"python": platform.python_version(), "autowu": here.__version__}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run computes on, as far as Python knows."""
    return {
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
    }


def _strict(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in cast("Sequence[Any]", value)]
    return value
