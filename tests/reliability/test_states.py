"""States that are damaged, foreign, malicious, old, or of a run that was meant otherwise."""

from __future__ import annotations

import copy
import io
import os
import pickle
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import autowu
from autowu.config import Config
from autowu.integrations.driver import Driver, Weights
from integrations.torch.test_damaged_state import STAGES, at, everything
from integrations.torch.training import STEPS, assert_equal, drive, parameters, scheduler
from integrations.torch.training import v_curve as curve
from reliability.curves import v_curve
from reliability.mutations import mutated, places
from reliability.promises import Trials, promise

GOLDEN = Path(__file__).parents[1] / "data" / "states"


def nothing_changed(made: autowu.AutoWU, before: dict[str, Any], how: str) -> None:
    assert_equal(everything(made), before, f"{how}: ")


@pytest.mark.filterwarnings("ignore:AutoWU")  # of a run that goes on from a state that no run had
@promise(
    "a state dict with an entry lost, added, replaced, of another type or shape, at any depth",
    "a ValueError that says which, and the scheduler and its optimizer are unchanged; or a state that a run "
    "can go on from",
    full=20_000,
    plain=180,
    unit="mutations",
)
def test_damaged_states(trials: Trials) -> None:
    stages = {stage: at(stage).state_dict() for stage in STAGES}
    everywhere = {stage: list(places(state)) for stage, state in stages.items()}
    names, refused = list(STAGES), 0
    made: dict[str, autowu.AutoWU] = {}
    before: dict[str, dict[str, Any]] = {}
    for trial in trials:
        rng, stage = random.Random(trial), names[trial % len(names)]
        if stage not in made:
            made[stage] = at("before lift-off" if STAGES[stage][0] == {} else stage)
            before[stage] = everything(made[stage])
        state = copy.deepcopy(stages[stage])
        how = mutated(state, rng.choice(everywhere[stage]), rng)
        try:
            made[stage].load_state_dict(state)
        except ValueError:
            refused += 1
            nothing_changed(made[stage], before[stage], how)
        except Exception as error:
            raise AssertionError(f"{how}: {error!r}") from error
        else:
            # What cannot be told from a state of a real run must still be one that a run can go on from.
            went_on = made.pop(stage)
            went_on.state_dict()
            for loss in curve()[went_on.last_epoch :]:
                went_on.optimizer.step()
                went_on.step(torch.tensor(loss))
                assert all(0 <= float(lr) < float("inf") for lr in went_on.get_last_lr()), how
            went_on.state_dict()
    assert refused > trials.count / 2
    trials.notes["refused"] = f"{refused:,}"


@promise(
    "the same of the state that Keras and optax keep (flat NumPy arrays), with flipped bytes too",
    "a ValueError, and the driver is unchanged; or a state that a run can go on from",
    full=5_000,
    plain=100,
    unit="mutations",
)
def test_damaged_states_of_the_driver(trials: Trials) -> None:
    def trained(steps: int) -> Driver:
        driver = Driver(Config(total_steps=120))
        for loss in v_curve(120, 3)[:steps]:
            driver.observe(loss)
            driver.step(lambda: Weights({"w": np.arange(3.0)}, {"m": np.ones(2)}))
        return driver

    good = [trained(steps).state_dict() for steps in (0, 12, 30, 100)]
    for trial in trials:
        rng = random.Random(trial)
        state = dict(copy.deepcopy(good[trial % len(good)]))
        key = rng.choice(list(state))
        kind = rng.choice(["lose", "flip", "cut", "swap", "replace"])
        if kind == "lose":
            del state[key]
        elif kind == "replace":
            state[key] = rng.choice([None, 3, "x", np.zeros(0), np.array([None]), np.full(3, np.nan), b"{}"])
        elif kind == "swap":
            state[key] = rng.choice(list(state.values()))
        else:
            data = bytearray(state["schedule"].tobytes())
            place = rng.randrange(len(data))
            if kind == "flip":
                data[place] ^= 1 << rng.randrange(8)
            else:
                del data[place : place + rng.randrange(1, 9)]
            state["schedule"] = np.frombuffer(bytes(data), np.uint8)
        driver = trained(20)
        before = driver.state_dict()
        try:
            driver.load_state_dict(state)
        except ValueError:
            after = driver.state_dict()
            assert after.keys() == before.keys()
            for name in before:
                np.testing.assert_array_equal(after[name], before[name])
        else:
            driver.state_dict()
            for loss in v_curve(120, 3)[:20]:
                if driver.step_count < 120:
                    driver.observe(loss)
                    driver.step(lambda: Weights({"w": np.arange(3.0)}, {"m": np.ones(2)}))
            assert 0 <= driver.learning_rate < float("inf")


def another(name: str, value: Any) -> Any:
    """Another value for a setting, in its range."""
    others = {"growth": "linear", "fit": "adam", "decay": "cosine", "steps_per_epoch": 11}
    others |= {"subset_size": 500, "fit_size": 100, "max_lr": 2.0}
    if name in others:
        return others[name]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 1.01


DEFAULTS = {field.name: getattr(Config(total_steps=STEPS), field.name) for field in fields(Config)}
# Another length is no other configuration: the run is extended to it.
CHANGES = {name: another(name, value) for name, value in DEFAULTS.items() if name != "total_steps"}


