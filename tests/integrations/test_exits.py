"""A plain loop that ends while its LR is high is told of when the interpreter ends."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

import limits
from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.exits import FEW

BEGIN = """
import os, signal, sys
from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.exits import NEWEST
from integrations.test_driver import Model, losses
signal.signal(signal.SIGINT, signal.default_int_handler)  # who began the tests may ignore it
def train(updates, planned=400):
    model = Model(Driver(Config(total_steps=planned)))
    model.train(losses()[:updates])
    return model
"""
ENDS = {
    "the script is over": ("model = train(150)", True),
    "its function is over": ("train(150)", True),
    "sys.exit": ("model = train(150); sys.exit()", True),
    "without a length": ("model = train(150, None)", True),
    "in full": ("model = train(150, 150)", False),
    "a rehearsal": (f"model = train({FEW - 1})", False),
    "another was begun since": ("model = train(150); other = train(150, 150)", False),
    "that of another is seen": ("model = train(150); NEWEST.seen(object())", True),
    "its host sees its end": ("model = train(150); NEWEST.seen(model.driver)", False),
    "an error": ("model = train(150); 1 / 0", False),
    "ctrl-c": ("model = train(150); os.kill(os.getpid(), signal.SIGINT); signal.pause()", False),
    "a checkpoint that is but looked at": (
        "saved = train(150).driver.state_dict()\n"
        "model = Model(Driver(Config(total_steps=400)))\n"
        "model.driver.load_state_dict(saved)",
        False,
    ),
    "another rank": ("os.environ['RANK'] = '1'; model = train(150)", False),
}


@pytest.mark.parametrize(("script", "told"), ENDS.values(), ids=ENDS.keys())
def test_an_end_at_a_high_lr_is_told_where_nobody_else_does(script: str, told: bool) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        env={**{name: value for name, value in os.environ.items() if name != "RANK"}, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        check=False,
        timeout=limits.HANG,
    )
    assert done.stderr.count("UserWarning: AutoWU: the run ended after 150") == told
    assert done.stderr.count("all is well") == told


def test_a_run_is_not_kept_from_being_freed() -> None:
    driver = Driver(Config(total_steps=400))
    session = weakref.ref(driver.session)
    del driver
    gc.collect()
    assert session() is None
