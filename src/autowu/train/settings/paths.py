"""Whether data and run folder can be there: asked before PyTorch, which takes seconds, is imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from autowu.arguments import meant
from autowu.errors import UserError
from autowu.train.settings.options import IMAGE_SETS, Settings


def check(settings: Settings, *, resume: bool, dry_run: bool = False) -> None:
    """What can be known of both from their names alone.

    Raises:
        UserError: the data are not there, or the run folder cannot be made or holds a finished run.
    """
    run = None if dry_run else check_folder(settings.folder, resume=resume)
    if run is None or run.get("status") != "finished":
        check_data(settings)


def check_data(settings: Settings) -> None:
    """See that ``--data`` is a set's name, a file that can be read, or a folder of images.

    Raises:
        UserError: it is none of them.
    """
    name, path = settings.data, Path(settings.data)
    if name in IMAGE_SETS:
        return
    if settings.is_text or name.endswith(".npz"):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    elif not path.is_dir():
        raise UserError(
            f"--data must be one of {', '.join(IMAGE_SETS)}, a FILE.npz in Keras' layout, a FILE.txt, "
            f"or a folder of images with train/ and val/, not {name!r}{meant(name, IMAGE_SETS)}"
        )
    elif not all((path / part).is_dir() for part in ("train", "val")):
        raise UserError(f"{path} must hold the folders train and val, each with one folder a class")


def check_folder(folder: Path, *, resume: bool) -> dict[str, Any] | None:
    """The ``run.json`` of a run folder that may be written; None where there is none.

    Raises:
        UserError: it is a file or below one, may not be written, or holds a finished run and none is resumed.
    """
    from autowu.train.output.log import read_run

    before = read_run(folder)
    if before is not None and before.get("status") == "finished":
        if not resume:
            raise UserError(f"{folder} holds a finished run; choose another --out, or remove it")
        return before  # nothing will be written
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "Permission denied" if there.is_dir() else f"{there} is not a folder"
        raise UserError(f"cannot write to the run folder {folder}: {reason}")
    return before