@promise(
    "any setting but total_steps changed between save and resume",
    "a ValueError that names the setting and both values; nothing is changed",
    full=3 * len(CHANGES),
    plain=len(CHANGES),
    unit="settings × steps",
)
def test_another_configuration(trials: Trials) -> None:
    for trial in trials:
        name, value = list(CHANGES.items())[trial % len(CHANGES)]
        saved = scheduler()
        drive(saved, curve()[: [30, 0, 100][trial // len(CHANGES)]])
        made = scheduler(**{name: value})
        before = everything(made)
        with pytest.raises(ValueError, match=f"^{name} is ") as error:
            made.load_state_dict(saved.state_dict())
        assert f"{getattr(made.config, name)!r} here, but {getattr(saved.config, name)!r}" in str(error.value)
        nothing_changed(made, before, name)


# --- files ------------------------------------------------------------------------------------------------


def executed(witness: str) -> None:
    """What a malicious file would have run."""
    Path(witness).touch()


class Malicious:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@promise(
    "a checkpoint with a pickle in it that would run code, anywhere in the state",
    "torch.load(weights_only=True) refuses it, and nothing has run",
    full=100,
    plain=10,
    unit="files",
)
def test_malicious_checkpoints(trials: Trials, tmp_path: Path) -> None:
    good = {"scheduler": at("in warm-up").state_dict()}
    everywhere = list(places(good))
    witness = tmp_path / "executed"
    for trial in trials:
        rng = random.Random(trial)
        bad = rng.choice(
            [
                Malicious(executed, str(witness)),
                Malicious(os.system, f"touch {witness}"),
                Malicious(eval, f"open({str(witness)!r}, 'w').close()"),
                Malicious(exec, f"open({str(witness)!r}, 'w').close()"),
                Malicious(os.mkdir, str(witness)),
                Malicious(getattr, Path(witness), "touch"),
                Malicious(Path(witness).touch),
            ]
        )
        state = copy.deepcopy(good)
        holder: Any = state
        *path, last = rng.choice(everywhere)
        for key in path:
            holder = holder[key]
        holder[last] = bad
        file = tmp_path / f"{trial}.pt"
        if trial % 2:
            torch.save(state, file, _use_new_zipfile_serialization=trial % 4 == 1)
        else:
            file.write_bytes(pickle.dumps(state, protocol=2))  # which torch.load reads
        made = at("before lift-off")
        before = everything(made)
        with pytest.raises(pickle.UnpicklingError):
            made.load_state_dict(torch.load(file, weights_only=True)["scheduler"])
        assert not witness.exists()
        nothing_changed(made, before, str(trial))


@promise(
    "a checkpoint that is cut off, or has a flipped bit",
    "an error from torch.load or the scheduler, never a crash, and the scheduler is unchanged; or, where the "
    "bit is one of a number, a state that a run can go on from",
    full=10_000,
    plain=80,
    unit="files",
)
def test_broken_files(trials: Trials) -> None:
    buffer = io.BytesIO()
    torch.save(at("in warm-up").state_dict(), buffer)
    good = buffer.getvalue()
    made = at("before lift-off")
    before, taken = everything(made), 0
    for trial in trials:
        rng = random.Random(trial)
        data = bytearray(good)
        if trial % 2:
            data = data[: rng.randrange(len(data))]
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            state = torch.load(io.BytesIO(bytes(data)), weights_only=True)
        except Exception:  # whatever it is, it is PyTorch's, and the scheduler has seen nothing
            continue
        try:
            made.load_state_dict(state)
        except ValueError:
            nothing_changed(made, before, str(trial))
        else:
            taken += 1
            made.step(1.0)
            made = at("before lift-off")
    trials.notes["loaded, since a bit of a number was flipped, or one that nobody reads"] = f"{taken:,}"


def state_of(preset: str, steps: int) -> dict[str, Any]:
    """What a golden file holds: it is made by `python -m tests.reliability.golden`."""
    settings = {"preset": "paper", "steps_per_epoch": 10} if preset == "paper" else {}
    made = autowu.AutoWU(torch.optim.AdamW(parameters(3), lr=0.01), STEPS, **settings)
    for loss in curve()[:steps]:
        made.optimizer.step()
        made.step(torch.tensor(loss))
    parts = {"scheduler": made, "optimizer": made.optimizer}
    return {name: part.state_dict() for name, part in parts.items()} | {"lr": made.get_last_lr()}


FILES = sorted(GOLDEN.glob("*.pt"))


@promise(
    "the state of each released version, in warm-up and in the decay, of both presets",
    "it loads, and the run goes on",
    full=len(FILES),
    plain=len(FILES),
    unit="files",
)
def test_states_of_older_versions(trials: Trials) -> None:
    assert any(autowu.__version__ in file.name for file in FILES), "this version has no golden file"
    for trial in trials:
        preset, steps, _ = FILES[trial].name.split("-", 2)
        saved = torch.load(FILES[trial], weights_only=True)
        settings = {"preset": "paper", "steps_per_epoch": 10} if preset == "paper" else {}
        made = autowu.AutoWU(torch.optim.AdamW(parameters(3), lr=0.01), STEPS, **settings)
        made.optimizer.load_state_dict(saved["optimizer"])
        made.load_state_dict(saved["scheduler"])
        assert made.get_last_lr() == saved["lr"]
        assert made.last_epoch == int(steps)
        lrs = drive(made, curve()[made.last_epoch :])
        assert made.switch is not None
        assert lrs[-1] == 0
