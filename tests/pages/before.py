"""What the blocks of a page take for granted: a small model, some batches, a loss."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

Names = dict[str, Any]


def torch_names() -> Names:
    """Of a loop in PyTorch."""
    import torch
    from torch import nn

    import autowu

    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 2)
    model = nn.Sequential(body, head)
    inputs, targets = torch.randn(8, 4), torch.randint(2, (8,))

    def loss_function(output: Any, expected: Any = targets) -> Any:
        return nn.functional.cross_entropy(output, expected)

    optimizer = torch.optim.AdamW(model.parameters())
    loss = loss_function(model(inputs))
    loss.backward()
    return {
        "adamw": torch.optim.AdamW(head.parameters(), lr=0.003),
        "autowu": autowu,
        "batches": [(inputs, targets)] * 12,
        "body": body,
        "epochs": 20,
        "finder": SimpleNamespace(history=range_test()),
        "head": head,
        "inputs": inputs,
        "loss": loss,
        "loss_function": loss_function,
        "micro_batches": [inputs] * 2,
        "model": model,
        "muon": torch.optim.SGD(body.parameters(), lr=0.02),
        "optimizer": optimizer,
        "path": "checkpoint.pt",
        "rank": 0,
        "targets": targets,
        "torch": torch,
    }


def torch_docstrings() -> Names:
    """Of the same, with a model that returns its loss."""
    import torch

    names = torch_names()
    weight = torch.nn.Parameter(torch.zeros(()))
    return names | {
        "optimizer": torch.optim.SGD([weight]),
        "model": lambda batch: (weight - batch) ** 2,
        "batches": [1.0] * 12,
    }


def range_test() -> dict[str, list[float]]:
    """The history of an LR finder."""
    lrs = np.geomspace(1e-5, 1, 100)
    losses = 1 + (np.log10(lrs) + 2) ** 2 / 9 + 0.02 * np.random.default_rng(0).standard_normal(100)
    return {"lr": list(lrs), "loss": list(losses)}


def accelerate_names() -> Names:
    """Of a loop with Accelerate."""
    from torch.utils.data import DataLoader

    names = torch_names()
    data = [(names["inputs"][0], names["targets"][0])] * 32
    return names | {"batches": DataLoader(data, batch_size=4), "epochs": 2}


def accelerate_docstrings() -> Names:
    """Of the same, prepared."""
    from accelerate import Accelerator

    import autowu
    from autowu.integrations.accelerate import AcceleratedAutoWU

    names = torch_docstrings()
    loss = names["model"]

    class Model(names["torch"].nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = names["torch"].nn.Parameter(names["torch"].zeros(()))

        def forward(self, batch: Any) -> Any:
            return loss(batch) + (self.weight - 1) ** 2

    model = Model()
    return names | {
        "accelerator": Accelerator(),
        "AcceleratedAutoWU": AcceleratedAutoWU,
        "AutoWU": autowu.AutoWU,
        "model": model,
        "optimizer": names["torch"].optim.SGD(model.parameters()),
        "batches": names["torch"].utils.data.DataLoader([1.0] * 12),
    }


def huggingface_names() -> Names:
    """Of a Trainer: a linear model on numbers, and another subclass of the Trainer."""
    import torch  # isort: split

    from transformers import Trainer, TrainingArguments

    from autowu.integrations.huggingface import AutoWUMixin, AutoWUTrainer

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(4))

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": ((x @ self.weight - labels) ** 2).mean()}

    data = [{"x": torch.randn(4), "labels": torch.tensor(1.0)} for _ in range(64)]
    args = TrainingArguments(output_dir="run", num_train_epochs=1, report_to="none")
    return {
        "args": args, "AutoWUMixin": AutoWUMixin, "AutoWUTrainer": AutoWUTrainer, "data": data,
        "model": Model(), "SFTTrainer": Trainer,
    }  # fmt: skip


def lightning_names() -> Names:
    """Of a module of Lightning."""
    from autowu.integrations.lightning import AutoWUCallback

    return _lightning("lightning", AutoWUCallback)


def pytorch_lightning_names() -> Names:
    """Of a module of PyTorch Lightning."""
    from autowu.integrations.pytorch_lightning import AutoWUCallback

    return _lightning("pytorch_lightning", AutoWUCallback)


def _lightning(package: str, callback: type) -> Names:
    names = torch_names()
    data = [(names["inputs"][0], names["targets"][0])] * 32
    loader = names["torch"].utils.data.DataLoader(data, batch_size=4)
    module = importlib.import_module(package)

    class Model(module.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = names["torch"].nn.Linear(4, 2)

        def training_step(self, batch: Any) -> Any:
            return names["loss_function"](self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return names["torch"].optim.AdamW(self.parameters())

        def train_dataloader(self) -> Any:
            return loader

    return names | {package: module, "AutoWUCallback": callback, "model": Model(), "train_loader": loader}


def keras_names() -> Names:
    """Of a Keras model."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    from autowu.integrations.keras import AutoWUCallback

    x, y = np.random.default_rng(0).random((256, 28, 28), dtype=np.float32), np.zeros(256, np.int32)
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)])
    return {
        "AutoWUCallback": AutoWUCallback, "epochs": 2, "keras": keras, "model": model,
        "steps_per_epoch": 8, "x": x, "y": y,
    }  # fmt: skip


def optax_names() -> Names:
    """Of a loop in JAX."""
    import jax
    import jax.numpy as jnp
    import optax

    from autowu.integrations.optax import AutoWU

    def loss_of(params: Any, batch: Any) -> Any:
        return ((batch @ params["w"] - 1) ** 2).mean()

    optimizer = optax.inject_hyperparams(optax.adamw)(learning_rate=0.0)

    @jax.jit
    def train_step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_of)(params, batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    params = {"w": jnp.zeros(3)}
    return {
        "AutoWU": AutoWU, "batches": [jnp.ones((2, 3))] * 12, "jax": jax, "loss_of": loss_of, "np": np,
        "optax": optax, "opt_state": optimizer.init(params), "params": params, "train_step": train_step,
    }  # fmt: skip


def driver_names() -> Names:
    """Of a loop without a framework."""
    from autowu import Config
    from autowu.integrations.driver import Driver

    return {"Config": Config, "Driver": Driver, "batches": [], "read_weights": dict}


TORCH: dict[str, Callable[[], Names]] = {
    "src/autowu/integrations/driver.py": driver_names,
    "src/autowu/integrations/torch/scheduler.py": torch_docstrings,
}
"""What comes before the blocks of a page or a module that needs PyTorch; elsewhere it is `torch_names`."""

HOSTS: dict[str, dict[str, Callable[[], Names]]] = {
    "accelerate": {
        "docs/hosts/accelerate.md": accelerate_names,
        "src/autowu/integrations/accelerate.py": accelerate_docstrings,
    },
    "transformers": {
        "docs/hosts/huggingface.md": huggingface_names,
        "src/autowu/integrations/huggingface.py": huggingface_names,
    },
    "lightning": {
        "docs/hosts/lightning.md": lightning_names,
        "src/autowu/integrations/lightning.py": lightning_names,
        "src/autowu/integrations/pytorch_lightning.py": pytorch_lightning_names,
    },
    "keras": {
        "docs/hosts/keras.md": keras_names,
        "src/autowu/integrations/keras.py": keras_names,
    },
    "optax": {
        "docs/hosts/optax.md": optax_names,
        "src/autowu/integrations/optax.py": optax_names,
    },
}
"""The same of a host, by the package that it needs. Each has a process of its own, since it leaves traces."""
