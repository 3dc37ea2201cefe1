"""The command `autowu` where the shell has closed its output."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that can close streams")


@pytest.mark.parametrize(
    ("words", "closed", "status"),
    [("replay losses.csv", ">&-", 0), ("replay absent.csv", ">&-", 2), ("replay absent.csv", ">&- 2>&-", 2)],
)
def test_closed_streams_are_no_mistake_of_ours(tmp_path: Path, words: str, closed: str, status: int) -> None:
    (tmp_path / "losses.csv").write_text("loss\n3\n2\n1\n", encoding="utf-8")
    command = f"'{sys.executable}' -m autowu {words} {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
