"""The structure of the page's figures: traces, axes, shapes and words, against what it was.

After a change that is meant, run this file with UPDATE_GOLDEN=1 in the environment, and read the diff.
"""

import json
import os
from pathlib import Path
from typing import Any

from autowu.report import sections
from autowu.runlog import run as runlog
from report import simulated

GOLDEN = Path(__file__).parent / "golden.json"


def outline(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure without its numbers."""
    layout = figure["layout"]
    return {
        "traces": [
            [
                trace["name"],
                trace["mode"],
                trace.get("yaxis", "y"),
                trace.get("line", {}).get("dash"),
                len(trace["x"]),
            ]
            for trace in figure["data"]
        ],
        "axes": {
            name: [axis["title"]["text"], axis.get("type", "linear")]
            for name, axis in layout.items()
            if name.startswith(("xaxis", "yaxis"))
        },
        "shapes": [shape["type"] for shape in layout.get("shapes", [])],
        "words": [note["text"] for note in layout.get("annotations", [])],
        "slider": [step["label"] for slider in layout.get("sliders", []) for step in slider["steps"]],
        "buttons": [button["label"] for menu in layout.get("updatemenus", []) for button in menu["buttons"]],
    }


def test_the_figures_have_the_structure_that_they_had(tmp_path: Path) -> None:
    runs = [runlog.read(make(tmp_path / make.__name__)) for make in (simulated.autowu, simulated.baseline)]
    found = {section.heading: outline(section.figure) for section in sections.sections(runs)}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))
