"""Fill the tables of the pages on quality from the records, and draw their pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import marked
from benchmarks.quality import pictures, records, tables
from benchmarks.quality.budgets import curve
from benchmarks.quality.evidence import table as evidence
from benchmarks.quality.kinds import table as kinds
from benchmarks.quality.rent import hard
from benchmarks.quality.rent import table as rent
from benchmarks.quality.suites import SUITES

DOCS: Final = Path(__file__).parents[2] / "docs"

PAGES: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "quality.md": {"claim": evidence.claim, "searches": evidence.searches},
    "quality-study.md": {
        "workloads": tables.workloads,
        "search": tables.search,
        "compare": tables.compare,
        "paired": tables.paired,
        "suites": evidence.by_suite,
        "budgets": curve.table,
        "target": evidence.to_target,
        "costs": tables.costs,
        "exchange": tables.exchange,
        "longest": lambda: tables.compare(SUITES["longest"]),
        "lengths": tables.lengths,
    },
    "quality-ablations.md": {"ablations": tables.ablations, "mistakes": tables.mistakes},
    "quality-tried.md": {
        "long": lambda: tables.ablations(SUITES["pilot"]),
        "probe": lambda: tables.ablations(SUITES["probe"]),
    },
    "quality-kinds.md": {
        "kinds": lambda: kinds.scores(records.lines(kinds.RESULTS)),
        "against": lambda: kinds.against(records.lines(kinds.RESULTS)),
    },
    "quality-rules.md": {
        "rules": lambda: rent.write(records.lines(rent.RESULTS)),
        "faults": lambda: rent.spoiled(records.lines(rent.RESULTS)),
        "hard": lambda: hard.write(records.lines(hard.RESULTS)),
    },
    "quality-large.md": {"large": lambda: tables.compare(SUITES["large"])},
}
"""Page -> its tables: what stands between ``<!-- table: NAME -->`` and ``<!-- end -->``."""


def write() -> None:
    """Replace every table, and write the pictures."""
    for name in PAGES:
        page = DOCS / name
        page.write_text(filled(name, page.read_text(encoding="utf-8")), encoding="utf-8")
    pictures.write(DOCS / "images")


def filled(page: str, text: str) -> str:
    """``text`` with the tables of ``page``."""
    return marked.filled(page, text, PAGES[page])
