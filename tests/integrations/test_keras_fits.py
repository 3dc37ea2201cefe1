"""What people do around Keras' `fit`, and callbacks within it: nothing of it goes wrong in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h5py")  # keras itself cannot be imported before its backend is chosen

from integrations.keras import trial, worker

NOT_ONCE = "callbacks must be a list that has this AutoWUCallback once: callbacks=[autowu, …]"


def run(backend: str, name: str, *arguments: Any) -> Any:
    return worker(backend).submit(trial, "keras_fits", name, *arguments).result()


@pytest.mark.parametrize("known", [False, True], ids=["not evaluated before", "evaluated before"])
def test_a_callback_that_evaluates_before_autowu_reads_changes_no_loss(backend: str, known: bool) -> None:
    assert run(backend, "evaluating", known)


def test_of_two_metrics_called_loss_the_one_that_is_given_it_counts(backend: str) -> None:
    assert run(backend, "two_of_one_name") == (2, True)


def test_without_a_metric_called_loss_the_error_says_which_there_are_and_what_to_do(backend: str) -> None:
    message = run(backend, "without_the_name")
    assert "let train_step give it to keras.metrics.Mean(name='loss')" in message
    assert message.endswith("(they are: total_loss, kl_loss)")
    assert "A GAN has no loss that is meant to fall" in message


def test_the_loss_of_several_replicas_is_their_mean(backend: str) -> None:
    assert run(backend, "replicas") == (1, {"mean"}, 2.5)


@pytest.mark.parametrize("listed", ["before", "after"])
@pytest.mark.parametrize("optimizer", ["another", "the same"])
def test_a_model_that_a_callback_compiles_anew_is_followed(backend: str, optimizer: str, listed: str) -> None:
    result = run(backend, "recompiled", optimizer, listed)
    assert result == {"same losses": True, "steps": 80, "lrs": run(backend, "plain"), "left": False}


def test_a_second_autowu_is_refused_at_the_start(backend: str) -> None:
    messages = run(backend, "several")
    assert "callbacks must have one AutoWUCallback, not several: leave out AutoWUCall" in messages["two"]
    assert messages["twice"] == NOT_ONCE


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_callback_outside_of_a_list_is_refused(backend: str, epochs: int) -> None:
    assert run(backend, "outside_of_a_list", epochs) == NOT_ONCE


def test_a_fit_that_begins_later_without_the_state_says_how_to_go_on(backend: str, tmp_path: Path) -> None:
    found = run(backend, "later_epochs", tmp_path)
    assert found.pop("set_model") == []
    for (text,) in found.values():
        assert "begins at epoch 2, and AutoWU at update 0" in text
        assert "call set_model(model) of this callback, and then model.load_weights(file)" in text


def test_a_fit_that_was_interrupted_within_an_update_says_what_to_do(backend: str, tmp_path: Path) -> None:
    result = run(backend, "interrupted", tmp_path)
    assert "If a fit was interrupted there, fit on first; or `del model.optimizer" in result["message"]
    assert result["steps"] == 19  # the update that was interrupted has no loss


def test_weights_without_the_state_are_refused_with_the_way_to_begin_anew(
    backend: str, tmp_path: Path
) -> None:
    result = run(backend, "begun_anew", tmp_path)
    assert "to begin anew with them, first `del model.optimizer.autowu`" in result["message"]
    assert "object at 0x" not in result["message"]
    assert result["steps"] == 10


@pytest.mark.parametrize("how", ["copy", "deepcopy", "pickle"])
def test_a_run_goes_on_with_a_copy_of_the_callback_and_its_model(backend: str, how: str) -> None:
    result = run(backend, "copies", how)
    assert result["same LRs"]
    assert result["same weights"]
    assert result["told"] == []
