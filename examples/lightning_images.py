"""Lightning with AutoWU: a small convolutional network learns to read handwritten digits.

Usage::

    python examples/lightning_images.py                           under a minute on two cores
    python examples/lightning_images.py --resume                  goes on after an interruption
    python examples/lightning_images.py --data fashion_mnist.npz  other images, in Keras' layout
"""

# First: beside a torchvision that was built for another torch, Lightning can be imported only after it.
from autowu.integrations.lightning import AutoWUCallback  # isort: split

import argparse
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from autowu.train.data import arrays


class Classifier(lightning.LightningModule):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(32 * 3 * 3, classes),
        )

    def training_step(self, batch: list[Tensor]) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: list[Tensor]) -> None:
        images, labels = batch
        self.log("accuracy", (self.network(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())  # no learning rate: AutoWU finds it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="digits", help="'digits' or a FILE.npz")
    parser.add_argument("--out", type=Path, default=Path("runs/lightning"), help="folder of the checkpoints")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args()

    lightning.seed_everything(0)
    data = arrays.digits() if options.data == "digits" else arrays.read(options.data)
    brightest = float(data.train.images.max())
    training, unseen = (
        TensorDataset(part.images / brightest, part.labels) for part in (data.train, data.test)
    )
    # Shuffled anew in each epoch, and in a resumed run in the same way.
    order = DistributedSampler(training, num_replicas=1, rank=0, seed=0)
    callback = AutoWUCallback()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=options.epochs,
        callbacks=[
            callback,
            ModelCheckpoint(options.out, save_last=True),  # at each epoch's end
            LearningRateMonitor("step"),
        ],
        logger=CSVLogger(options.out, name="log"),
        log_every_n_steps=1,
        enable_progress_bar=False,
    )
    trainer.fit(
        Classifier(data.train.images.shape[1], data.classes),
        DataLoader(training, 32, sampler=order, drop_last=True),
        DataLoader(unseen, 1000),
        ckpt_path="last" if options.resume else None,
    )

    switch = callback.scheduler.switch
    print(f"warm-up ended at update {switch.step} of {trainer.global_step}, peak LR {switch.peak_lr:.2g}")
    print(f"accuracy on unseen images: {trainer.callback_metrics['accuracy']:.1%}")


if __name__ == "__main__":
    main()
