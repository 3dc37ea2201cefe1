"""The workloads, of real data: small ones, a few seconds a run on one core, and larger ones for a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from autowu.train.settings.recipes import RECIPES

SHAKESPEARE: Final = "shakespeare.txt"


@dataclass(frozen=True)
class Workload:
    """A task on which every method is run."""

    name: str
    source: str
    """The full set: a file of the data folder, or 'digits'."""
    train: int
    """Images to learn from, or characters."""
    validation: int
    """Images, or characters, that choose between trials; taken from the full set's training part."""
    test: int
    """Images, or characters, that methods are compared on."""
    settings: dict[str, Any] = field(hash=False)
    """Of :class:`autowu.train.settings.options.Settings`."""
    pool: int = 1
    """Images are averaged over squares of so many pixels a side."""
    held_out: bool = False
    """Never looked at while constants were chosen."""
    shared: str | None = None
    """Stem of the data file, if several workloads have it; None: it is the workload's own."""
    tuned_as: str | None = None
    """The workload of the same task whose search it takes over, where one of its own would take hours."""

    @property
    def file(self) -> str:
        """The data file that ``prepare`` writes; its test part is validation, then test."""
        return f"{self.shared or self.name}.{'txt' if self.is_text else 'npz'}"

    @property
    def is_text(self) -> bool:
        """Whether the measure is the loss in nats a character (lower is better); else it is accuracy."""
        return self.source.endswith(".txt")

    @property
    def total_steps(self) -> int:
        """Updates of a run."""
        steps: int | None = self.settings.get("steps")
        return steps or self.settings["epochs"] * (self.train // self.settings["batch_size"])

    @property
    def optimizer(self) -> str:
        """Its name."""
        return str(self.settings["optimizer"])


def _images(model: str, optimizer: str, batch_size: int, epochs: int, **more: Any) -> dict[str, Any]:
    chosen = {"model": model, "optimizer": optimizer, "batch_size": batch_size, "epochs": epochs}
    return chosen | more


def _text(optimizer: str, steps: int, **more: Any) -> dict[str, Any]:
    chosen = {"model": "gpt", "optimizer": optimizer, "batch_size": 8, "context": 64, "steps": steps}
    return chosen | {"label_smoothing": 0.0} | more


def _resnet(batch_size: int, epochs: int) -> dict[str, Any]:
    """The paper's recipe, where it is not the trainer's default already.

    BatchNorm sees 1,024 images at a time at every batch size: what an update takes in memory then does not
    grow with the batch, and batch sizes differ by the batch alone.
    """
    recipe = RECIPES["cifar10-resnet18"].settings
    chosen = {name: recipe[name] for name in ("augment", "label_smoothing")}
    chosen |= {"micro_batch_size": 1024, "precision": "bf16-mixed", "channels_last": True}
    chosen["eval_every"] = epochs  # what is compared is measured by the suite, after the last update
    return _images(recipe["model"], recipe["optimizer"], batch_size, epochs, **chosen)


def _gpt_10m(optimizer: str, steps: int) -> dict[str, Any]:
    """The size that nanoGPT has for this text: 10.8 M parameters, 16,384 characters an update."""
    size = {"blocks": 6, "width": 384, "heads": 6, "context": 256, "batch_size": 64}
    return _text(optimizer, steps, **size, precision="bf16-mixed", eval_every=steps)


_SHORT: Final = {
    workload.name: workload
    for workload in (
        Workload(
            "fashion-mlp-layernorm-adamw",
            "fashion-mnist.npz",
            *(10_000, 5_000, 10_000),
            _images("mlp", "adamw", 500, 20, norm="layer"),
        ),
        Workload(
            "fashion-mlp-batchnorm-adamp",
            "fashion-mnist.npz",
            *(10_000, 5_000, 10_000),
            _images("mlp", "adamp", 1000, 30),
        ),
        Workload(
            "cifar10-cnn-adamp",
            "cifar10.npz",
            *(8_000, 4_000, 8_000),
            _images("cnn", "adamp", 200, 8),
            pool=4,
        ),
        Workload("shakespeare-gpt-adamw", SHAKESPEARE, 540_000, 20_000, 40_000, _text("adamw", 500)),
        Workload("shakespeare-gpt-lamb", SHAKESPEARE, 540_000, 20_000, 40_000, _text("lamb", 500)),
        Workload("digits-cnn-adamw", "digits", 1_000, 397, 400, _images("cnn", "adamw", 100, 30)),
        Workload(
            "fashion-mlp-batchnorm-sgd",
            "fashion-mnist.npz",
            *(10_000, 5_000, 10_000),
            _images("mlp", "sgd", 500, 20),
        ),
        Workload(
            "cifar100-cnn-lamb",
            "cifar100.npz",
            *(8_000, 4_000, 8_000),
            _images("cnn", "lamb", 200, 8),
            pool=4,
        ),
        Workload("digits-vit-adamw", "digits", 1_000, 397, 400, _images("vit", "adamw", 50, 12)),
        # The three above were held out from the first freeze of constants. Of these five the first results
        # were those of the third, and no constant was chosen by them.
        Workload(
            "fashion-vit-adamp",
            "fashion-mnist.npz",
            *(4_000, 4_000, 8_000),
            _images("vit", "adamp", 50, 5),
            pool=4,
            held_out=True,
        ),
        Workload(
            "cifar100-cnn-adamw",
            "cifar100.npz",
            *(8_000, 4_000, 8_000),
            _images("cnn", "adamw", 100, 6),
            pool=4,
            held_out=True,
        ),
        Workload(
            "cifar10-cnn-sgd",
            "cifar10.npz",
            *(8_000, 4_000, 8_000),
            _images("cnn", "sgd", 200, 9),
            pool=4,
            held_out=True,
        ),
        Workload("digits-mlp-lamb", "digits", 1_000, 397, 400, _images("mlp", "lamb", 50, 24), held_out=True),
        Workload(
            "shakespeare-gpt-adamp", SHAKESPEARE, 540_000, 20_000, 40_000, _text("adamp", 600), held_out=True
        ),
    )
}


def _longer(name: str, of: str, *, held_out: bool = False, **settings: Any) -> Workload:
    """A short workload with more updates, on the same data."""
    short = _SHORT[of]
    return replace(short, name=name, settings=short.settings | settings, held_out=held_out, shared=short.name)


_LONG: Final = {
    workload.name: workload
    for workload in (
        # These two were held out from the fifth freeze. What was seen on them then led to the question of
        # long runs, so that they are looked at since.
        Workload(
            "fashion-mlp-adamw-long",
            "fashion-mnist.npz",
            *(10_000, 5_000, 10_000),
            _images("mlp", "adamw", 100, 30),
        ),
        _longer("shakespeare-gpt-adamw-long", "shakespeare-gpt-adamw", steps=2000),
        # Named before any result on them; no constant was chosen since.
        _longer("fashion-vit-adamp-long", "fashion-vit-adamp", held_out=True, epochs=20),
        _longer("cifar100-cnn-adamw-long", "cifar100-cnn-adamw", held_out=True, epochs=20),
        _longer("cifar10-cnn-sgd-long", "cifar10-cnn-sgd", held_out=True, epochs=40),
        _longer("digits-mlp-lamb-long", "digits-mlp-lamb", held_out=True, epochs=200),
    )
}

SMALL: Final = _SHORT | _LONG

PILOT: Final = {
    workload.name: workload
    for workload in (
        # Long runs that constants may be chosen by, and that nothing else is measured on.
        _longer("fashion-mlp-sgd-long", "fashion-mlp-batchnorm-sgd", batch_size=100, epochs=30),
        _longer("cifar10-cnn-adamp-long", "cifar10-cnn-adamp", epochs=40),
        _longer("cifar100-cnn-lamb-long", "cifar100-cnn-lamb", epochs=40),
        _longer("shakespeare-gpt-lamb-long", "shakespeare-gpt-lamb", steps=2000),
    )
}

LONGEST: Final = {
    workload.name: workload
    for workload in (
        # As many updates as a core can do in a minute or three, on all of the data. Named before any result,
        # and held out until the probe was decided on: a run of each was looked at.
        Workload(
            "fashion-mlp-sgd-longest",
            "fashion-mnist.npz",
            *(55_000, 5_000, 10_000),
            _images("mlp", "sgd", 100, 36, eval_every=36),
        ),
        Workload(
            "cifar10-cnn-adamp-longest",
            "cifar10.npz",
            *(45_000, 5_000, 10_000),
            _images("cnn", "adamp", 50, 22, eval_every=22),
            pool=4,
        ),
        Workload(
            "shakespeare-gpt-adamw-longest",
            SHAKESPEARE,
            *(990_000, 50_000, 60_000),
            _text("adamw", 10_000, eval_every=10_000),
        ),
    )
}


def _of_length(of: Workload, steps: int) -> Workload:
    """One of the longest runs' tasks, on the same data, with so many updates."""
    settings = of.settings | {"steps": steps, "eval_every": steps}
    settings.pop("epochs", None)
    name = f"{of.name.removesuffix('-longest')}-{steps}"
    tuned_as = of.name if steps > of.total_steps else None
    return replace(of, name=name, settings=settings, shared=of.name, tuned_as=tuned_as)


BY_LENGTH: Final = {
    **{f"{steps:,}": [_of_length(of, steps) for of in LONGEST.values()] for steps in (500, 2_000)},
    "10,000 or 20,000": list(LONGEST.values()),
    "100,000": [_of_length(of, 100_000) for of in LONGEST.values()],
}
"""The tasks of the longest runs, by the number of updates."""

LENGTHS: Final = {
    workload.name: workload
    for workloads in BY_LENGTH.values()
    for workload in workloads
    if workload.name not in LONGEST
}

LARGE: Final = {
    workload.name: workload
    for workload in (
        *(
            Workload(
                f"cifar10-resnet18-{batch_size}",
                "cifar10.npz",
                *(45_000, 5_000, 10_000),
                _resnet(batch_size, epochs),
                shared="cifar10-whole",
            )
            # 430, 300 and 240 updates: as few as a method that finds its LR in the run can do with.
            for batch_size, epochs in ((1024, 10), (4096, 30), (16384, 120))
        ),
        Workload("shakespeare-gpt-10m", SHAKESPEARE, 990_000, 50_000, 60_000, _gpt_10m("adamw", 500)),
    )
}

WORKLOADS: Final = SMALL | PILOT | LONGEST | LENGTHS | LARGE
