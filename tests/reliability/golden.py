"""Write states for later versions to load, once a release: `python -m tests.reliability.golden`."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import autowu
from autowu.controller.plain import VERSION
from reliability.test_states import GOLDEN, state_of

if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for preset in ("default", "paper"):
        for steps in (0, 12, 50, 120):
            name = f"{preset}-{steps}-{autowu.__version__}-state-{VERSION}.pt"
            torch.save(state_of(preset, steps), GOLDEN / name)
