"""What AutoWU leaves alone, what it costs, and what it does when its algebra fails."""

from __future__ import annotations

import gc
import io
import json
import os
import random
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.optim import SGD

import autowu
from autowu.config import Config
from reliability.curves import bound, follow, v_curve
from reliability.promises import Trials, promise

STEPS = 120


def scheduler(total_steps: int = STEPS, **settings: Any) -> autowu.AutoWU:
    return autowu.AutoWU(SGD([nn.Parameter(torch.ones(3))], lr=0.1), total_steps, **settings)


@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")
@promise(
    "the global random generators (Python, NumPy, PyTorch) and PyTorch's number of threads",
    "are untouched by any step of a run, by saving and by loading",
    full=200,
    plain=8,
)
def test_globals_are_left_alone(trials: Trials) -> None:
    def seen() -> tuple[Any, ...]:
        state = np.random.get_state()  # noqa: NPY002 (the very thing that must not change)
        return (
            random.getstate(),
            state[1].tobytes(),
            state[2:],
            torch.get_rng_state().numpy().tobytes(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            np.geterr(),
        )

    for trial in trials:
        subsets: dict[str, Any] = {"subset_size": 30, "fit_size": 20}  # which are drawn at random
        settings = subsets | ({"preset": "paper", "steps_per_epoch": 10} if trial % 2 else {})
        before = seen()
        made = scheduler(**settings)
        for step, loss in enumerate(v_curve(STEPS, trial).tolist()):
            made.step(loss)
            if step % 40 == 10:
                state, made = made.state_dict(), scheduler(**settings)
                made.load_state_dict(state)
        assert made.switch is not None
        assert seen() == before


DECIDE = """
import json, sys
import torch
sys.path.insert(0, sys.argv[1])
from reliability.curves import follow, v_curve
from autowu.config import Config
torch.set_num_threads(int(sys.argv[2]))
for seed in range(int(sys.argv[3])):
    name = ["default", "paper"][seed % 2]
    config = Config.preset(name, total_steps=160, steps_per_epoch=13, subset_size=60, fit_size=50, seed=seed)
    run = follow(config, v_curve(160, seed))
    print(json.dumps([run.decisions(), run.lrs]))
"""


@promise(
    "one thread or two, in OpenBLAS, OpenMP and PyTorch",
    "the same decisions, and the same LRs to the bit",
    full=200,
    plain=8,
)
def test_threads_do_not_matter(trials: Trials) -> None:
    runs, names = [], ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    for threads in ("1", "2"):
        environment = os.environ | dict.fromkeys(names, threads)
        command = [sys.executable, "-c", DECIDE, str(Path(__file__).parents[1]), threads, str(trials.count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        runs.append(done.stdout.splitlines())
    for trial in trials:
        one, two = (json.loads(run[trial]) for run in runs)
        assert one == two


FAILURES = [
    np.linalg.LinAlgError("did not converge"),
    FloatingPointError("overflow"),
    ZeroDivisionError("by zero"),
    ValueError("not a number"),
    OverflowError("too large"),
]


@promise(
    "a failure of the Gaussian process: LinAlgError, FloatingPointError and others, or NaN, from the "
    "eigendecomposition, the moments, the fit or the posterior, in any of the tests",
    "that test is 'no evidence' with the reason; the others are made, and training goes on",
    full=2_000,
    plain=60,
    unit="failures",
)
def test_numerical_failure(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    from autowu.detector import fit, gp

    places: list[tuple[Any, str]] = [
        (np.linalg, "eigh"),
        (gp, "sufficient_statistics"),
        (gp, "posterior"),
        (gp, "fall_to_end"),
        (gp, "curve"),
        (fit, "maximum"),
        (fit, "spectrum"),
    ]
    failed = 0
    for trial in trials:
        rng = random.Random(trial)
        module, name = places[trial % len(places)]
        failure: Any = rng.choice([*FAILURES, None])
        config, losses = Config(total_steps=STEPS), v_curve(STEPS, trial // len(places))
        failing = Failing(getattr(module, name), rng.randrange(15), failure)
        with monkeypatch.context() as patch:
            patch.setattr(module, name, failing)
            state, lrs, _ = follow(config, losses)
        assert state.switch is not None
        assert all(0 <= lr <= bound(config) for lr in lrs)
        reasons = [v.no_evidence for v in state.verdicts if v.no_evidence and "numerical" in v.no_evidence]
        if failing.met and failure:
            assert reasons == [f"numerical failure: {failure}"]
        failed += failing.met
    trials.notes["met a call"] = f"{failed:,}"
    assert failed > trials.count / 3


class Failing:
    """A function that fails in its ``at``-th call: raises ``failure``, or gives NaN where that is None."""

    def __init__(self, function: Any, at: int, failure: Exception | None) -> None:
        self.function, self.at, self.failure = function, at, failure
        self.calls, self.met = 0, False

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.calls += 1
        if self.calls != self.at + 1:
            return self.function(*arguments, **keywords)
        self.met = True
        if self.failure:
            raise self.failure
        return _nan(self.function(*arguments, **keywords))


def _nan(value: Any) -> Any:
    """``value`` with every float in it NaN."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.full_like(value, np.nan)
    if isinstance(value, float):
        return float("nan")
    if isinstance(value, tuple):
        parts = [_nan(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


@promise(
    "a run of a million updates",
    "a state of at most 10 MB, and memory that does not grow in the decay (the times are noted)",
    full=1_000_000,
    plain=0,
    unit="updates",
)
@pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")  # which is what is tried
def test_a_million_updates(trials: Trials) -> None:
    made = scheduler(trials.count)
    warm = trials.count // 2
    noise = np.random.default_rng(0).normal(0, 0.02, trials.count)
    losses = torch.tensor(2.3 - 2 * np.minimum(np.arange(trials.count) / warm, 1) + noise)
    slowest = largest = 0.0
    steps, in_steps = 0, 0.0
    resident = list[int]()
    gc.collect()
    for trial in trials:
        loss, testing = losses[trial], trial + 1 == made._session.due
        begun = time.process_time()
        made.step(loss)
        took = time.process_time() - begun
        if testing:
            slowest = max(slowest, took)
        else:
            steps, in_steps = steps + 1, in_steps + took
        if (trial + 1) % (warm // 4) == 0 or trial == warm - 2:
            file = io.BytesIO()
            torch.save(made.state_dict(), file)
            largest = max(largest, file.tell())
            del file
        if trial == warm + warm // 4:
            tracemalloc.start()
        if trial == warm + warm // 4 + 1000:
            gc.collect()
            resident.append(tracemalloc.get_traced_memory()[0])
        if trial == warm + warm // 2 - 2:  # a save brings the losses that wait to host memory
            gc.collect()
            resident.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
    assert made.switch is not None
    trials.notes["a step"] = f"{in_steps / steps * 1e6:.1f} µs"
    trials.notes["the slowest test"] = f"{slowest * 1e3:.0f} ms"
    trials.notes["the largest state"] = f"{largest / 1e6:.1f} MB"
    trials.notes["the process at its largest"] = (
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
    )
    assert largest <= 10e6
    assert resident[1] - resident[0] < 10_000  # bytes, in 250,000 updates
