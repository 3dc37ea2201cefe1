"""autowu sets the learning rate of neural-network training by itself.

losses ─▶ detector (Gaussian process) ─▶ verdict ─▶ controller (phase, state) ─▶ schedule ─▶ learning rate

config        every hyperparameter, and the two presets
detector      losses -> Verdict: is the minimum past?
controller    Verdict -> phase -> learning rate: a class and a file for each phase
runlog        what a run leaves behind, written and read
integrations  the learning rate -> a framework; integrations.torch has AutoWU, the PyTorch scheduler
offline       recorded losses: what AutoWU would have done
report        runs as pages and pictures
train         the reference trainer; cli: the command `autowu`
"""

from typing import TYPE_CHECKING, Any

from autowu.config import Config
from autowu.controller.state import Cut, Switch
from autowu.detector.detect import Verdict
from autowu.offline.replay import Replay, replay

if TYPE_CHECKING:
    from autowu.integrations.torch.scheduler import AutoWU

Reopening = Cut  # the former name of what is recorded when a decision is taken back

__all__ = ["AutoWU", "Config", "Cut", "Reopening", "Replay", "Switch", "Verdict", "replay"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the PyTorch scheduler, and with it PyTorch, when it is first asked for."""
    if name == "AutoWU":
        try:
            from autowu.integrations.torch.scheduler import AutoWU
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise  # installed, but broken: its own error says more
            from autowu.extras import install

            raise ImportError(f"autowu.AutoWU needs torch: {install('torch')}") from error
        return AutoWU
    raise AttributeError(f"module 'autowu' has no attribute {name!r}")
