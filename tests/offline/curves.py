"""Loss curves that look like real ones, a way to write them down, and what `autowu replay` prints of them."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autowu import cli


def v_shaped(
    n: int = 300, *, minimum: float = 0.6, noise: float = 0.03, seed: int = 0
) -> NDArray[np.float64]:
    """The loss of a learning rate that grows: flat, then falling to a minimum, then rising."""
    x = np.arange(n) / n
    fall = 1.8 / (1 + np.exp((x - minimum / 2) * 20))
    rise = 6 * np.clip(x - minimum, 0, None) ** 2
    return 0.5 + fall + rise + noise * np.random.default_rng(seed).standard_normal(n)


def write(path: Path, losses: Iterable[float | str], steps: Iterable[int] | None = None) -> str:
    """A CSV file of ``losses``, numbered if there are ``steps``; its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        if steps is None:
            rows.writerow(["loss"])
            rows.writerows([loss] for loss in losses)
        else:
            rows.writerow(["step", "loss"])
            rows.writerows(zip(steps, losses, strict=True))
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(["replay", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def as_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(printed(capsys, *argv, "--json"), parse_constant=refuse)


def words(text: str) -> str:
    return " ".join(text.split())
