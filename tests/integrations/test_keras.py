"""What is particular to Keras: the batch's own loss, rewind of all variables, weights files, clear errors."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limits
from autowu.extras import install

pytest.importorskip("h5py")  # keras itself cannot be imported before its backend is chosen

from integrations.keras import ENVIRONMENT, trial, worker

EXAMPLE = Path(__file__).parents[2] / "examples" / "keras_digits.py"


def run(backend: str, name: str, *arguments: Any) -> Any:
    return worker(backend).submit(trial, "keras_trials", name, *arguments).result()


def assert_same_lrs(actual: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(np.float32(actual), np.float32(expected))


def test_the_loss_is_the_batchs_own_to_the_last_bit(backend: str) -> None:
    losses = run(backend, "batch_losses")
    assert np.array_equal(losses["read"], losses["true"], equal_nan=True)
    # What the logs say is neither exact nor there at all after a NaN.
    assert not np.array_equal(losses["taken out"][:70], losses["true"][:70])
    assert np.isnan(losses["taken out"][70:]).all()


def test_the_epochs_loss_stays_keras_mean(backend: str) -> None:
    with_autowu, without = run(backend, "mean_of_epoch")
    assert with_autowu == without


def test_weights_statistics_and_optimizer_go_back_to_the_minimum(backend: str) -> None:
    result = run(backend, "rewind")
    rewound_to, step = result["steps"]
    assert 0 < rewound_to < step
    assert result["restored"]
    # Kernel, bias, BatchNorm's four, the optimizer's iterations and two moments of four variables.
    assert result["unlike the step before"] == [True] * (6 + 1 + 8)
    assert result["iterations"] == len(result["lrs"]) - result["undone"]
    assert result["undone"] > step - rewound_to  # the curve rises after the switch: it goes back once more
    assert_same_lrs(result["lrs"], result["expected"])


@pytest.mark.parametrize(("optimizer", "states"), [("averages", 1 + 3 * 4), ("loss scale", 4 + 1 + 2 * 4)])
def test_what_an_optimizer_holds_besides_goes_back(backend: str, optimizer: str, states: int) -> None:
    result = run(backend, "rewind", optimizer)
    assert result["restored"]
    assert len(result["unlike the step before"]) == 6 + states
    assert result["iterations"] == len(result["lrs"]) - result["undone"]


def test_weights_go_back_whose_64_bits_the_backend_has_not(backend: str) -> None:
    rewound_to, texts = run(backend, "rewind_of_64_bits")
    assert rewound_to is not None
    assert texts == []


def test_a_copy_can_be_put_back_twice(backend: str) -> None:
    assert run(backend, "rewind_twice")


def test_a_training_function_made_before_is_made_again(backend: str) -> None:
    result = run(backend, "fitted_before")
    assert_same_lrs(result["lrs"], result["expected"])


def test_validation_and_repeated_fits_change_nothing(backend: str) -> None:
    result = run(backend, "epochs_and_validation")
    assert_same_lrs(result["logged"], result["expected"])


def test_a_step_that_the_loss_scale_skips_is_no_update(backend: str) -> None:
    result = run(backend, "overflowing_steps")
    steps, updates = result["updates"]
    assert 0 < updates < 40
    assert steps == updates
    assert_same_lrs(result["lrs"], result["expected"])


def test_a_weights_file_is_enough_to_go_on(backend: str, tmp_path: Path) -> None:
    result = run(backend, "by_weights_file", tmp_path)
    assert result["begun"] == result["whole"][:25]
    assert result["resumed"] == result["whole"][25:]
    assert result["same weights"]


def test_a_model_file_needs_no_autowu(backend: str, tmp_path: Path) -> None:
    assert run(backend, "whole_model_file", tmp_path) == {"during": True, "after": False, "loaded": True}


def test_errors_say_what_to_do(backend: str, tmp_path: Path) -> None:
    messages = run(backend, "errors", tmp_path)
    settable = "the optimizer's learning rate is a schedule or a function"
    assert settable in messages["schedule"]
    assert settable in messages["function"]
    # PyTorch's backend refuses it itself.
    assert re.search("`?steps_per_execution`? must be 1", messages["several_steps"])
    assert "list AutoWUCallback before BackupAndRestore" in messages["wrong_order"]
    assert "saved without the state of AutoWU" in messages["foreign_weights"]
    assert "the cooldown begins before AutoWU has seen the batch: list Auto" in messages["cooled_too_soon"]
    assert "has not given its loss to the metric called 'loss'" in messages["lossless"]
    assert "seed is 1 here, but 0 in the saved state" in messages["other_settings"]


def test_without_keras_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['keras'] = None; import autowu.integrations.keras"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(install("keras"))


def log(folder: Path) -> list[tuple[str, str, str]]:
    with open(folder / "log.csv", newline="") as file:
        return [(row["epoch"], row["learning_rate"], row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.full
def test_the_example_goes_on_after_kill_9_as_if_unbroken(backend: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE), "--epochs", "5", "--out"]
    environment = os.environ | ENVIRONMENT | {"KERAS_BACKEND": backend}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, str(whole)], check=True, capture_output=True, env=environment)
    with subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, env=environment) as process:
        limits.wait_for(
            lambda: (killed / "log.csv").exists() and len(log(killed)) >= 2, lambda: process.poll() is None
        )
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert log(killed) == log(whole)[: len(log(killed))]
    assert len(log(killed)) < 5
    subprocess.run([*command, str(killed)], check=True, capture_output=True, env=environment)
    # Where the blow fell between backup and log, an epoch is not in the log.
    assert log(killed) == [row for row in log(whole) if row in log(killed)]
    assert len(log(killed)) >= 4
    assert log(killed)[-1] == log(whole)[-1]
