"""The tables of docs/reproduction.md are those of the records."""

import pytest
from experiments import reproduction

from autowu.reproduce.scales import MINI


def test_the_page_has_the_tables_of_the_records() -> None:
    text = reproduction.PAGE.read_text(encoding="utf-8")
    assert reproduction.filled(text) == text


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(SystemExit, match="has 0 places for the table 'state', not one"):
        reproduction.filled("# The paper's tables and figures\n")


def test_every_record_is_of_a_cell_of_today() -> None:
    """A line whose settings have changed since would silently be no part of any table."""
    known = {(job.cell.name, job.key) for target in reproduction.WHOLE for job in reproduction.jobs(target)}
    lines = reproduction.results.read(reproduction.RECORDS, MINI.name, commit=None)
    assert lines
    assert {(line.cell, line.key) for line in lines} <= known
