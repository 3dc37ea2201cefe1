"""Where lift-off is late, the first weights go back in every host, and each checkpoint is gone on from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autowu.offline.replay import replay
from integrations.contract.contract import core_trace
from integrations.contract.learner import assert_equal, everything
from integrations.late import FIRST, LATE, STEPS, STOPS, late_fall
from integrations.torch.rewinding import statistics
from integrations.torch.training import Training

pytestmark = pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")

After = dict[int, dict[str, Any]]
"""What training changes, after each update."""


def assert_back(after: After, seen: int = 1) -> None:
    """All is as it was before the first update, and was not so before. Buffers had seen so many batches."""
    first = after[FIRST] | statistics(after[seen])
    assert_equal(after[LATE], first)
    still = {name for name, value in first.items() if torch.equal(after[LATE - 1][name], value)}
    assert still == set()


def assert_part(after: Mapping[int, Any], whole: After) -> None:
    assert after
    for step, found in after.items():
        assert_equal(found, whole[step])


def test_by_the_core_the_curve_is_late_and_warm_up_goes_on() -> None:
    result = replay(late_fall())
    lrs, switch = result.learning_rates, result.state.switch
    assert lrs[LATE] == pytest.approx(lrs[LATE - 1] * (lrs[LATE - 1] / lrs[LATE - 2]) / 100)
    assert switch is not None
    assert switch.step > LATE + 10


def test_in_a_loop_of_ones_own() -> None:
    losses, rewinds = late_fall(), list[int]()

    def run(training: Training, until: int) -> tuple[list[float], After]:
        lrs, after = list[float](), After()
        after[training.scheduler.last_epoch] = everything(training.model, training.optimizer)
        for loss in losses[training.scheduler.last_epoch : until]:
            training.update()
            lrs.append(training.optimizer.param_groups[0]["lr"])
            training.scheduler.step(loss)
            after[training.scheduler.last_epoch] = everything(training.model, training.optimizer)
            rewinds.append(training.scheduler.rewinds)
        return lrs, after

    expected, whole = run(Training(total_steps=STEPS), STEPS)
    assert expected == core_trace(losses)
    assert rewinds[LATE - 2 : LATE] == [0, 1]
    assert_back(whole)
    for stop in STOPS:
        first, second = Training(total_steps=STEPS), Training(total_steps=STEPS)
        lrs, _ = run(first, stop)
        second.load(copy.deepcopy(first.state()))
        more, after = run(second, STEPS)
        assert lrs + more == expected
        assert_part(after, whole)


def test_in_accelerate(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    from integrations.accelerate import Loop

    losses, after, rewinds = late_fall(), After(), list[int]()

    def loop() -> Loop:
        return Loop(losses, accelerate.Accelerator(cpu=True), STEPS)

    def note(updates: int, of: Loop) -> None:
        after[updates] = everything(of.model, of.optimizer)
        rewinds.append(of.scheduler.rewinds)

    whole = loop()
    after[FIRST] = everything(whole.model, whole.optimizer)
    assert whole.run(after_update=lambda updates: note(updates, whole)) == core_trace(losses)
    assert rewinds[LATE - 2 : LATE] == [0, 1]
    assert_back(after)
    expected, after = after, After()
    for stop in STOPS:
        first, second = loop(), loop()
        first.run(after_update=lambda updates, stop=stop: updates == stop)
        first.accelerator.save_state(tmp_path / str(stop))
        second.accelerator.load_state(tmp_path / str(stop))
        lrs = second.run(stop, after_update=lambda updates, second=second: note(updates, second))
        assert first.lrs + lrs == whole.lrs
        assert_part(after, expected)


def test_in_the_hugging_face_trainer(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from integrations.contract.contract import KilledError
    from integrations.huggingface import LearningRates, StopAfter, trainer_for
    from integrations.test_huggingface import Weights

    losses, whole, recorder = late_fall(), Weights(), LearningRates()
    trainer = trainer_for(losses, tmp_path, callbacks=[whole, recorder])
    trainer.train()
    assert recorder.lrs == core_trace(losses)
    assert trainer.lr_scheduler.rewinds >= 1
    assert_back(whole.after)
    for stop in STOPS:
        folder, rest = tmp_path / str(stop), Weights()
        saving = {"save_strategy": "steps", "save_steps": stop}
        with pytest.raises(KilledError):
            trainer_for(losses, folder, callbacks=[StopAfter(stop)], **saving).train()
        trainer_for(losses, folder, callbacks=[rest]).train(resume_from_checkpoint=True)
        assert list(rest.after) == list(range(stop, STEPS + 1))
        assert_part(rest.after, whole.after)


@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning")
def test_in_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning.pytorch")
    from integrations.lightning_runs import AutoWUCallback, Weights, WithBatchNorm, fit

    losses, whole, callback = late_fall(), Weights(), AutoWUCallback()
    lrs = fit(callback, losses, WithBatchNorm(), callbacks=[whole])
    assert lrs == core_trace(losses)
    assert callback.scheduler.rewinds >= 1
    assert_back(whole.after, seen=0)  # the batch comes within the optimizer's step
    for stop in STOPS:
        checkpoint, rest = tmp_path / f"{stop}.ckpt", Weights()
        fit(AutoWUCallback(), losses, WithBatchNorm(), callbacks=[Weights(stop, checkpoint)])
        again = fit(AutoWUCallback(), losses, WithBatchNorm(), callbacks=[rest], ckpt_path=checkpoint)
        assert again == lrs[stop:]
        assert_part(rest.after, whole.after)


def test_in_optax() -> None:
    pytest.importorskip("optax")
    from integrations.test_optax import Run, without_lr
    from integrations.test_optax import assert_equal as assert_equal_trees

    losses, whole = late_fall(), Run(begun=True)
    whole.train(losses[: LATE - 1])
    assert whole.schedule.driver.rewinds == 0
    whole.history.pop()
    whole.train(losses[LATE - 1 : LATE])
    assert whole.schedule.driver.rewinds == 1
    whole.history.pop()
    whole.train(losses[LATE:])
    np.testing.assert_array_equal(np.float32(whole.lrs), np.float32(core_trace(losses)))
    (params, opt_state), (first, first_state) = whole.history[LATE], whole.history[FIRST]
    assert_equal_trees(params, first)
    assert_equal_trees(without_lr(opt_state), without_lr(first_state))
    assert not np.array_equal(whole.history[LATE - 1][0]["line"]["slope"], first["line"]["slope"])
    for stop in STOPS:
        begun, rest = Run(begun=True), Run()
        begun.train(losses[:stop])
        rest.schedule.load_state_dict(begun.schedule.state_dict())
        rest.params, rest.opt_state = begun.params, rest.schedule.set_learning_rate(begun.opt_state)
        rest.train(losses[stop:])
        assert begun.lrs + rest.lrs == whole.lrs
        assert_equal_trees(rest.history[-1], whole.history[-1])


def test_in_keras(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from integrations.keras import trial, worker

    result = worker(backend).submit(trial, "keras_late", "late", tmp_path).result()
    assert all(result["back"])
    assert result["moved"]
    assert result["rewinds"] == [0, 1]
    assert result["resumed"] == [True] * len(STOPS)
    np.testing.assert_array_equal(np.float32(result["lrs"]), np.float32(result["expected"]))
