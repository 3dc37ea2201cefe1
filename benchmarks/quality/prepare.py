"""Cut each workload's data out of the full sets, so that one file serves training, validation and test.

The trainer knows a training and a test part. Here the test part is validation, then test; a trial evaluates
the two apart. Images come from the full set in a fixed random order: validation from its training part, so
that the full set's test images never choose anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autowu.train.data.arrays import digits
from benchmarks.quality.workloads import Workload

Arrays = dict[str, NDArray[Any]]


def prepare(data: Path, workloads: Iterable[Workload]) -> None:
    """Write the file of each workload to ``data``/quality, unless it is there."""
    folder = data / "quality"
    folder.mkdir(exist_ok=True)
    for workload in workloads:
        path = folder / workload.file
        if path.exists():
            continue
        draft = path.with_name(f"draft-{path.name}")  # a file that is there is whole
        if workload.is_text:
            draft.write_text(text(workload, (data / workload.source).read_text()))
        else:
            np.savez(draft, **images(workload, full_set(workload, data)))
        draft.rename(path)


def full_set(workload: Workload, data: Path) -> Arrays:
    """The set in Keras' layout; the digits, which have one part, in a fixed order with their end as test."""
    if workload.source != "digits":
        with np.load(data / workload.source) as archive:
            return {key: archive[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    both = digits()
    x = np.concatenate([both.train.images.numpy(), both.test.images.numpy()])[:, 0]
    y = np.concatenate([both.train.labels.numpy(), both.test.labels.numpy()])
    order = np.random.default_rng(0).permutation(len(y))
    x, y, cut = x[order], y[order], len(y) - workload.test
    return {"x_train": x[:cut], "y_train": y[:cut], "x_test": x[cut:], "y_test": y[cut:]}


def images(workload: Workload, full: Arrays) -> Arrays:
    """Training images, and as test images the validation images followed by the test images."""
    order = np.random.default_rng(1).permutation(len(full["y_train"]))
    train, validation = np.split(order[: workload.train + workload.validation], [workload.train])
    test = np.random.default_rng(2).permutation(len(full["y_test"]))[: workload.test]
    assert (len(train), len(validation), len(test)) == (workload.train, workload.validation, workload.test)
    parts = {
        kind: {
            "train": full[f"{kind}_train"][train],
            "test": np.concatenate([full[f"{kind}_train"][validation], full[f"{kind}_test"][test]]),
        }
        for kind in "xy"
    }
    pooled = {f"x_{part}": pool(array, workload.pool) for part, array in parts["x"].items()}
    return pooled | {f"y_{part}": array for part, array in parts["y"].items()}


def pool(array: NDArray[Any], side: int) -> NDArray[Any]:
    """The mean of each ``side`` × ``side`` square: (n, height, width, …) -> (n, height/side, …), rounded."""
    if side == 1:
        return array
    count, height, width = array.shape[:3]
    squares = array.reshape(count, height // side, side, width // side, side, *array.shape[3:])
    return np.rint(squares.mean((2, 4))).astype(array.dtype)


def text(workload: Workload, full: str) -> str:
    """The last tenth of what is returned, which is the trainer's test part, is validation, then test."""
    ending = workload.validation + workload.test
    assert workload.train == 9 * ending
    assert len(full) >= workload.train + ending
    return full[: workload.train] + full[len(full) - ending :]
