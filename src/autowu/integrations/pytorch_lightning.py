"""AutoWU as a callback for `pytorch_lightning`, whose Callback is not that of `lightning.pytorch`."""

from __future__ import annotations

from autowu.extras import install

try:
    from autowu.integrations import torchvision_shim

    torchvision_shim.install()
    from pytorch_lightning import Callback
except ModuleNotFoundError as error:
    if error.name not in ("torch", "pytorch_lightning"):
        raise  # installed, but broken: its own error says more
    raise ImportError(
        f"autowu.integrations.pytorch_lightning needs {error.name}: {install('lightning')}"
    ) from error

from autowu.integrations._lightning import Hooks


class AutoWUCallback(Hooks, Callback):  # pyright: ignore[reportIncompatibleMethodOverride]
    """For `pytorch_lightning` what :class:`autowu.integrations.lightning.AutoWUCallback` is for `lightning`.

    ::

        from autowu.integrations.pytorch_lightning import AutoWUCallback

        trainer = pytorch_lightning.Trainer(max_epochs=20, callbacks=[AutoWUCallback()])

    The arguments, the errors and what is in a checkpoint are the same.
    """
