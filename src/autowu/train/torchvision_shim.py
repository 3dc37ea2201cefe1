"""The name under which scripts know :mod:`autowu.integrations.torchvision_shim`."""

from autowu.integrations.torchvision_shim import install

__all__ = ["install"]
