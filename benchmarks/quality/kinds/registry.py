"""All kinds: their tasks, updates, and the middle one of their fixed peak LRs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.quality.kinds import finetune, generative, images, plateau, rare, regression, sequence
from benchmarks.quality.kinds.data import CIFAR10, CIFAR100, FASHION, TEXT
from benchmarks.quality.kinds.held_out import HELD_OUT
from benchmarks.quality.kinds.task import Kind, Task, Unit

LONG: Final = 20_000


def _kind(
    name: str, task: Callable[[int, Path], Task], steps: int, centre: float, unit: Unit, *needs: str
) -> Kind:
    optimizer = task.optimizer  # type: ignore[attr-defined]
    return Kind(name, task, steps, optimizer, centre, unit, steps >= LONG, needs, name in HELD_OUT)


KINDS: Final = {
    kind.name: kind
    for kind in (
        _kind("copy-gpt", plateau.Copying, 1_000, 3e-3, "%"),
        _kind("parity", plateau.Parity, 2_000, 1e-2, "%"),
        _kind("parity-sgd", plateau.ParityBySGD, 1_200, 1e-1, "%"),
        _kind("deep-tanh", plateau.DeepTanh, 1_500, 3e-2, "%", FASHION),
        _kind("finetune-cnn", finetune.FinetuneCNN, 500, 3e-3, "%", CIFAR10, CIFAR100),
        _kind("finetune-gpt", finetune.Backwards, 400, 3e-3, "loss", TEXT),
        _kind("lora-gpt", finetune.Adapters, 400, 1e-2, "loss", TEXT),
        _kind("lstm", sequence.Recurrent, 500, 1e-2, "loss", TEXT),
        _kind("muon-gpt", sequence.WithMuon, 500, 1e-2, "loss", TEXT),
        _kind("mixed-shapes", sequence.MixedShapes, 500, 1e-2, "loss", TEXT),
        _kind("diffusion", generative.Diffusion, 1_500, 3e-3, "loss"),
        _kind("vae", generative.VAE, 1_200, 1e-2, "loss", FASHION),
        _kind("autoencoder", generative.Autoencoder, 1_200, 3e-3, "loss", FASHION),
        _kind("infonce", generative.InfoNCE, 800, 3e-3, "loss", FASHION),
        _kind("smooth-regression", regression.Smooth, 2_000, 1e-2, "dB"),
        _kind("physics", regression.Physics, 2_000, 1e-2, "dB"),
        _kind("raw-diabetes", regression.Diabetes, 600, 1e-4, "loss"),
        _kind("raw-thousands", regression.Thousands, 400, 1e-4, "dB"),
        _kind("tiny-targets", regression.Tiny, 1_000, 1e-1, "dB"),
        _kind("noise-batch-2", images.BatchesOf2, 2_000, 1e-3, "%"),
        _kind("noise-batch-8", images.BatchesOf8, 2_000, 3e-3, "%", FASHION),
        _kind("rare-examples", rare.RareExamples, 1_000, 1e-2, "loss"),
        _kind("detection", images.Detection, 600, 3e-3, "loss"),
        _kind("raw-inputs", images.RawInputs, 1_500, 1e-4, "%", FASHION),
        _kind("factorisation", regression.Factorisation, 2_000, 3e-2, "loss"),
        _kind("long-mlp", images.LongMLP, 20_000, 1e-2, "%", FASHION),
        _kind("long-regression", regression.LongRegression, 40_000, 1e-2, "dB"),
        _kind("long-char", sequence.LongCharacters, 100_000, 3e-3, "loss", TEXT),
        _kind("long-cnn", images.LongCNN, 20_000, 1e-2, "%", FASHION),
    )
}
