"""A run to be shown, for the tests of what is printed while it goes on."""

from types import SimpleNamespace

import torch

from autowu import Verdict
from autowu.train.run.evaluation import Evaluation
from autowu.train.settings.options import Settings

DETECTED = Verdict(90, 10, p_min=(0.99,), detected=True, argmins=(0.5,))

NOT_DETECTED = Verdict(90, 10, p_min=(0.4, 0.7, 0.1), argmins=(0.5, 0.5, 0.5))

IMAGES = SimpleNamespace(
    name="cats",
    kind="images",
    description="cats: 3 images",
    steps_per_epoch=50,
    samples="images",
    per_update=128,
)

TEXT = SimpleNamespace(
    name="plays",
    kind="text",
    description="plays: 9 characters",
    steps_per_epoch=None,
    samples="tokens",
    per_update=8192,
)

OUTCOME = Evaluation(
    step=1_234_567,
    epoch=24_691,
    train_loss=12.34567,
    test_loss=10.98765,
    test_accuracy=1.0,
    lr=1.23e-3,
    phase="warmup",
    samples_per_second=9_876_543.2,
)

METRICS = {
    "test_accuracy": 0.9876,
    "test_loss": 1.5,
    "peak_lr": 0.0123,
    "switch_step": 93,
    "capped": False,
    "t_star": 81.42,
    "steps": 500,
    "seconds": 10.0,
}


def begin(display, *, eval_steps=50, decay="linear"):
    """A display of a run that has just begun."""
    method = SimpleNamespace(settings={"decay": decay})
    display.start(Settings(), torch.nn.Linear(2, 3), method, eval_steps)
    return display
