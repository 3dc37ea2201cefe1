"""autowu sets the learning rate of neural-network training by itself.

losses ─▶ detector (Gaussian process) ─▶ verdict ─▶ controller (phase, state) ─▶ schedule ─▶ learning rate

config      every hyperparameter, and the two presets
schedule    growth and decay: closed forms of the step
gp, fit     Gaussian-process regression of the loss curve
noise       what noise explains: spikes, a fall or rise
detector    losses -> Verdict: is the minimum past?
state       what the controller knows
rate        the LR as a closed form of configuration, state and step
liftoff     what a read of the losses decides before lift-off; warmup: from then on
switching   a test, and the switch to the decay phase
reopen      was that a false alarm?
controller  the phase machine: start, observe, learning_rate
torch       AutoWU, the PyTorch scheduler; with pending (losses), rewind (copies), groups and tensors
driver      the same for hosts without PyTorch; integrations has one adapter for each host
saved       which saved states either may go on from; warned: what either warns of
replay      what AutoWU would have done on a recorded loss curve; record, sweep and what_if ask more of logs
report      pages and pictures of runs; with runlog and notebook
train       the reference trainer
"""

from typing import TYPE_CHECKING, Any

from autowu.config import Config
from autowu.controller.state import Reopening, Switch
from autowu.detector.detect import Verdict
from autowu.offline.replay import Replay, replay

if TYPE_CHECKING:
    from autowu.integrations.torch.scheduler import AutoWU

__all__ = ["AutoWU", "Config", "Reopening", "Replay", "Switch", "Verdict", "replay"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the PyTorch scheduler, and with it PyTorch, when it is first asked for."""
    if name == "AutoWU":
        try:
            from autowu.integrations.torch.scheduler import AutoWU
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise  # installed, but broken: its own error says more
            raise ImportError("autowu.AutoWU needs torch: pip install 'autowu[torch]'") from error
        return AutoWU
    raise AttributeError(f"module 'autowu' has no attribute {name!r}")
