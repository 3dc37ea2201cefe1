"""States that are damaged in one place, at any depth."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

REPLACEMENTS = [
    None, True, -1, 7, 2.5, float("nan"), float("inf"), 10**30, 1j, "x", b"x", object(),
    [], {}, (), [1], {"a": 1}, {1: 2},
    np.float64(2), np.zeros(3), np.array("x"), torch.zeros(0), torch.zeros(3), torch.zeros(2, 2),
    torch.tensor(1j), torch.tensor(True), torch.zeros(3, device="meta"), torch.zeros(3).bfloat16(),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutated(state: dict[str, Any], path: tuple[Any, ...], rng: random.Random) -> str:
    """Damage ``state`` at ``path``, and say how."""
    holder = state
    for key in path[:-1]:
        holder = holder[key]
    value = holder[path[-1]]
    kinds = ["delete", "replace", "add"] + ["reshape", "retype"] * isinstance(value, Tensor)
    kind = rng.choice(kinds)
    if kind == "delete":
        del holder[path[-1]]
    elif kind == "add" and isinstance(holder, dict):
        holder[rng.choice([f"{path[-1]}_", 3, None])] = value
    elif kind == "reshape":
        holder[path[-1]] = rng.choice(
            [value.reshape(1, *value.shape), torch.cat([value.reshape(-1), torch.ones(1)])]
        )
    elif kind == "retype":
        holder[path[-1]] = value.to(rng.choice([torch.complex64, torch.bool, torch.int8]))
    else:
        holder[path[-1]] = replacement = rng.choice(REPLACEMENTS)
        kind = f"replace by {replacement!r}"
    return f"{kind} {'/'.join(map(str, path))}"
