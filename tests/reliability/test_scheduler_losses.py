"""What the PyTorch scheduler takes as a loss, and which update it counts for."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.optim import SGD

import autowu
from autowu.config import Config
from reliability.curves import follow, v_curve
from reliability.promises import Trials, promise

STEPS = 60

pytestmark = pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")


def scheduler(total_steps: int = STEPS, **settings: Any) -> autowu.AutoWU:
    return autowu.AutoWU(SGD([nn.Parameter(torch.ones(3))], lr=0.1), total_steps, **settings)


TENSORS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8]
ARRAYS = [np.float64, np.float32, np.float16, np.longdouble, np.int64, np.uint8]
SHAPES = [(), (1,), (1, 1), (1, 1, 1)]
KINDS: dict[str, Callable[[float], Any]] = {
    "float": float,
    "int": int,
    **{
        f"{dtype} {shape}": (lambda x, d=dtype, s=shape: torch.tensor(x).to(d).reshape(s))
        for dtype in TENSORS
        for shape in SHAPES
    },
    **{
        f"{dtype.__name__} {shape}": (lambda x, d=dtype, s=shape: np.full(s, x).astype(d))
        for dtype in ARRAYS
        for shape in SHAPES
    },
    **{dtype.__name__: (lambda x, d=dtype: d(x)) for dtype in ARRAYS},
    "with a graph": lambda x: torch.tensor(float(x), requires_grad=True) * 1,
    "a parameter": lambda x: nn.Parameter(torch.tensor(float(x))),
}


@promise(
    "losses as Python, NumPy and PyTorch numbers of every type, of shapes () to (1, 1, 1)",
    "are all taken for the number they are: the LRs are the core's",
    full=len(KINDS),
    plain=len(KINDS),
    unit="types and shapes",
)
def test_every_type(trials: Trials) -> None:
    losses = [float(round(20 * loss)) for loss in v_curve(STEPS, 3)]  # which every type can hold
    _, expected, _ = follow(Config(total_steps=STEPS), np.array(losses))
    kinds = list(KINDS.values())
    for trial in trials:
        made = scheduler()
        lrs = made.get_last_lr()
        for loss in losses:
            made.step(kinds[trial](loss))
            lrs += made.get_last_lr()
        assert lrs == expected


@promise(
    "a loss of another shape, or that is no real number",
    "ValueError or TypeError that names it; the state is the same to the last entry",
    full=300,
    unit="losses",
)
def test_what_is_no_loss(trials: Trials) -> None:
    random = np.random.default_rng(0)
    made = scheduler()
    for loss in v_curve(STEPS, 3)[:20]:
        made.step(loss)
    before = str(made.state_dict())
    for _ in trials:
        shape = tuple(random.integers(0, 4, random.integers(1, 4)))
        if np.prod(shape) == 1:
            shape = (2,)
        wrong = [np.ones(shape), torch.ones(shape), np.ones(shape).tolist(), "1", b"1", None, True, 1j]
        wrong += [torch.tensor(1j), torch.tensor(True), np.complex64(1), np.array("1"), np.bool_(1), object()]
        with pytest.raises((ValueError, TypeError, RuntimeError), match="loss"):
            made.step(wrong[random.integers(len(wrong))])
        assert str(made.state_dict()) == before


@promise(
    "losses that carry a graph, at every update",
    "the graph is dropped at once: what it held dies before the next update",
    full=1_000,
    unit="updates",
)
def test_no_graph_is_kept(trials: Trials) -> None:
    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * 1

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore
            return gradient

    made = scheduler(trials.count)
    weight = torch.ones(8, requires_grad=True)
    gc.disable()
    try:
        for trial in trials:
            hidden = weight * trial
            loss = Kept.apply(hidden).mean()
            alive = weakref.ref(hidden)
            if trial % 2:
                made.observe(loss)
                made.step(loss * 2)
            else:
                made.step(loss)
            del hidden, loss
            assert alive() is None
    finally:
        gc.enable()


@promise(
    "accumulation in any pattern, with any of the types; updates that a GradScaler skips",
    "one mean loss for each update: the LRs are the core's for the means",
    full=1_000,
    plain=60,
    unit="patterns",
)
def test_one_mean_loss_an_update(trials: Trials) -> None:
    for trial in trials:
        random = np.random.default_rng(trial)
        losses = np.round(v_curve(STEPS, trial) * 256) / 256
        made, expected = scheduler(), []
        lrs = made.get_last_lr()
        kind = [float, torch.tensor, np.float64, lambda x: torch.tensor(x, dtype=torch.float64)][trial % 4]
        skips = trial % 3 == 0
        for loss in losses:
            if skips and random.random() < 0.2:
                # The scaler skips the update, and scales down: such a loop does not call step().
                continue
            count = 2 ** int(random.integers(4))
            micro = loss + (random.permutation(count) - (count - 1) / 2) / 64  # whose mean is exact
            for part in micro[:-1]:
                made.observe(kind(float(part)))
            made.step(kind(float(micro[-1])))
            lrs += made.get_last_lr()
            expected.append(loss)
        _, wanted, _ = follow(Config(total_steps=STEPS), np.array(expected))
        assert lrs == wanted
