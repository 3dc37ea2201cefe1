"""How good decisions are where the loss is not what it should be: rates, of the default and of the paper."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from autowu.config import Config
from autowu.offline.replay import Replay, replay
from reference.curves import FOLDER
from reliability import faults
from reliability.promises import Trials, promise

# The most mistakes of the default preset, as a share of runs: what was seen, and room for chance.
BOUNDS = {
    "none": 0.02,
    "spikes": 0.02,
    "plateau": 0.02,
    "double minimum": 0.15,
    "label noise": 0.08,
    "jumps": 0.02,
    "drifting noise": 0.02,
}
RECORDED = {"none": 0.05, "spikes": 0.05, "label noise": 0.15, "jumps": 0.2}
COSTLY = 0.05  # of the fall


@pytest.mark.parametrize("kind", faults.KINDS)
@promise(
    "simulated training with a fault in its loss",
    "the peak LR is more than a factor of 4 below (early) or above (late) the best in at most a small share",
    full=150,
    plain=3,
)
def test_simulated_faults(kind: str, trials: Trials) -> None:
    settings: dict[str, Any] = {"total_steps": faults.STEPS, "steps_per_epoch": faults.PER_EPOCH}
    judged = {name: Counter[str]() for name in ("default", "paper")}
    for trial in trials:
        for name, counts in judged.items():
            config, of = Config.preset(name, seed=trial, **settings), faults.task(trial)
            counts[faults.judge(config, of, faults.run(config, of, kind))] += 1
    for name, counts in judged.items():
        shares = (f"{counts[word] / trials.count:.1%} {word}" for word in ("early", "late"))
        trials.notes[name] = ", ".join(shares)
    trials.notes["promised of the default"] = f"at most {BOUNDS[kind]:.0%}"
    wrong = judged["default"]["early"] + judged["default"]["late"]
    assert wrong <= max(3, BOUNDS[kind] * trials.count)


def recorded() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Losses and settings of the recorded curves of real runs."""
    found = {}
    for name, about in json.loads((FOLDER / "curves.json").read_text()).items():
        losses = np.genfromtxt(FOLDER / f"{name}.csv", delimiter=",", skip_header=1)[:, 1]
        wanted = ("total_steps", "steps_per_epoch", "min_lr", "max_lr", "warmup_fraction")
        found[name] = losses, {key: about[key] for key in wanted}
    return found


def smoothed(losses: np.ndarray) -> np.ndarray:
    """The losses' medians over a twentieth of the record."""
    at = np.flatnonzero(np.isfinite(losses))
    half = max(2, len(losses) // 40)
    filled = np.interp(np.arange(len(losses)), at, losses[at])
    padded = np.pad(filled, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)


def verdict(found: Replay, curve: np.ndarray) -> list[str]:
    """What is wrong with the LR that it goes back to, on the smoothed loss ``curve`` of the record.

    'early' or 'late' by the LR, against that of the least loss; 'costly' by the loss: a long floor makes the
    one without the other.
    """
    config, t_star, least = found.config, found.t_star, int(curve.argmin())
    if not found.switched:
        return []
    growth = (config.high_lr / config.min_lr) ** (1 / config.warmup_steps)  # of the recorded LR, a step
    back = config.warmup_steps if t_star is None else t_star
    ratio = growth ** (back - min(least, config.warmup_steps))
    lost = curve[min(round(back), len(curve) - 1)] - curve[least]
    wrong = {
        "early": ratio < 1 / faults.EARLY,
        "late": ratio > faults.LATE,
        "costly": lost > COSTLY * (curve[0] - curve[least]),
    }
    return [word for word, is_so in wrong.items() if is_so]


@pytest.mark.parametrize("kind", ["none", "spikes", "label noise", "jumps"])
@promise(
    "recorded losses of 17 real runs, with a fault added",
    "the smoothed loss at the LR that it goes back to is more than a twentieth of the fall above the least "
    "one (costly) in at most so large a share; beside it, how often that LR is more than a factor of 4 "
    "below (early) or above (late) the LR of the least loss",
    full=17 * 5,
    plain=4,
    unit="replays of each preset",
)
def test_recorded_runs(kind: str, trials: Trials) -> None:
    curves = recorded()
    judged = {name: Counter[str]() for name in ("default", "paper")}
    for trial in trials:
        losses, settings = list(curves.values())[trial % len(curves)]
        random = np.random.default_rng(trial)
        curve = smoothed(losses)
        # Not the losses' range: a record ends in a divergence, beside which the fall is next to nothing.
        fall = float(curve[0] - curve.min())
        if kind == "spikes":
            losses = losses + (random.random(len(losses)) < 0.02) * random.pareto(1.5, len(losses)) * fall
        elif kind == "label noise":
            losses = losses + 0.2 * fall * random.standard_normal(len(losses))
        elif kind == "jumps":
            losses = losses + 0.2 * fall * (np.arange(len(losses)) >= random.integers(len(losses)))
        for name, counts in judged.items():
            counts.update(verdict(replay(losses, preset=name, seed=trial, **settings), curve))
    for name, counts in judged.items():
        trials.notes[name] = ", ".join(
            f"{counts[word] / trials.count:.1%} {word}" for word in ("costly", "early", "late")
        )
    trials.notes["promised of the default"] = f"at most {RECORDED[kind]:.0%} costly, and one replay"
    assert judged["default"]["costly"] <= RECORDED[kind] * trials.count + 1
