"""The processes of a run: how many, on what, and how they share a model; lightning-fabric does the work."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module, metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autowu.errors import UserError
from autowu.train.run.ranks import started
from autowu.train.settings.options import Settings, Strategy

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.distributed.device_mesh import DeviceMesh


def fabric_for(settings: Settings) -> Fabric:
    """The Fabric of ``settings``; its processes have yet to be launched.

    Under ``torchrun`` or ``fabric run``, which have started the processes, these say how many there are.

    Raises:
        UserError: there are no such devices, or the batch cannot be shared between the processes.
    """
    with version_only("torchmetrics"):
        from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it does is not the user's business
    launched = started()
    if launched is None:
        devices, nodes = settings.devices or 1, settings.nodes
    else:
        devices, nodes = launched
        for name, wanted, there in (("devices", settings.devices, devices), ("nodes", settings.nodes, nodes)):
            if wanted not in (None, 1, there):
                raise UserError(f"--{name} {wanted}, but the launcher has started {there}")
    world = devices * nodes
    if settings.batch_size % world:
        raise UserError(
            f"--batch-size must be a multiple of the {world} processes (devices × nodes), "
            f"not {settings.batch_size}"
        )
    if settings.strategy == "fsdp" and world == 1:
        raise UserError("--strategy fsdp needs 2 processes or more, not 1 (--devices, --nodes)")
    if settings.strategy == "fsdp" and not _has_fully_shard():
        raise UserError(f"--strategy fsdp needs PyTorch 2.6 or newer, not {torch.__version__}")
    chosen: dict[str, Any] = {
        "accelerator": _accelerator(settings),
        "devices": devices,
        "num_nodes": nodes,
        "strategy": _strategy(settings.strategy, world),
        "precision": settings.precision,
    }
    if os.environ.get("LT_CLI_USED") == "1":  # `fabric run` has said these already, and wants no second word
        chosen = {"strategy": chosen["strategy"]} if settings.strategy == "fsdp" else {}
    try:
        return Fabric(**chosen)
    except (ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"cannot set up the processes: {' '.join(str(error).split())}") from error


@contextmanager
def version_only(package: str) -> Generator[None]:
    """Within, an import of ``package`` gives its version alone, unless it is there already.

    Fabric asks torchmetrics for its version, and by importing it would import torchvision, transformers and
    PyTorch's compiler, where they are installed: three quarters of the time from the command to the first
    update.
    """
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = None
    if version is None or package in sys.modules:
        yield
        return
    stand_in = ModuleType(package)
    stand_in.__dict__["__version__"] = version
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


def launch(fabric: Fabric) -> None:
    """Start the processes, or join those that a launcher has started."""
    if os.environ.get("LT_CLI_USED") != "1":  # `fabric run` has had Fabric join them already
        fabric.launch()


def leave(fabric: Fabric) -> None:
    """Wait for the other processes, and end the communication with them.

    Its threads, left to the interpreter's exit, now and then abort a process that has done its work.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()


def end_children(fabric: Fabric) -> None:
    """Kill the processes that this one has started, which would wait for it forever."""
    for child in getattr(fabric.strategy.launcher, "procs", ()):
        child.kill()


def _accelerator(settings: Settings) -> str:
    if settings.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("--accelerator gpu, but PyTorch finds no GPU here")
    if settings.accelerator != "auto":
        return settings.accelerator
    return "cuda" if torch.cuda.is_available() else "cpu"


def _strategy(name: Strategy, world: int) -> Any:
    if name == "fsdp":
        from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

        return ModelParallelStrategy(shard, data_parallel_size=world, tensor_parallel_size=1)
    if world == 1:
        return "auto"
    from lightning_fabric.strategies.ddp import DDPStrategy

    return DDPStrategy(gradient_as_bucket_view=True)


def _has_fully_shard() -> bool:
    return hasattr(import_module("torch.distributed.fsdp"), "fully_shard")


def shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Split each parameter over the processes (FSDP2): block by block, so that one block is whole at a time.

    A block is an element of an ``nn.Sequential`` or ``nn.ModuleList`` that has parameters.
    """
    from torch.distributed.fsdp import fully_shard

    mesh = mesh["data_parallel"]
    for module in list(model.modules()):
        if isinstance(module, (nn.Sequential, nn.ModuleList)):
            for block in module:
                if any(True for _ in block.parameters()) and next(block.children(), None) is not None:
                    fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)  # in place
    return model
