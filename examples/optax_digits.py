"""JAX and optax with AutoWU: a small network learns to read handwritten digits.

python examples/optax_digits.py     seconds on two cores; after an interruption, it goes on
"""

import argparse
from importlib import resources
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autowu.integrations.optax import AutoWU

BATCH = 32
WIDTHS = (64, 128, 10)


def digits() -> list[np.ndarray]:
    """Images [n, 64] in [0, 1] and labels [n], for training and for testing."""
    with resources.files("autowu.train").joinpath("digits.npz").open("rb") as file, np.load(file) as data:
        x_train, x_test = (data[name].reshape(-1, 64) / np.float32(16) for name in ("x_train", "x_test"))
        return [x_train, data["y_train"].astype(np.int32), x_test, data["y_test"].astype(np.int32)]


def initialize(key: jax.Array) -> list[dict[str, jax.Array]]:
    """A perceptron's weights, scaled for ReLU."""
    sizes = list(pairwise(WIDTHS))
    return [
        {"w": jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a), "b": jnp.zeros(b)}
        for k, (a, b) in zip(jax.random.split(key, len(sizes)), sizes, strict=True)
    ]


def logits(params: list[dict[str, jax.Array]], images: jax.Array) -> jax.Array:
    """The network's output [n, 10]."""
    *hidden, last = params
    for layer in hidden:
        images = jax.nn.relu(images @ layer["w"] + layer["b"])
    return images @ last["w"] + last["b"]


def loss_of(params: list[dict[str, jax.Array]], images: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, images), labels).mean()


optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.0)  # AutoWU finds it


@jax.jit
def train_step(params, opt_state, images, labels):
    """One update; gives its loss too."""
    loss, gradient = jax.value_and_grad(loss_of)(params, images, labels)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def save(path: Path, epoch: int, params, opt_state, schedule: AutoWU) -> None:
    """All of a run in one file, which is whole or not there at all."""
    leaves = {f"leaf.{index}": leaf for index, leaf in enumerate(jax.tree.leaves((params, opt_state)))}
    partial = path.with_name("partial.npz")
    np.savez(partial, epoch=epoch, **leaves, **schedule.state_dict())
    partial.replace(path)


def main() -> None:
    """Train, with a checkpoint after each epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/optax"), help="folder of the checkpoint")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.npz"

    x_train, y_train, x_test, y_test = digits()
    batches = len(y_train) // BATCH
    params = initialize(jax.random.key(0))
    opt_state = optimizer.init(params)
    schedule, first = AutoWU(total_steps=options.epochs * batches), 0
    if checkpoint.exists():
        with np.load(checkpoint) as saved:
            first = int(saved["epoch"])
            structure = jax.tree.structure((params, opt_state))
            leaves = [jnp.asarray(saved[f"leaf.{index}"]) for index in range(structure.num_leaves)]
            params, opt_state = jax.tree.unflatten(structure, leaves)
            schedule.load_state_dict(saved)
    opt_state = schedule.set_learning_rate(opt_state, params)

    for epoch in range(first, options.epochs):
        order = np.random.default_rng(epoch).permutation(len(y_train))
        for batch in order[: batches * BATCH].reshape(batches, BATCH):
            params, opt_state, loss = train_step(params, opt_state, x_train[batch], y_train[batch])
            params, opt_state = schedule.step(loss, params, opt_state)
        save(checkpoint, epoch + 1, params, opt_state, schedule)
        accuracy = float((logits(params, x_test).argmax(-1) == y_test).mean())
        print(
            f"epoch {epoch + 1:2}  loss {loss:.5f}  accuracy {accuracy:.3f}  {schedule.driver.phase:6}"
            f"  next LR {schedule.driver.learning_rate:.6g}",
            flush=True,
        )

    switch, steps = schedule.driver.switch, options.epochs * batches
    print(f"warm-up ended at update {switch.step} of {steps}, peak LR {switch.peak_lr:.2g}")
    checkpoint.unlink()


if __name__ == "__main__":
    main()
