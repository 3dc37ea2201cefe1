"""optax in several JAX processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")
pytest.importorskip("optax")

import numpy as np

import limits
from integrations.contract.contract import core_trace, v_curve


@pytest.mark.full
def test_two_processes_with_one_global_loss_decide_alike_and_go_back() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), *filter(None, [os.environ.get("PYTHONPATH")])])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "integrations.optax_processes", address, str(rank)],
            cwd=tests,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=limits.HANG)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    one, other = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert one == other
    np.testing.assert_array_equal(np.float32(one["lrs"]), np.float32(core_trace(v_curve(120))))
    step, rewound_to = one["switch"]
    after = one["after"]
    assert after[step - 1] == after[rewound_to - 1] != after[step - 2]
