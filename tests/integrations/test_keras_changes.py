"""A Keras model that is changed while there is a snapshot: what is put back is known by what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h5py")  # keras itself cannot be imported before its backend is chosen

from integrations.keras import trial, worker

WEIGHTS = [f"layer{index}/{name}" for index in range(4) for name in ("kernel", "bias")]
LAYER1 = ["layer1/kernel", "layer1/bias"]
HEAD = ["layer3/kernel", "layer3/bias"]


def run(backend: str, name: str, *arguments: Any) -> Any:
    return worker(backend).submit(trial, "keras_changes", name, *arguments).result()


def test_a_layer_that_was_frozen_since_goes_back_and_so_do_its_neighbours(backend: str) -> None:
    result = run(backend, "change", "freeze")
    assert result["back"] == WEIGHTS
    assert result["stayed"] == []
    assert result["warnings"] == []


def test_what_is_frozen_is_left_out_and_goes_back_if_it_was_unfrozen_since(backend: str) -> None:
    result = run(backend, "change", "unfreeze", "layer1")
    assert result["frozen"] == ["sequential/layer1/bias", "sequential/layer1/kernel"]
    assert result["back"] == WEIGHTS
    assert result["stayed"] == []
    assert result["warnings"] == []


def test_a_new_head_of_the_same_name_stays_and_the_rest_goes_back(backend: str) -> None:
    result = run(backend, "change", "replace_head")
    assert result["back"] == [name for name in WEIGHTS if name not in HEAD]
    assert result["stayed"] == HEAD
    assert result["warnings"] == []


def test_with_a_new_optimizer_the_weights_go_back(backend: str) -> None:
    result = run(backend, "change", "recompile")
    assert result["back"] == WEIGHTS


def test_a_layer_that_is_gone_shifts_no_other(backend: str) -> None:
    result = run(backend, "change", "drop_first")
    assert result["back"] == WEIGHTS[2:]


def test_a_snapshot_that_does_not_fit_is_refused_as_a_whole_and_the_run_goes_on(backend: str) -> None:
    result = run(backend, "misfit")
    assert result["steps"] == 120
    assert result["stayed"]
    assert result["rewound_to"] is None
    (warning,) = result["warnings"]
    assert "layer2/kernel has shape (4, 4), and (4, 5) in the snapshot" in warning


def test_what_cannot_be_written_is_found_when_the_snapshot_is_taken() -> None:
    pytest.importorskip("torch")
    result = run("torch", "unwritable")
    assert result["steps"] == 120
    assert result["rewound_to"] is None
    (warning,) = [text for text in result["warnings"] if "weights stay as they are" not in text]
    assert "no snapshot for rewinding can be taken" in warning
    assert "moving_mean" in warning


def test_a_model_that_is_built_again_has_the_same_names(backend: str) -> None:
    names = run(backend, "names")
    assert names["first"] == names["second"]
    assert "adam/sequential_1_dense_1_kernel_momentum" in names["first"]
    assert len({*names["first"]}) == len(names["first"])
    assert "sequential_1/dense_1/kernel" in names["first"]


@pytest.mark.parametrize("builder", ["sequential", "nested"])
def test_the_copy_in_a_file_fits_a_model_that_keras_has_loaded(
    backend: str, builder: str, tmp_path: Path
) -> None:
    result = run(backend, "gone_on_with", tmp_path, builder)
    assert result == {"same paths": False, "as kept": True, "warnings": []}


def test_a_callback_that_has_served_another_model_says_so_once(backend: str) -> None:
    (warning,) = run(backend, "another_model")
    assert "has made 20 updates of another model" in warning
