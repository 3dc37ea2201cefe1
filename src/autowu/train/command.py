"""The command ``autowu train``."""

from __future__ import annotations

import argparse
import sys

from autowu.train.run import ranks
from autowu.train.settings import paths, preset
from autowu.train.settings.arguments import add_arguments
from autowu.train.settings.sources import settings_from

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Train as ``args`` says; the exit status: 0, or 128 + the signal that stopped the run.

    Raises:
        UserError: the settings, the data or the run folder cannot be used.
    """
    if getattr(args, "list_recipes", False):
        from autowu.train.settings import recipes_table

        recipes_table.show()
        return 0
    settings = settings_from(args)
    resume, dry_run = getattr(args, "resume", False), getattr(args, "dry_run", False)
    preset.check(settings)
    paths.check(settings, resume=resume, dry_run=dry_run)
    if ranks.says() and "torch" not in sys.modules:
        print("loading PyTorch …", flush=True)
    from autowu.integrations import torchvision_shim

    torchvision_shim.install()
    if dry_run:
        from autowu.train.dry_run import command

        command.show(settings, resume=resume)
        return 0
    from autowu.train.run import engine

    _, stopped = engine.train(settings, resume=resume)
    # Processes that this one started end as if all were well: theirs is not the status that the user sees.
    return 128 + stopped if stopped is not None and ranks.reports_status() else 0
