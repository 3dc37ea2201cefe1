"""The run folders of the report's tests."""

from report.conftest import autowu_run, baseline_run

__all__ = ["autowu_run", "baseline_run"]
