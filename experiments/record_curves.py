"""Record real training-loss curves under an LR that grows as in the paper's Eq. 1 and never switches.

    python experiments/record_curves.py --data-dir DIR --text FILE [--set tests|detection] [--only NAME …]

Each recipe trains a small model with one thread on a CPU. Update t has the LR
η_t = η_min (η_max/η_min)^(t / ⌊ρ_w T⌋), through the minimum of the loss and on to the end of the warm-up,
t = ⌊ρ_w T⌋ - 1, where most have long diverged. The tests replay these records: a decision on a record can be
reproduced to the digit, a training run cannot.

DIR holds `fashion-mnist.npz` and `cifar10.npz` as Keras distributes them (x_train uint8, y_train); FILE
is any plain text. The set `tests` goes to tests/data/curves; the set `detection`, of more various runs, to
benchmarks/quality/detection/curves, where only the rates of the detector's mistakes look at it. Written are
NAME.csv (columns step and loss; an empty cell is a loss that was not finite) and one curves.json that says
what was trained.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

CONTEXT = 64
"""Characters that the language models see."""


@dataclass(frozen=True)
class Recipe:
    """One training run; steps are optimizer updates, and the first ⌊ρ_w T⌋ of T are recorded."""

    name: str
    dataset: str
    examples: int | None
    """The training set is cut to its first so many examples; None: all of them."""
    model: str
    optimizer: str
    batch_size: int
    total_steps: int
    steps_per_epoch: int | None = None
    """How often the paper's rule would test. None: a pass over the data, its last batch possibly smaller."""
    label_smoothing: float = 0.0
    width: int = 128
    """Of the hidden layers of an MLP."""
    min_lr: float = 1e-5
    max_lr: float = 1.0
    warmup_fraction: float = 0.5
    seed: int = 0
    note: str = ""


RECIPES = [
    Recipe("digits-mlp-adamw", "digits", None, "mlp-layernorm", "adamw", 100, 720),
    Recipe("digits-mlp-sgd", "digits", None, "mlp-layernorm", "sgd", 200, 450, max_lr=10.0),
    Recipe("fashion-mlp-ln-adamw", "fashion-mnist", 60_000, "mlp-layernorm", "adamw", 2000, 600),
    Recipe(
        "fashion-mlp-bn-adamp",
        "fashion-mnist",
        30_000,
        "mlp-batchnorm",
        "adamp",
        1000,
        900,
        label_smoothing=0.1,
    ),
    Recipe(
        "fashion-mlp-bn-lamb",
        "fashion-mnist",
        60_000,
        "mlp-batchnorm",
        "lamb",
        4000,
        600,
        label_smoothing=0.1,
    ),
    Recipe("fashion-mlp-bn-sgd", "fashion-mnist", 20_000, "mlp-batchnorm", "sgd", 500, 1200, max_lr=10.0),
    Recipe("fashion-mlp-ln-adamw-short", "fashion-mnist", 60_000, "mlp-layernorm", "adamw", 2000, 300),
    Recipe("fashion-mlp-ln-adamw-long", "fashion-mnist", 5_000, "mlp-layernorm", "adamw", 100, 3000),
    Recipe(
        "fashion-mlp-ln-adamp-awkward",
        "fashion-mnist",
        7_001,
        "mlp-layernorm",
        "adamp",
        190,
        1001,
        note="T is odd and no multiple of the epoch, whose last batch holds 161 examples",
    ),
    Recipe(
        "fashion-mlp-plain-sgd-nan",
        "fashion-mnist",
        10_000,
        "mlp-plain",
        "sgd",
        250,
        1600,
        max_lr=10.0,
        note="no normalisation: the loss ends in NaN",
    ),
    Recipe("fashion-resnet-lamb", "fashion-mnist", 10_000, "resnet", "lamb", 1000, 600),
    Recipe("cifar10-cnn-adamp", "cifar10", 10_000, "cnn", "adamp", 500, 600, label_smoothing=0.1),
    Recipe("cifar10-cnn-sgd", "cifar10", 10_000, "cnn", "sgd", 250, 1200, max_lr=10.0),
    Recipe("cifar10-vit-adamw", "cifar10", 10_000, "vit", "adamw", 400, 1000, label_smoothing=0.1),
    Recipe("text-gpt-adamw", "tiny-shakespeare", None, "gpt", "adamw", 32, 800, steps_per_epoch=20),
    Recipe("text-gpt-lamb", "tiny-shakespeare", None, "gpt", "lamb", 32, 800, steps_per_epoch=20),
    Recipe(
        "text-gpt-adamp-long",
        "tiny-shakespeare",
        None,
        "gpt",
        "adamp",
        16,
        2000,
        steps_per_epoch=50,
        label_smoothing=0.1,
    ),
]

