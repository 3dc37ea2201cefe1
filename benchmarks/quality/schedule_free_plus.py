"""ScheduleFree+ (Defazio, arXiv 2605.19095): Schedule-Free AdamC with a Polyak step in place of the LR.

No release has it. This is the paper's algorithm, at the defaults of its reference implementation, with the
warm-up that this one advises. With f the loss and g its gradient at y, and k = 0, 1, … the updates done:

    α = γ max(0, f + β ⟨g, z - x⟩) / (√(π / 2) ‖g‖₁)        γ: linear warm-up to 1
    m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²         m̂, v̂: corrected for their start at 0
    z ← z - α² λ y - α m̂ / (√v̂ + ε)
    x ← (1 - c) x + c z,     c = w / Σ w,  w = (max α)²     c = 1 during the first updates
    y ← β x + (1 - β) z

It trains y and evaluates x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from autowu.train.optimizers import table
from autowu.train.schedules.method import Method
from autowu.train.schedules.peers.schedule_free import ScheduleFree
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape

BETAS: Final = (0.9, 0.95)
BETA: Final = 0.9
"""Of y between z and x."""
EPS: Final = 1e-8
WARMUP: Final = 0.05
"""Of the run; twice as long x is z. The reference advises 1 to 2 times the warm-up."""


class ScheduleFreePlus(Optimizer):
    """The algorithm above; the LR of its groups is γ, and :attr:`loss` has to be set before each step.

    Args:
        params: parameters, or groups with a ``weight_decay`` λ.
        follows: updates during which x is z.
    """

    loss: Tensor

    def __init__(self, params: Any, follows: int = 0) -> None:
        defaults = {"lr": 1.0, "weight_decay": 0.0, "follows": follows, "k": 0, "alpha": 0.0}
        super().__init__(params, defaults | {"largest": EPS, "weights": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """An update by the gradients at y and by :attr:`loss`."""
        parameters = [
            (group, p) for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        for _, p in parameters:
            if not self.state[p]:
                self.state[p] |= {"x": p.clone(), "z": p.clone()}
                self.state[p] |= {"m": torch.zeros_like(p), "v": torch.zeros_like(p)}
        norm = sum(float(p.grad.abs().sum()) for _, p in parameters)
        along = sum(float((p.grad * (self.state[p]["z"] - self.state[p]["x"])).sum()) for _, p in parameters)
        polyak = max(0.0, float(self.loss) + BETA * along) / (math.sqrt(math.pi / 2) * norm) if norm else 0.0
        first = self.param_groups[0]
        k, alpha = first["k"], first["lr"] * polyak
        largest = max(first["largest"], alpha)
        weights = first["weights"] + (largest**2 if k >= first["follows"] else 0.0)
        share = largest**2 / weights if k >= first["follows"] else 1.0
        for group, p in parameters:
            x, z, m, v = (self.state[p][name] for name in "xzmv")
            z.sub_(p, alpha=alpha**2 * group["weight_decay"])
            m.lerp_(p.grad, 1 - BETAS[0])
            v.mul_(BETAS[1]).addcmul_(p.grad, p.grad, value=1 - BETAS[1])
            root = (v / (1 - BETAS[1] ** (k + 1))).sqrt_().add_(EPS)
            z.addcdiv_(m / (1 - BETAS[0] ** (k + 1)), root, value=-alpha)
            x.lerp_(z, share)
            p.copy_(z.lerp(x, BETA))
        for group in self.param_groups:
            group.update(k=k + 1, alpha=alpha, largest=largest, weights=weights)

    @torch.no_grad()
    def eval(self) -> None:
        """Put x in the place of y. :class:`ScheduleFree` keeps y, and puts it back."""
        for p, state in self.state.items():
            p.copy_(state["x"])

    def train(self) -> None:
        """y is put back by :class:`ScheduleFree`."""


class Told(ScheduleFree):
    """Tells the optimizer the loss before each step."""

    def __init__(self, plan: Plan, *of: Any) -> None:
        super().__init__(*of, plan.model)
        self._reduce = plan.reduce

    def before_step(self, loss: Tensor, forward: Callable[[], Tensor]) -> None:
        """Tell the optimizer the loss over all processes."""
        optimizer: Any = self.optimizer
        optimizer.loss = self._reduce(loss)


def build(plan: Plan) -> Method:
    """No weight decay, as the reference's default; linear warm-up over 5% of the run."""
    plan.replaces("adamw")
    warmup = plan.warmup_steps(fraction=WARMUP)
    weight_decay = plan.settings.weight_decay or 0.0
    groups = table.groups(plan.model, weight_decay, plan.settings.weight_decay_on)
    optimizer = ScheduleFreePlus(groups, follows=2 * warmup)

    def gamma(step: int) -> float:
        return min(1.0, (step + 1) / max(1, warmup))

    schedule = Shape(optimizer, gamma, warmup, lambda group: group["alpha"])
    return Told(plan, optimizer, schedule, {"preset": "schedule-free+", "warmup_steps": warmup})
