"""AutoWU as a callback for Lightning; for the package `pytorch_lightning` see the module of that name."""

from __future__ import annotations

from autowu.extras import install

try:
    from autowu.integrations import torchvision_shim

    torchvision_shim.install()
    from lightning.pytorch import Callback
except ModuleNotFoundError as error:
    if error.name not in ("torch", "lightning"):
        raise  # installed, but broken: its own error says more
    raise ImportError(f"autowu.integrations.lightning needs {error.name}: {install('lightning')}") from error

from autowu.integrations._lightning import Hooks


class AutoWUCallback(Hooks, Callback):
    """Sets the LR of the module's optimizer, or optimizers, after each of their updates.

    ::

        from autowu.integrations.lightning import AutoWUCallback

        trainer = lightning.Trainer(max_epochs=20, callbacks=[AutoWUCallback()])
        trainer.fit(model)  # configure_optimizers returns an optimizer, and no LR scheduler

    Its state is part of Lightning's checkpoints, and ``trainer.fit(model, ckpt_path=...)`` goes on from it.
    With more or fewer epochs or steps than before, the run is extended or shortened to that.
    ``callback.scheduler`` is the :class:`autowu.AutoWU` behind it, once training has started.

    Args:
        total_steps: T, optimizer updates of the whole run, ≥ 1; by default what the trainer's limits on
            epochs and steps amount to. Needed with manual optimization, if the trainer has limits. With
            ``max_epochs=-1`` no end is known, and the peak LR is held until
            ``callback.scheduler.cooldown(steps)`` or ``extend(total_steps)`` is called.
        settings: any other argument of :class:`autowu.AutoWU`, such as ``log``, but ``model``, which is the
            module.

    Raises:
        TypeError, ValueError: when training starts: there is no optimizer, or an LR scheduler besides, or a
            callback that sets an LR of its own; the number of updates is not known; the strategy saves one
            process's shards alone (FSDPStrategy, DeepSpeedStrategy) and ``rewind`` is not off; the checkpoint
            is of a run with other settings, or beyond the updates asked for; AutoWU does not take a setting.
            With manual optimization: ``training_step`` makes an update and returns no loss.
    """
