"""Keras 3 as a host of the contract, on each backend in a process of its own: a process can have only one."""

from __future__ import annotations

import json
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any

import numpy as np

from integrations.contract.contract import Host, Job
from told import WATCH

BACKENDS = tuple(filter(find_spec, ("jax", "torch", "tensorflow")))  # of those that are installed
# What a process with Keras in it must be given before it starts.
ENVIRONMENT = {
    "KERAS_BACKEND": "",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
}


class Keras(Host):
    exact = False  # Keras keeps the LR in float32
    processes = False

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.name = f"keras-{backend}"

    def make(self, job: Job) -> list[float]:
        return worker(self.backend).submit(train, job).result()


HOSTS = [Keras(backend) for backend in BACKENDS]


@cache
def worker(backend: str) -> ProcessPoolExecutor:
    """A process with Keras on ``backend``, which is kept for all tests: its import takes seconds."""
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=prepare, initargs=(backend,))


def prepare(backend: str) -> None:
    os.environ.update(ENVIRONMENT, KERAS_BACKEND=backend)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "AutoWU: .* not finite")
    warnings.filterwarnings("ignore", "AutoWU: warm-up ended at its cap")
    warnings.filterwarnings("ignore", "AutoWU: the run ended after")
    warnings.filterwarnings("ignore", WATCH.removeprefix("ignore:"))
    # Keras has NumPy copy a tensor of PyTorch, which does not know of `copy` yet.
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
    if backend == "torch":
        import torch

        torch.set_num_threads(1)


def trial(module: str, name: str, *arguments: Any) -> Any:
    """A function of such a module as `keras_trials`, which only a process with a backend can import."""
    return getattr(import_module(f"integrations.{module}"), name)(*arguments)


def train(job: Job) -> list[float]:
    import keras

    from autowu.integrations.keras import AutoWUCallback

    class Recorder(keras.callbacks.Callback):
        """Knows the LR that each batch was trained with; stops the training as a crash would."""

        def __init__(self) -> None:
            super().__init__()
            self.lrs: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.lrs.append(float(self.model.optimizer.learning_rate))
            if (done + batch + 1) % job.accumulation == 0:
                job.ask((done + batch + 1) // job.accumulation, autowu)
            if job.stop_after is not None and batch + 1 == job.stop_after * job.accumulation:
                raise InterruptedError

    done = 0
    if job.resume:
        metadata = json.loads((job.folder / "training_metadata.json").read_text())
        done = metadata["batch"] + 1  # BackupAndRestore itself goes back to the epoch's begin
    model = one_parameter(job.accumulation)
    recorder = Recorder()
    autowu = AutoWUCallback(job.total_steps, **job.settings)
    callbacks = [autowu, recorder]
    if job.stop_after is not None or job.resume:
        freq = job.stop_after * job.accumulation if job.stop_after else len(job.losses)
        callbacks.insert(1, keras.callbacks.BackupAndRestore(job.folder, save_freq=freq))
    x = np.float32(job.losses)[done:, None]
    with suppress(InterruptedError):
        model.fit(x, x, batch_size=1, shuffle=False, verbose=0, callbacks=callbacks)
    return recorder.lrs[job.accumulation - 1 :: job.accumulation]


def one_parameter(accumulation: int = 1, optimizer: Any = None) -> Any:
    """A compiled model whose loss is the mean of its inputs."""
    import keras
    from keras import ops

    class Passing(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(), initializer="ones")

        def call(self, x: Any) -> Any:
            return x + 0 * self.w

    model = keras.Sequential([keras.Input((1,)), Passing()])
    optimizer = optimizer or keras.optimizers.SGD(
        gradient_accumulation_steps=accumulation if accumulation > 1 else None
    )
    model.compile(optimizer, loss=lambda _, y: ops.mean(y))
    return model
