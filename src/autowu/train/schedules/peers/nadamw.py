"""One configuration of NAdamW for all tasks: AlgoPerf's self-tuning baseline."""

from __future__ import annotations

from typing import Final

from autowu.integrations import torchvision_shim
from autowu.train.optimizers import table
from autowu.train.schedules.baseline import warmup_cosine
from autowu.train.schedules.method import Method
from autowu.train.schedules.plan import Plan
from autowu.train.schedules.shape import Shape

LR: Final = 0.00190834618600756
BETAS: Final = (1 - 0.09090652249, 0.998898321921855)
WEIGHT_DECAY: Final = 0.08121616522670176
WARMUP: Final = 0.1
"""All four from mlcommons/submissions_algorithms, submissions/self_tuning/nadamw; they do not depend on the
batch size. (AlgoPerf 0.5's entry had an LR of 0.00175, betas 0.9327 and 0.9955, and 2% of warm-up.)"""


def build(plan: Plan) -> Method:
    """timm's NAdamW, which follows AlgoPerf's, with 10% of linear warm-up and a cosine to 0.

    AlgoPerf decays all parameters; here that is ``--weight-decay-on all``.
    """
    torchvision_shim.install()
    from timm.optim.nadamw import NAdamW

    plan.replaces("adamw")
    settings = plan.settings
    lr = LR if settings.lr is None else settings.lr
    weight_decay = WEIGHT_DECAY if settings.weight_decay is None else settings.weight_decay
    groups = table.groups(plan.model, weight_decay, settings.weight_decay_on)
    optimizer = NAdamW(groups, lr=lr, betas=BETAS, eps=1e-8)
    warmup = plan.warmup_steps(fraction=WARMUP)
    return Method(
        optimizer,
        Shape(optimizer, lambda step: warmup_cosine(step, warmup, plan.total_steps), warmup),
        {
            "preset": "nadamw",
            "peak_lr": lr,
            "betas": list(BETAS),
            "weight_decay": weight_decay,
            "decay": "cosine",
            "warmup_steps": warmup,
            "total_steps": plan.total_steps,
        },
    )
