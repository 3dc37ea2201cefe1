"""The hosts whose framework is installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from integrations.contract.contract import Host

# Driver in this folder -> the packages that it needs.
DRIVERS: dict[str, tuple[str, ...]] = {
    "lightning": ("lightning", "pytorch_lightning"),
    "accelerate": ("accelerate",),
    "huggingface": ("transformers", "accelerate"),
    "keras": ("keras",),
    "optax": ("jax", "optax"),
}


def hosts() -> list[Host]:
    """One object for each driver that can run here: its module's HOSTS."""
    usable = [name for name, needs in DRIVERS.items() if all(map(find_spec, needs))]
    return [host for name in usable for host in import_module(f"integrations.{name}").HOSTS]
