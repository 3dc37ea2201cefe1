"""Run folders as `autowu train` writes them, without training: the loss is a V over the log of the LR."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autowu.config import Config
from autowu.controller import machine
from autowu.controller.state import Cut, Decay, State

PER_EPOCH = 25


def autowu(
    folder: Path,
    *,
    total: int = 1000,
    switch: int = 400,
    t_star: int = 330,
    every: int = 30,
    **about: Any,
) -> Path:
    """A run that found its minimum, by three tests in a row; a test comes ``every`` so many updates."""
    low, rng = 1e-5, np.random.default_rng(0)
    growth = (1 / low) ** (1 / (total // 2))
    peak = low * growth**t_star
    lrs = [
        low * growth**i if i < switch else peak * (1 - (i - switch) / (total - switch)) for i in range(total)
    ]
    trend = [2.3 - 1.7 * i / t_star if i < t_star else 0.6 + 0.02 * (i - t_star) for i in range(switch)]
    trend += [0.6 * math.exp(-4 * (i - switch) / (total - switch)) for i in range(switch, total)]
    losses = (np.array(trend) * rng.normal(1, 0.1, total)).tolist()
    losses[120] = math.nan

    steps = [*range(40, switch, every), switch]
    tests = [test(step, trend[:switch], i, steps, rng) for i, step in enumerate(steps)]
    change = {"event": "switch", "step": switch, "capped": False, "t_star": float(t_star), "peak_lr": peak}
    change["rewound_to"] = t_star - 10
    metrics = {"peak_lr": peak, "switch_step": switch, "capped": False, "t_star": float(t_star)}
    return write(
        folder,
        "autowu",
        losses,
        lrs,
        [*tests, change],
        metrics | {"rewound_to": t_star - 10},
        switch,
        **about,
    )


def cut(folder: Path) -> Path:
    """A run of 1,000 updates with a cut of the LR, and one that is taken back; it needs PyTorch."""
    rng = np.random.default_rng(0)

    def rises_twice(state: State, step: int, lr: float) -> float:
        since = 0 if state.switch is None else step - state.switch.step
        up = 0.05 * max(0, step - 100) if state.switch is None else 60 <= since < 80 or since >= 200
        return 3 - 0.02 * min(step, 100) + up + 0.02 * rng.standard_normal()

    return trained(folder, 1000, rises_twice)


def trained(folder: Path, total: int, loss: Callable[[State, int, float], float]) -> Path:
    """A run of the default preset whose loss follows from the state, the step and the LR."""
    from autowu.train.run.events import Events

    config, losses, lrs, events = Config(total_steps=total), [], [], []
    state = machine.start(config)
    for step in range(total):
        lrs.append(machine.learning_rate(config, state, step))
        losses.append(loss(state, step, lrs[-1]))
        before, state = state, machine.observe(config, state, np.array(losses[-1:]))
        log = Events(1)
        for verdict in state.verdicts[len(before.verdicts) :]:
            log.test(verdict)
        if state.switch is not None and before.switch is None:
            log.switch(state.switch)
        for change in cuts_of(state)[len(cuts_of(before)) :]:
            log.cut(change)
        events += json.loads(json.dumps(log.take()))
    assert state.switch is not None
    return write(folder, "autowu", losses, lrs, events, {}, state.switch.step)


def cuts_of(state: State) -> tuple[Cut, ...]:
    return state.phase.cuts if isinstance(state.phase, Decay) else ()


def baseline(folder: Path, *, total: int = 1000, **about: Any) -> Path:
    """Linear warm-up and cosine; the first LR is zero."""
    warmup = 5 * PER_EPOCH
    shares = [
        i / warmup if i < warmup else (1 + math.cos(math.pi * (i - warmup) / (total - warmup))) / 2
        for i in range(total)
    ]
    rng = np.random.default_rng(1)
    losses = [2.3 * math.exp(-5 * i / total) * rng.normal(1, 0.1) for i in range(total)]
    metrics = {"peak_lr": 4e-3, "switch_step": None, "capped": None, "t_star": None, "rewound_to": None}
    return write(folder, "baseline", losses, [4e-3 * share for share in shares], [], metrics, warmup, **about)


def test(step: int, trend: list[float], i: int, steps: list[int], rng: np.random.Generator) -> dict[str, Any]:
    """A test; the first has no evidence, the last three detect the minimum."""
    event = {"event": "test", "step": step, "start": 0, "p_min": [], "detected": False, "argmin": None}
    event |= {"argmins": [], "t_star": None, "streak": 0, "mean": None, "sd": None, "noise": None}
    if i == 0:
        return event | {"no_evidence": "the loss has not lifted off"}
    mean = np.interp(np.linspace(0, step, 101), np.arange(len(trend)), trend)
    streak = max(0, i - len(steps) + 4)
    argmin = mean.argmin() / 100
    argmins = np.clip(argmin + rng.normal(0, 0.01, 5), 0, 1).tolist()
    return event | {
        "p_min": (rng.uniform(0.96, 1, 5) if streak else rng.uniform(0.5, 0.94, 5)).tolist(),
        "detected": streak > 0,
        "argmin": argmin,
        "argmins": argmins,
        "t_star": step * argmin,
        "streak": streak,
        "no_evidence": None,
        "mean": mean.tolist(),
        "sd": (0.02 + 0.05 * np.abs(np.linspace(-1, 1, 101)) ** 3).tolist(),
        "noise": 0.1,
    }


def write(
    folder: Path,
    schedule: str,
    losses: list[float],
    lrs: list[float],
    events: list[dict[str, Any]],
    metrics: dict[str, Any],
    warmup: int,
    status: str = "finished",
    samples: str = "images",
    **config: Any,
) -> Path:
    """Write run.json and log.jsonl; ``config`` goes over the trainer's flags. A text has no epochs."""
    accuracy = [0.97 * (1 - math.exp(-4 * step / len(losses))) for step in range(1, len(losses) + 1)]
    lines = list[dict[str, Any]]()
    for step, (loss, lr) in enumerate(zip(losses, lrs, strict=True), start=1):
        epoch = (step - 1) // PER_EPOCH + 1 if samples == "images" else None
        phase = "warmup" if step <= warmup else "decay"
        known = loss if math.isfinite(loss) else None
        lines.append({"event": "step", "step": step, "epoch": epoch, "loss": known, "lr": lr, "phase": phase})
        lines += [event for event in events if event["step"] == step]
        if step % PER_EPOCH == 0:
            lines.append(
                {"event": "evaluation", "step": step, "epoch": epoch, "train_loss": known, "test_loss": known}
                | {"test_accuracy": accuracy[step - 1], "lr": lr, "phase": phase, "samples_per_second": 9e3}
            )
    done = {"test_accuracy": accuracy[-1], "test_loss": 0.1, "train_loss": losses[-1], "seconds": 12.3}
    about = {
        "autowu": "0.1.0",
        "config": {"schedule": schedule, "optimizer": "adamp", "batch_size": 64} | config,
        "schedule": {"confidence": 0.95, "patience": 3} if schedule != "baseline" else {},
        "samples": samples,
        "versions": {"numpy": np.__version__},
        "machine": {},
        "metrics": metrics | done | {"steps": len(losses)} if status == "finished" else {},
        "status": status,
    }
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