# Short and long, batches of 4 to 1000, no normalisation, other ranges of the LR.
DETECTION_RECIPES = [
    Recipe("digits-mlp-plain-adamw-short", "digits", None, "mlp-plain", "adamw", 50, 200),
    Recipe("digits-mlp-bn-lamb-short", "digits", None, "mlp-batchnorm", "lamb", 300, 250),
    Recipe("digits-mlp-ln-adamp-tiny-batch", "digits", None, "mlp-layernorm", "adamp", 8, 2000),
    Recipe("fashion-mlp-plain-adamw", "fashion-mnist", 20_000, "mlp-plain", "adamw", 500, 1000),
    Recipe(
        "fashion-mlp-ln-adamw-wide", "fashion-mnist", 30_000, "mlp-layernorm", "adamw", 1000, 500, width=512
    ),
    Recipe(
        "fashion-mlp-bn-sgd-narrow",
        "fashion-mnist",
        20_000,
        "mlp-batchnorm",
        "sgd",
        64,
        2000,
        width=16,
        max_lr=10.0,
    ),
    Recipe(
        "fashion-mlp-ln-adamw-narrow-range",
        "fashion-mnist",
        30_000,
        "mlp-layernorm",
        "adamw",
        500,
        400,
        min_lr=1e-4,
        max_lr=0.3,
    ),
    Recipe("fashion-resnet-sgd", "fashion-mnist", 10_000, "resnet", "sgd", 500, 400, max_lr=10.0),
    Recipe("fashion-resnet-adamw-long", "fashion-mnist", 10_000, "resnet", "adamw", 64, 2400),
    Recipe("cifar10-cnn-adamw-short", "cifar10", 10_000, "cnn", "adamw", 1000, 200),
    Recipe("cifar10-cnn-lamb", "cifar10", 10_000, "cnn", "lamb", 250, 800),
    Recipe("cifar10-cnn-adamp-long", "cifar10", 10_000, "cnn", "adamp", 32, 4000),
    Recipe("cifar10-resnet-adamw", "cifar10", 10_000, "resnet", "adamw", 128, 1000, label_smoothing=0.1),
    Recipe("cifar10-vit-lamb", "cifar10", 10_000, "vit", "lamb", 200, 600),
    Recipe("cifar10-vit-sgd", "cifar10", 10_000, "vit", "sgd", 200, 800, max_lr=10.0),
    Recipe("cifar10-vit-adamp-small-batch", "cifar10", 10_000, "vit", "adamp", 16, 3000),
    Recipe("text-gpt-sgd", "tiny-shakespeare", None, "gpt", "sgd", 32, 800, 20, max_lr=10.0),
    Recipe(
        "text-gpt-adamw-short", "tiny-shakespeare", None, "gpt", "adamw", 64, 300, 10, label_smoothing=0.1
    ),
    Recipe("text-gpt-adamw-small-batch", "tiny-shakespeare", None, "gpt", "adamw", 4, 3000, 50),
    Recipe(
        "text-gpt-adamw-wide-range",
        "tiny-shakespeare",
        None,
        "gpt",
        "adamw",
        32,
        600,
        20,
        min_lr=1e-7,
        max_lr=10.0,
    ),
]

SETS = {
    "tests": (RECIPES, Path("tests/data/curves")),
    "detection": (DETECTION_RECIPES, Path("benchmarks/quality/detection/curves")),
}


# ---- data


def load(recipe: Recipe, data_dir: Path, text: Path) -> tuple[Tensor, Tensor]:
    """Standardised images [N, C, H, W] and labels [N], or characters [N, CONTEXT] and their successors."""
    if recipe.dataset == "tiny-shakespeare":
        characters = np.frombuffer(text.read_bytes(), dtype=np.uint8)
        codes = torch.from_numpy(np.unique(characters, return_inverse=True)[1])
        windows = codes[: len(codes) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)
        inputs, targets = windows[:, :-1], windows[:, 1:]
    else:
        images, labels = (
            digits() if recipe.dataset == "digits" else keras_images(data_dir / f"{recipe.dataset}.npz")
        )
        images = torch.as_tensor(images, dtype=torch.float32)[: recipe.examples]
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        inputs = ((images - images.mean()) / images.std()).contiguous()
        targets = torch.as_tensor(labels, dtype=torch.int64).flatten()
    return inputs[: recipe.examples], targets[: recipe.examples]


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images, data.target


def keras_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as arrays:
        return arrays["x_train"], arrays["y_train"]


def batches(inputs: Tensor, targets: Tensor, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Passes over the data without end, each in a new order."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(inputs), generator=generator).split(batch_size):
            yield inputs[rows], targets[rows]


# ---- models


def mlp(inputs: int, classes: int, norm: type[nn.Module], width: int) -> nn.Module:
    def hidden(fan_in: int) -> list[nn.Module]:
        return [nn.Linear(fan_in, width), norm(width), nn.ReLU()]

    return nn.Sequential(nn.Flatten(), *hidden(inputs), *hidden(width), nn.Linear(width, classes))


def convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """x + g(x)."""

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x + self.branch(x)


def convolutional(body: list[nn.Module], features: int, classes: int) -> nn.Module:
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


class Transformer(nn.Module):
    """Pre-norm transformer; `embed` makes tokens [N, L, width], `causal` hides the future ones."""

    def __init__(self, embed: nn.Module, tokens: int, width: int, outputs: int, *, causal: bool):
        super().__init__()
        self.embed = embed
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, outputs)
        self.mask = nn.Transformer.generate_square_subsequent_mask(tokens) if causal else None

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        features = self.encoder(
            self.embed(x) + self.position, mask=self.mask, is_causal=self.mask is not None
        )
        return self.head(features if self.mask is not None else features.mean(dim=1))


