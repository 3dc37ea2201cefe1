"""AutoWU in a training loop with Accelerate: handwritten digits, in one process or several.

Usage::

    python examples/accelerate_digits.py                           seconds on two cores
    python examples/accelerate_digits.py --resume                  goes on after an interruption
    torchrun --nproc-per-node 2 examples/accelerate_digits.py      the same in two processes
"""

import argparse
import math
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autowu import AutoWU
from autowu.integrations.accelerate import AcceleratedAutoWU
from autowu.train.data import arrays


def save(accelerator: Accelerator, folder: Path, epochs: int) -> None:
    """Save under another name first, so that every folder ``epoch-…`` is whole."""
    accelerator.save_state(folder / "unfinished")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (folder / "unfinished").rename(folder / f"epoch-{epochs:03}")


def main() -> None:
    """Train, test, and say how warm-up ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/accelerate"), help="folder of checkpoints")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of the whole run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args()
    saved = sorted(options.out.glob("epoch-*"))
    if saved and not options.resume:
        parser.error(f"{options.out} has checkpoints: go on from them with --resume, or give another --out")

    set_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    data = arrays.digits()
    brightest = float(data.train.images.max())
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    train = TensorDataset(data.train.images / brightest, data.train.labels)
    batches = DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
    model, optimizer, batches = accelerator.prepare(model, optimizer, batches)

    # Of an epoch, on this many processes; what is left over at its end makes a shorter update.
    updates = math.ceil(len(batches) / accelerator.gradient_accumulation_steps)
    total, plain_model = options.epochs * updates, accelerator.unwrap_model(model)
    scheduler = AcceleratedAutoWU(accelerator, AutoWU(optimizer, total_steps=total, model=plain_model))

    if saved:
        accelerator.load_state(saved[-1])
    for epoch in range(len(saved), options.epochs):
        for images, labels in batches:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(images), labels)
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step(loss)
                optimizer.zero_grad()
        lr = scheduler.get_last_lr()[0]
        accelerator.print(
            f"epoch {epoch + 1:3}   loss {loss.item():.4f}   next LR {lr:.3e}   {scheduler.phase}"
        )
        save(accelerator, options.out, epoch + 1)

    model.eval()
    with torch.no_grad():
        right = model(data.test.images / brightest).argmax(1) == data.test.labels
    switch = scheduler.switch
    accelerator.print(f"warm-up ended at update {switch.step}, with a peak LR of {switch.peak_lr:.2g}")
    accelerator.print(f"test accuracy: {right.float().mean():.1%}")


if __name__ == "__main__":
    main()
