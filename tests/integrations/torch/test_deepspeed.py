"""DeepSpeed itself, where it is installed: its engine steps AutoWU, and saves and loads it, on the CPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import limits

# In a process of its own: DeepSpeed changes settings of the one that imports it.
SCRIPT = Path(__file__).with_name("deepspeed_run.py")
KINDS = [(0, "fp32"), (1, "fp32"), (2, "bf16"), (1, "bf16 with gradients in fp32")]


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs DeepSpeed")
@pytest.mark.full
@pytest.mark.parametrize(("stage", "precision"), KINDS)
def test_the_engine_drives_rewinds_saves_and_loads(stage, precision, tmp_path):
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    run = subprocess.run(
        [sys.executable, SCRIPT, str(stage), precision, tmp_path],
        env={**os.environ, **alone, "MASTER_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=limits.HANG,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "all as it should be" in run.stdout
