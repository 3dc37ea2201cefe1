"""Others beside AutoWU in Keras: those that set the LR too, that end the run, that make the updates."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("h5py")  # keras itself cannot be imported before its backend is chosen

from integrations.keras import trial, worker


def run(backend: str, name: str) -> Any:
    return worker(backend).submit(trial, "keras_hands", name).result()


def test_a_second_hand_on_the_lr_is_told_of_once(backend: str) -> None:
    found = {
        name: [text for text in texts if "sets the optimizer's learning rate" in text]
        for name, texts in run(backend, "second_hands").items()
    }
    for name in ("scheduler", "plateau"):
        assert len(found[name]) == 1
        assert "such as LearningRateScheduler or ReduceLROnPlateau" in found[name][0]
    assert len(found["assigned"]) == 1
    assert "such as another callback" in found["assigned"][0]
    assert "it is 0.5, where AutoWU had set " in found["assigned"][0]
    assert found["none"] == []


def test_the_end_of_a_stream_is_taken_for_no_second_hand(backend: str) -> None:
    # Keras sees it where the next batch has begun: on JAX the LR that was written for that is lost.
    found = {
        name: [text for text in texts if "sets the optimizer's learning rate" in text]
        for name, texts in run(backend, "of_streams").items()
    }
    assert found["none"] == []
    assert len(found["scheduler"]) == 1


def test_the_end_of_a_stream_is_no_update_even_where_the_optimizer_counts_one(backend: str) -> None:
    assert run(backend, "of_counted_ends") == (30, [])


def test_a_run_that_ends_before_its_lr_has_fallen_says_so(backend: str) -> None:
    found = {
        name: [text for text in texts if "the run ended after" in text]
        for name, texts in run(backend, "ends").items()
    }
    assert len(found["early"]) == 1
    assert "after 20 of the 40 updates" in found["early"][0]
    assert len(found["planned for more"]) == 1
    assert "after 40 of the 400 updates" in found["planned for more"][0]
    assert found["as planned"] == []


def test_optimizers_that_autowu_does_not_set_are_told_of(backend: str) -> None:
    result = run(backend, "two_optimizers")
    assert result["steps"] == 0
    besides, idle = result["warnings"]
    assert "d_optimizer, g_optimizer" in besides
    assert "has made no update in a whole epoch" in idle


def test_updates_beside_the_batches_of_fit_are_told_of_once(backend: str) -> None:
    found = run(backend, "beside_fit")
    assert {steps for steps, _ in found.values()} == {16}
    assert found.pop("none")[1] == []
    for name, (_, (text,)) in found.items():
        within = name.startswith("on_train_batch")
        made = "2 updates where AutoWU counts 1" if within else "1 update where AutoWU counts 0"
        assert f"has made {made}: by train_on_batch" in text


def test_the_updates_of_two_models_are_not_compared(backend: str) -> None:
    assert run(backend, "two_models") == []