class Patches(nn.Module):
    """Images [N, C, H, W] as one token per patch of 8 x 8 pixels."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.project = nn.Conv2d(channels, width, kernel_size=8, stride=8)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.project(images).flatten(2).transpose(1, 2)


def build_model(name: str, inputs: Tensor, classes: int, width: int) -> nn.Module:
    channels, pixels = inputs.shape[1], inputs[0].numel()
    if name.startswith("mlp-"):
        norms = {"layernorm": nn.LayerNorm, "batchnorm": nn.BatchNorm1d, "plain": nn.Identity}
        return mlp(pixels, classes, norms[name.removeprefix("mlp-")], width)
    if name == "cnn":
        return convolutional(
            [convolution(channels, 16, 2), convolution(16, 32, 2), convolution(32, 64, 2)], 64, classes
        )
    if name == "resnet":
        blocks = [Residual(nn.Sequential(convolution(24, 24), convolution(24, 24))) for _ in range(2)]
        return convolutional([convolution(channels, 16, 2), convolution(16, 24, 2), *blocks], 24, classes)
    if name == "vit":
        return Transformer(Patches(channels, 64), pixels // channels // 64, 64, classes, causal=False)
    if name == "gpt":
        return Transformer(nn.Embedding(classes, 48), CONTEXT, 48, classes, causal=True)
    raise ValueError(f"model must be mlp-*, cnn, resnet, vit or gpt, got {name!r}")


# ---- optimizers: the paper's settings for AdamP and LAMB (its Appendix A), the customary ones for the others


def build_optimizer(name: str, model: nn.Module) -> torch.optim.Optimizer:
    parameters = model.parameters()
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, weight_decay=5e-4)
    if name == "adamw":
        return torch.optim.AdamW(parameters, weight_decay=0.1)
    make_torchvision_importable()
    from timm.optim import AdamP, Lamb

    if name == "adamp":
        return AdamP(parameters, weight_decay=0.1, delta=0.1)
    if name == "lamb":
        return Lamb(parameters, weight_decay=0.1)
    raise ValueError(f"optimizer must be sgd, adamw, adamp or lamb, got {name!r}")


DECLARATIONS: list[torch.library.Library] = []
"""Kept for the life of the process: what a library declares goes when it goes."""


def make_torchvision_importable() -> None:
    """Let timm import a torchvision built for CUDA beside a CPU-only torch.

    Such a torchvision cannot load its operators and then fails at import, as it registers a shape
    function for `nms`. Declaring the operator is enough; nothing here calls it.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        DECLARATIONS.append(library)


# ---- training


def record(recipe: Recipe, inputs: Tensor, targets: Tensor) -> list[float]:
    """The training loss of each update, as measured before that update."""
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model, inputs, int(targets.max()) + 1, recipe.width)
    optimizer = build_optimizer(recipe.optimizer, model)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    warmup_steps = math.floor(recipe.warmup_fraction * recipe.total_steps)
    source = batches(inputs, targets, recipe.batch_size, recipe.seed)

    losses: list[float] = []
    for step, (x, y) in zip(range(warmup_steps), source, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = recipe.min_lr * (recipe.max_lr / recipe.min_lr) ** (step / warmup_steps)
        loss = criterion(model(x).flatten(0, -2), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def write_csv(path: Path, losses: list[float]) -> None:
    """Seven significant digits: what a float32 loss holds."""
    cells = (f"{loss:.7g}" if math.isfinite(loss) else "" for loss in losses)
    path.write_text("step,loss\n" + "".join(f"{step},{cell}\n" for step, cell in enumerate(cells)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, default="tests")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="record these again, keep the others")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    make_torchvision_importable()
    import timm

    versions = {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__}
    recipes, out = SETS[arguments.set]
    out.mkdir(parents=True, exist_ok=True)
    index_path = out / "curves.json"
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    for recipe in recipes:
        if arguments.only and recipe.name not in arguments.only:
            continue
        started = time.perf_counter()
        inputs, targets = load(recipe, arguments.data_dir, arguments.text)
        steps_per_epoch = recipe.steps_per_epoch or math.ceil(len(inputs) / recipe.batch_size)
        losses = record(recipe, inputs, targets)
        write_csv(out / f"{recipe.name}.csv", losses)
        entry = asdict(recipe) | {
            "examples": len(inputs),
            "steps_per_epoch": steps_per_epoch,
            "versions": versions,
        }
        index[entry.pop("name")] = entry
        index_path.write_text(json.dumps(index, indent=2) + "\n")
        lowest = int(np.nanargmin(losses))
        print(
            f"{recipe.name}: {len(losses)} of {recipe.total_steps} steps, epoch {steps_per_epoch}, "
            f"lowest {losses[lowest]:.3f} at {lowest}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
