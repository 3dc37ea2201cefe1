"""Checkpoints that are whole or absent: written aside, hashed, and renamed into place.

    RUN_DIR/checkpoints/000012000/rank-0.pt      what process 0 needs to go on after update 12,000
                                 /rank-1.pt      … process 1, where each holds a part of the model (FSDP)
                                 /manifest.json  the hash of each file, written last

A checkpoint counts only with a manifest that fits its files. The one before the newest is kept, and serves
where the newest is damaged. Files are read with ``weights_only=True``: they cannot execute anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch

from autowu.errors import UserError

KEPT: Final = 2  # checkpoints: the newest, and one to fall back to
FORMAT: Final = 1


@dataclass(frozen=True)
class Damage:
    """A checkpoint that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds."""

    step: int
    """Updates done."""
    log_length: int
    """Bytes of ``log.jsonl`` that tell of these updates."""
    files: Mapping[str, str]
    """SHA-256 of each file, by name."""
    about: Mapping[str, Any]
    """What a run that goes on from here must have in common with the one that wrote it."""

    def dumps(self) -> str:
        """As JSON, with a hash of its own."""
        body = {"format": FORMAT, **asdict(self)}
        return json.dumps(body | {"sha256": _sha256_of(body)}, indent=2) + "\n"

    @classmethod
    def loads(cls, text: str) -> Manifest:
        """The inverse of :meth:`dumps`.

        Raises:
            ValueError: it is not what was written.
        """
        body = json.loads(text)
        if not isinstance(body, dict):
            raise ValueError("the manifest is not an object")
        body = cast("dict[str, Any]", body)
        if body.pop("sha256", None) != _sha256_of(body):
            raise ValueError("the manifest's hash does not fit it")
        if body["format"] != FORMAT:
            raise ValueError(f"its format is {body['format']}, and this version reads {FORMAT}")
        return cls(body["step"], body["log_length"], body["files"], body["about"])


def folder(run: Path) -> Path:
    """Where the checkpoints of a run are."""
    return run / "checkpoints"


def write_part(run: Path, step: int, rank: int, state: Mapping[str, Any]) -> tuple[str, str]:
    """Write one process's part of a checkpoint; its file name and SHA-256. It counts after :func:`publish`.

    Raises:
        OSError: it cannot be written; what was written of it is gone.
    """
    draft = _draft(run, step)
    name = f"rank-{rank}.pt"
    try:
        draft.mkdir(parents=True, exist_ok=True)
        with open(draft / name, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        return name, sha256(draft / name)
    except RuntimeError as error:  # torch's way to say that its writer could not write
        shutil.rmtree(draft, ignore_errors=True)
        raise OSError(str(error).splitlines()[0]) from error
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def publish(run: Path, manifest: Manifest) -> None:
    """Make the parts of a checkpoint count, and remove the oldest.

    Raises:
        OSError: the manifest cannot be written; the checkpoints before are as they were.
    """
    draft, final = _draft(run, manifest.step), folder(run) / f"{manifest.step:09}"
    try:
        with open(draft / "manifest.json", "w", encoding="utf-8") as file:
            file.write(manifest.dumps())
            file.flush()
            os.fsync(file.fileno())
        if final.exists():  # of a run that was resumed from an older one, this being damaged
            shutil.rmtree(final)
        os.replace(draft, final)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync_folder(final.parent)
    for old in _all(run)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def discard(run: Path, step: int) -> None:
    """Remove the parts of a checkpoint that will not be published."""
    shutil.rmtree(_draft(run, step), ignore_errors=True)


def discard_drafts(run: Path) -> None:
    """Remove what a process left that was killed while it wrote."""
    for draft in folder(run).glob(".*.tmp"):
        shutil.rmtree(draft, ignore_errors=True)


def newest(run: Path) -> tuple[Manifest | None, list[Damage]]:
    """The newest whole checkpoint of a run, and those after it that are damaged."""
    damaged: list[Damage] = []
    for path in reversed(_all(run)):
        try:
            return _verified(path), damaged
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            damaged.append(Damage(path, str(error) or type(error).__name__))
    return None, damaged


def read_part(run: Path, step: int, rank: int, device: torch.device) -> dict[str, Any]:
    """One process's part of a checkpoint that :func:`newest` found whole.

    Raises:
        UserError: it cannot be read.
    """
    path = folder(run) / f"{step:09}" / f"rank-{rank}.pt"
    try:
        return cast("dict[str, Any]", torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # an unpickler trips over wrong bytes in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"cannot read the checkpoint {path}: {reason}") from error


def check_same(saved: Mapping[str, Any], now: Mapping[str, Any], name: Callable[[str], str]) -> None:
    """Refuse to go on if a setting is not what it was.

    Raises:
        UserError: naming the setting and both values.
    """
    for key in sorted(saved.keys() | now.keys()):
        if saved.get(key) != now.get(key):
            raise UserError(
                f"cannot resume with another {name(key)}: "
                f"the run has {_shown(saved.get(key))}, not {_shown(now.get(key))}"
            )


def _shown(setting: object) -> str:
    return "none (the default)" if setting is None else repr(setting)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _all(run: Path) -> list[Path]:
    """The published checkpoints, oldest first."""
    return sorted(path for path in folder(run).glob("[0-9]*") if path.is_dir() and path.name.isdigit())


def _draft(run: Path, step: int) -> Path:
    return folder(run) / f".{step:09}.tmp"


def _verified(path: Path) -> Manifest:
    manifest = Manifest.loads((path / "manifest.json").read_text(encoding="utf-8"))
    for name, digest in manifest.files.items():
        if Path(name).name != name:
            raise ValueError(f"it names a file outside of its folder: {name!r:.80}")
        if sha256(path / name) != digest:
            raise ValueError(f"{name} has changed since it was written")
    return manifest


def _sha256_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sync_folder(path: Path) -> None:
    """Make a rename last through a power failure, where the system can."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
