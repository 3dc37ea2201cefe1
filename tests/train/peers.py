"""Runs of published methods, each where its package is there."""

import pytest

from autowu.integrations import torchvision_shim
from train.learning import STEPS_PER_EPOCH, Digits

PACKAGES = {
    "nadamw": "timm",
    "schedule-free": "schedulefree",
    "prodigy": "prodigyopt",
    "d-adaptation": "dadaptation",
    "mechanic": "mechanic_pytorch",
    "l-dog": "dog",
    "momo": "momo",
    "gen": "GeN",
    "lr-finder": "torch_lr_finder",
    "greedy": "transformers",
    "salsa": "statopt",
}
OPTIMIZER = dict.fromkeys(PACKAGES, "adamw") | {"l-dog": "sgd", "salsa": "sgd"}
STEPS = 7 * STEPS_PER_EPOCH


def peer(name, steps=STEPS, **chosen):
    """A run of the method, if its package is there."""
    torchvision_shim.install()
    pytest.importorskip(PACKAGES[name])
    return Digits(steps, **{"schedule": name, "optimizer": OPTIMIZER[name]} | chosen)
