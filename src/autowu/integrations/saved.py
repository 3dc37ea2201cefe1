"""What a saved state must have in common with the run that goes on from it; for every host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np

from autowu.arrays import Array
from autowu.config import Config, nearest_preset


def check_keys(saved: object, *names: str) -> None:
    """``saved`` may be anything; it must be a mapping that has ``names``, as every state of AutoWU does.

    Raises:
        ValueError: it is something else, such as an optimizer's state; the message names the keys it has.
    """
    if not isinstance(saved, Mapping):
        raise ValueError(f"this is not a state of AutoWU, which is a mapping: {saved!r:.80}")
    mapping = cast("Mapping[object, object]", saved)
    lacking = " and ".join(repr(name) for name in names if name not in mapping)
    if lacking:
        keys = [f"{key!r:.40}" for key in mapping]
        its = ", ".join([*keys[:4], "…"] if len(keys) > 4 else keys) or "none"
        raise ValueError(f"this is not a state of AutoWU: it lacks {lacking}; its keys are {its}")


def check_origin(saved: Mapping[str, Any], version: int, config: Config) -> Config:
    """``saved`` may be anything; its 'version' and 'config' must be these, but for the length of the run.

    Returns:
        The configuration that the run began with: what its warm-up took its length from.

    Raises:
        ValueError: they are missing, or others; the message names what differs.
        LookupError, TypeError: they are not what they should be.
    """
    check_keys(saved, "version", "config")
    if saved["version"] != version:
        raise ValueError(f"the state of AutoWU has version {saved['version']!r}, this is {version}")
    there, here = dict(saved["config"]), asdict(config)
    for name in sorted(there.keys() | here.keys()):
        if name == "total_steps" and here[name] is not None and name in there:
            continue  # another end is what `extend` is for
        if name not in there or name not in here or there[name] != here[name]:
            mine, its = here.get(name, "unknown"), there.get(name, "missing")
            preset, other = nearest_preset(here), nearest_preset(there)
            first = "" if preset == other else f"the preset differs, {preset!r} here, but {other!r} there: "
            raise ValueError(f"{first}{name} is {mine!r} here, but {its!r} in the saved state")
    return replace(config, total_steps=there["total_steps"])


def check_count(saved: Mapping[str, Any], name: str) -> None:
    """``saved[name]`` must be a plain integer ≥ 0.

    Raises:
        ValueError: it is not.
    """
    if type(saved[name]) is not int or saved[name] < 0:
        raise ValueError(f"{name} of the saved state must be an integer ≥ 0, not {saved[name]!r:.80}")


def numbers_of(schedule: Mapping[str, Any], name: str) -> list[float]:
    """The list that was saved as an array of this name.

    Raises:
        LookupError, ValueError: it is missing, or no vector.
    """
    value = schedule[name]
    if not isinstance(value, np.ndarray) or value.ndim != 1:
        raise ValueError(f"{name!r} of the saved state must be an array, not {value!r:.80}")
    return cast("Array", value).tolist()


def names_of(schedule: Mapping[str, Any], name: str) -> list[str]:
    """The list of names that was saved by this one.

    Raises:
        LookupError, ValueError: it is missing, or no such list.
    """
    value = schedule[name]
    if not isinstance(value, list) or not all(type(item) is str for item in cast("list[Any]", value)):
        raise ValueError(f"{name!r} of the saved state must be a list of names, not {value!r:.80}")
    return cast("list[str]", value)


def to_array(plain: dict[str, Any]) -> Any:
    """What JSON made of an array, as one again; anything else as it is."""
    return np.array(plain["array"], np.float64) if plain.keys() == {"array"} else plain
