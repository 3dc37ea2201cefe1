"""Phase, P_min and cuts arrive in the logger that the host has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.weights import Weights
from autowu.offline.replay import replay
from integrations.contract.contract import core_trace, v_curve
from told import WATCH

pytestmark = pytest.mark.filterwarnings(WATCH)

STEPS = 120


def known(losses: Sequence[float] | np.ndarray) -> list[dict[str, float]]:
    """What a driver knows after each of these updates."""
    driver, found = Driver(Config(total_steps=STEPS)), []
    for loss in losses:
        driver.observe(loss)
        driver.step(lambda: Weights({}, {}))
        found.append(driver.metrics())
    return found


def test_what_is_known_follows_the_run() -> None:
    found, outcome = known(v_curve(STEPS)), replay(v_curve(STEPS))
    switch = outcome.state.switch
    assert [values["autowu/phase"] for values in found] == [
        float(step >= switch.step) for step in range(1, STEPS + 1)
    ]
    for test in outcome.tests:
        expected = float(np.median(test.p_min)) if test.p_min else None
        assert found[test.step - 1].get("autowu/p_min") == expected
    for cut in outcome.cuts:
        assert found[cut.step - 2]["autowu/cut"] != found[cut.step - 1]["autowu/cut"] == cut.factor
    assert found[-1]["autowu/peak_lr"] == switch.peak_lr


def test_the_driver_says_how_far_it_is() -> None:
    assert repr(Driver(Config(total_steps=12_000))) == "Driver(warmup, step 0 of 12,000, lr=1e-05)"


def test_the_trainer_logs_it_with_each_loss(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from integrations.contract.learner import Learner
    from integrations.huggingface import InOrder, Losses, arguments

    losses, lrs = v_curve(STEPS), core_trace(v_curve(STEPS))
    args = arguments(tmp_path, logging_strategy="steps", logging_steps=7)
    trainer = InOrder(Learner(), args, train_dataset=Losses(losses, 1))
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(entries) == STEPS // 7
    at_each = known(losses)
    for entry in entries:
        expected = at_each[entry["step"] - 1]
        del expected["autowu/learning_rate"]  # the next update's; the Trainer logs that of the last itself
        assert entry["learning_rate"] in lrs
        assert {name: value for name, value in entry.items() if name.startswith("autowu/")} == expected
    (end,) = [entry for entry in trainer.state.log_history if "train_loss" in entry]
    assert not [name for name in end if name.startswith("autowu/")]


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightnings_logger_gets_it_at_decisions_and_in_between(package: str) -> None:
    pytest.importorskip(package)
    from integrations import lightning

    pl, callback = lightning.packages(package)

    class Log(pl.loggers.logger.Logger):
        name, version = "log", 0

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[tuple[int | None, dict[str, float]]] = []

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            self.rows += [(step, metrics)] if "autowu/phase" in metrics else []

        def log_hyperparams(self, *_: Any, **__: Any) -> None:
            pass

    log, losses = Log(), v_curve(STEPS)
    changed: dict[str, Any] = lightning.QUIET | {"logger": log, "log_every_n_steps": 25, "max_epochs": 1}
    with lightning.lightnings_warnings():
        pl.Trainer(**changed, callbacks=[callback()]).fit(
            lightning.module_class(pl)(), lightning.Batches(losses)
        )
    outcome, expected = replay(losses), known(losses)
    decided = {test.step for test in outcome.tests} | {cut.step for cut in outcome.cuts}
    decided |= {outcome.state.switch.step, *range(25, STEPS + 1, 25)}
    assert log.rows == [(step - 1, expected[step - 1]) for step in sorted(decided)]


def test_keras_logs_it_at_the_ends_of_epochs() -> None:
    pytest.importorskip("h5py")
    from integrations.keras import BACKENDS, trial, worker

    history, at_ends, said = worker(BACKENDS[0]).submit(trial, "keras_logs", "logged").result()
    assert history["autowu/phase"] == [values["autowu/phase"] for values in at_ends]
    assert history["autowu/p_min"] == [values["autowu/p_min"] for values in at_ends]
    assert len(history["learning_rate"]) == 4
    assert said[-1].startswith("AutoWUCallback(decay, step 120 of 120, lr=0, peak_lr=")
