"""Each block of Python in the page and the docstrings of a host runs, in a process of the host's own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import limits

pytest.importorskip("torch")

from pages import before, blocks

if not (blocks.ROOT / "docs").exists():
    pytest.skip("an archive of the sources leaves the pages out", allow_module_level=True)


@pytest.mark.parametrize("package", before.HOSTS)
def test_blocks_of_a_host_run(package: str, tmp_path: Path) -> None:
    if not find_spec(package):
        pytest.skip(f"needs {package}")
    path = os.pathsep.join([str(blocks.ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, "-m", "pages.run", package],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        text=True,
        timeout=limits.HANG,
    )
    assert process.returncode == 0, process.stderr
