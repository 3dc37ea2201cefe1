"""The notebooks in examples/ run from top to bottom, and show what they print."""

from __future__ import annotations

import json
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
