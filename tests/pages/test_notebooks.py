"""The notebooks in examples/ run from top to bottom, and show what they print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from pages import blocks

EXAMPLES = blocks.ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

if not EXAMPLES.exists():
    pytest.skip("an archive of the sources leaves the examples out", allow_module_level=True)


def cells(path: Path) -> list[dict[str, Any]]:
    """The cells of code."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed(cell: dict[str, Any]) -> str | None:
    """What a cell shows as its standard output."""
    texts = ["".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream"]
    return "".join(texts) if texts else None


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first_run", "range_test"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_was_run_from_top_to_bottom(path: Path) -> None:
    assert [cell["execution_count"] for cell in cells(path)] == list(range(1, len(cells(path)) + 1))
    outputs = [output for cell in cells(path) for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"display_data", "execute_result", "stream"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}  # no warnings


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_prints_what_it_shows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib.pyplot

    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    found = [
        blocks.Block("".join(cell["source"]), f"{path.name}:{number}", printed(cell))
        for number, cell in enumerate(cells(path), 1)
    ]
    blocks.run(found, {})
    matplotlib.pyplot.close("all")


def test_both_and_the_tutorial_show_one_run() -> None:
    """It is the same network with the same seed, so a new default renews all three or none."""
    tutorial = (blocks.ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    first, second = ("".join(printed(cell) or "" for cell in cells(path)) for path in NOTEBOOKS)
    ((found, peak, switch),) = re.findall(r"(?m)^(peak LR (\S+), after (\d+) of \d+ updates: \w+)$", first)
    (put_back,) = re.findall(r"(?m)^weights of update \d+ were put back", first)
    (right,) = re.findall(r"(?m)^.* of the test images are read right$", first)
    assert [line for line in (found, put_back, right) if f"\n{line}" not in tutorial] == []
    assert f"\npeak LR {peak}\n" in second
    assert f"\npatience 3: switch at {switch}, peak LR {peak}\n" in second
