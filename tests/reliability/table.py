"""Write the tables of docs/reliability.md from pytest's reports of the full run; nothing is typed by hand.

    pytest tests/reliability -m full --junitxml=runs/reliability.xml
    python -m tests.reliability.table runs/reliability.xml

A report of some of the tests replaces their rows, and leaves the others; without a report, rows of tests that
are new or gone are added or dropped.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE, RESULTS = DOCS / "reliability.md", DOCS / "reliability.json"
ALL = re.compile(r"\[(.*-)?all(-.*)?\]$")  # the id of a test with all of its trials

Row = dict[str, Any]


def promised() -> dict[str, tuple[str, str]]:
    """Each test that shows a promise, 'file::function' -> the fault and what happens; read, not imported."""
    found: dict[str, tuple[str, str]] = {}
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            for made in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(made, ast.Call) and ast.unparse(made.func) == "promise":
                    fault, must = map(ast.literal_eval, made.args)
                    found[f"{file.name}::{node.name}"] = fault, must
    return found


def rows_of(report: Path) -> dict[str, Row]:
    """The rows of a report: a test's name -> its row. What was skipped has none."""
    found: dict[str, Row] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        said = {node.attrib["name"]: node.attrib["value"] for node in case.iter("property")}
        if "fault" not in said or not ALL.search(case.attrib["name"]) or case.find("skipped") is not None:
            continue
        failed = case.find("failure") is not None or case.find("error") is not None
        name = f"{case.attrib['classname'].rpartition('.')[2]}.py::{case.attrib['name']}"
        found[name] = {key: said[key] for key in ("fault", "must", "unit")} | {
            "count": int(said["count"]),
            "result": "FAILED" if failed else "held",
            "notes": {key[6:]: value for key, value in said.items() if key.startswith("note: ")},
        }
    return found


def render(rows: dict[str, Row]) -> str:
    """The table: a row for each test, also for those that have not been tried in full yet."""
    lines = ["| What goes wrong, or comes in | What happens | Tried | Result | Test |", "|---" * 5 + "|"]
    tried = {name.partition("[")[0] for name in rows}
    yet = {
        name: {"fault": fault, "must": must, "result": "not tried in full yet"}
        for name, (fault, must) in promised().items()
        if name not in tried
    }
    for name, row in sorted((rows | yet).items()):
        notes = "".join(f"; {key}: {value}" for key, value in row.get("notes", {}).items())
        count = f"{row['count']:,} {row['unit']}" if "count" in row else "–"
        cells = [row["fault"], row["must"], count, row["result"] + notes, f"`{short(name)}`"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def short(name: str) -> str:
    """Without the id of the count: 'test_x.py::test_y[4]'."""
    file, test = name.split("::")
    function, _, ids = test.partition("[")
    kept = [part for part in ids.rstrip("]").split("-") if part not in ("all", "")]
    return f"{file}::{function}" + (f"[{'-'.join(kept)}]" if kept else "")


def put(page: str, table: str) -> str:
    """``page`` with ``table`` between its marks."""
    begin, end = "<!-- table: written by tests/reliability/table.py -->", "<!-- end of table -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"


def main(reports: list[str]) -> None:
    """Take in the reports, and write both files."""
    rows: dict[str, Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for report in reports:
        rows |= rows_of(Path(report))
    rows = {name: rows[name] for name in sorted(rows) if name.partition("[")[0] in promised()}
    RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(put(PAGE.read_text(), render(rows)))
    print(f"{len(rows)} rows, {sum(row['result'] != 'held' for row in rows.values())} of them not held")


if __name__ == "__main__":
    main(sys.argv[1:])
