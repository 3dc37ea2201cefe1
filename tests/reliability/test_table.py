"""The table in docs/reliability.md is what the last full run said, and what was tried held."""

from __future__ import annotations

import json

import pytest

from reliability import table


@pytest.fixture
def rows() -> dict[str, table.Row]:
    return json.loads(table.RESULTS.read_text("utf-8"))


def test_the_table_is_made_from_the_results(rows: dict[str, table.Row]) -> None:
    """If not: `python -m tests.reliability.table`."""
    page = table.PAGE.read_text("utf-8")
    assert table.put(page, table.render(rows)) == page
    assert {name.partition("[")[0] for name in rows} <= table.promised().keys()


def test_what_was_tried_held(rows: dict[str, table.Row]) -> None:
    assert [name for name, row in rows.items() if row["result"] != "held"] == []
    assert all(row["count"] > 0 for row in rows.values())
