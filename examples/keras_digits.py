"""Keras 3 with AutoWU: a small convolutional network learns to read handwritten digits.

    python examples/keras_digits.py     under a minute on two cores; after an interruption, it goes on

The backend is PyTorch, or what KERAS_BACKEND names.
"""

import argparse
import os
from importlib import resources
from pathlib import Path

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
from keras import layers

from autowu.integrations.keras import AutoWUCallback


class Batches(keras.utils.PyDataset):
    """Batches in an order that follows from the epoch alone: a resumed run sees what it would have seen."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, size: int) -> None:
        super().__init__()
        self.images, self.labels, self.size, self.epoch = images, labels, size, 0

    def __len__(self) -> int:
        return len(self.labels) // self.size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.default_rng(self.epoch).permutation(len(self.labels))
        batch = order[index * self.size :][: self.size]
        return self.images[batch], self.labels[batch]


def main() -> None:
    """Train, with a backup after each epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/keras"), help="folder of backup and log")
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    backup = options.out / "backup"
    options.out.mkdir(parents=True, exist_ok=True)

    with resources.files("autowu.train").joinpath("digits.npz").open("rb") as file, np.load(file) as digits:
        x_train, y_train, x_test, y_test = (
            digits[name] for name in ("x_train", "y_train", "x_test", "y_test")
        )
    train = Batches(x_train[..., None] / np.float32(16), y_train.astype("int32"), 32)
    test = x_test[..., None] / np.float32(16), y_test.astype("int32")

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.AdamW(),  # no learning rate: AutoWU finds it
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    autowu = AutoWUCallback(total_steps=options.epochs * len(train))
    model.fit(
        train,
        epochs=options.epochs,
        shuffle=False,  # `Batches` does
        validation_data=test,
        verbose=2,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: setattr(train, "epoch", epoch)),
            autowu,
            keras.callbacks.BackupAndRestore(backup),  # at each epoch's end; after AutoWU
            keras.callbacks.CSVLogger(options.out / "log.csv", append=backup.exists()),
        ],
    )

    switch, steps = autowu.driver.switch, options.epochs * len(train)
    print(f"warm-up ended at update {switch.step} of {steps}, peak LR {switch.peak_lr:.2g}")
    print(f"accuracy on unseen images: {model.evaluate(*test, verbose=0)[1]:.1%}")


if __name__ == "__main__":
    main()
