"""Files that are damaged, and readers to give them to."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from autowu.errors import UserError
from autowu.offline import logs as record
from autowu.report import page
from autowu.runlog import run as runlog
from reliability.curves import v_curve

TOKENS = [
    b"", b"nan", b"inf", b"-1", b"1e999", b"9" * 400, b"0.0", b"null", b"true", b'"', b"'", b",", b"\n",
    b"\r", b"{", b"}", b"[", b"]", b":", b"{}", b"[[]]", b"\\u0000", b"\\ud800", b"\x00", b"\xff\xfe",
    b"\xef\xbb\xbf", b"loss", b"step", b"lr", b'"event"', b'"test"', b'"switch"', b'"log_history"',
    b'"columns"', b'"data"', b"1e308", b"-1e308", b"5e-324", b"9007199254740993", b"[" * 2000, b"a" * 5000,
]  # fmt: skip


def damaged(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """``data`` with bytes flipped, lost, doubled, or replaced by words or parts of ``other``."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice([0, 1, 1, 4, 30, 400])
        kind = rng.randrange(6)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif kind == 4:
            start = rng.randrange(len(other) + 1)
            changed[at : at + length] = other[start : start + rng.randrange(60)]
        else:
            changed[at : at + length] = rng.choice(TOKENS)
    return bytes(changed)


# --- readers: given a folder and the content of a file, they read it ------------------------------------


def read_table(folder: Path, content: bytes) -> None:
    """CSV, JSON, JSON lines, and what Keras, the HF Trainer and W&B write in them."""
    file = folder / "losses.csv"
    file.write_bytes(content)
    record.read(str(file))


def read_events(folder: Path, content: bytes) -> None:
    """TensorBoard's event files."""
    file = folder / "events.out.tfevents.1"
    file.write_bytes(content)
    record.read(str(file))


def read_log(folder: Path, content: bytes) -> None:
    """log.jsonl of a run, and the report of it."""
    (folder / "run.json").write_text(json.dumps({"autowu": "0.1.0", "config": {}, "status": "finished"}))
    (folder / "log.jsonl").write_bytes(content)
    page.parts([runlog.read(folder)])


def read_about(folder: Path, content: bytes) -> None:
    """run.json of a run, and the report of it."""
    (folder / "run.json").write_bytes(content)
    (folder / "log.jsonl").write_bytes(b'{"event": "step", "step": 1, "loss": 1.0, "lr": 0.1}\n')
    page.parts([runlog.read(folder)])


def read_images(folder: Path, content: bytes) -> None:
    """Arrays of the trainer's own data, .npz."""
    from autowu.train.data import arrays

    file = folder / "images.npz"
    file.write_bytes(content)
    arrays.read(str(file))


def read_manifest(folder: Path, content: bytes) -> None:
    """The list of what a checkpoint holds, manifest.json; its hash is made to fit where there is one."""
    from autowu.train.checkpoints import checkpoint

    try:
        body = json.loads(content)
        body.pop("sha256")
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        content = json.dumps(body | {"sha256": digest}).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    path = checkpoint.folder(folder / "manifest") / "000000001"
    path.mkdir(parents=True, exist_ok=True)
    (path / "rank-0.pt").write_bytes(b"weights")
    (path / "manifest.json").write_bytes(content)
    _, damage = checkpoint.newest(folder / "manifest")
    if damage:
        raise UserError(damage[0].reason.replace("\n", " "))


def read_weights(folder: Path, content: bytes) -> None:
    """What a process saved in a checkpoint, with a manifest that fits it."""
    import torch

    from autowu.train.checkpoints import checkpoint

    path = checkpoint.folder(folder / "weights") / "000000001"
    path.mkdir(parents=True, exist_ok=True)
    (path / "rank-0.pt").write_bytes(content)
    digest = checkpoint.sha256(path / "rank-0.pt")
    (path / "manifest.json").write_text(checkpoint.Manifest(1, 0, {"rank-0.pt": digest}, {}).dumps())
    found, _ = checkpoint.newest(folder / "weights")
    assert found is not None
    checkpoint.read_part(folder / "weights", 1, 0, torch.device("cpu"))


READERS: dict[str, Callable[[Path, bytes], None]] = {
    "table": read_table,
    "log.jsonl": read_log,
    "run.json": read_about,
}
if find_spec("tensorboard"):
    READERS["events"] = read_events
if find_spec("torch"):
    READERS |= {"npz": read_images, "manifest.json": read_manifest, "rank-0.pt": read_weights}


def whole(reader: str) -> list[bytes]:
    """Files that the reader takes."""
    losses = v_curve(24, 1).round(4).tolist()
    if reader == "table":
        rows = [{"step": i, "loss": loss, "lr": 1e-3} for i, loss in enumerate(losses)]
        csv = "step,loss,lr\n" + "".join(f"{i},{loss},0.001\n" for i, loss in enumerate(losses))
        keras = "epoch,accuracy,loss,val_loss\n" + "".join(f"{i},.5,{x},9\n" for i, x in enumerate(losses))
        trainer = {"log_history": [{"step": i + 1, "loss": x} for i, x in enumerate(losses)]}
        wandb = {"columns": ["_step", "train/loss"], "data": [[i, x] for i, x in enumerate(losses)]}
        columns = {"loss": {str(i): x for i, x in enumerate(losses)}}
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        return [
            text.encode() for text in (csv, keras, lines, *map(json.dumps, (rows, trainer, wandb, columns)))
        ]
    if reader == "log.jsonl":
        return [_log(losses)]
    if reader == "run.json":
        about: dict[str, Any] = {"autowu": "0.1.0", "status": "finished", "schedule": {"confidence": 0.95}}
        about |= {"config": {"schedule": "autowu", "lr": None, "batch_size": 64, "optimizer": "adamw"}}
        about |= {"metrics": {"test_accuracy": 0.9, "seconds": 3.2, "steps": 24}, "versions": {"numpy": "2"}}
        return [json.dumps(about | {"machine": {"cpu": "x", "cores": 2}}).encode()]
    if reader == "events":
        return [_events(losses)]
    if reader == "manifest.json":
        from autowu.train.checkpoints.checkpoint import Manifest

        digest = hashlib.sha256(b"weights").hexdigest()
        return [Manifest(1, 10, {"rank-0.pt": digest}, {"batch_size": 128}).dumps().encode()]
    if reader == "rank-0.pt":
        return [_saved()]
    random, file = np.random.default_rng(0), io.BytesIO()
    images, labels = random.integers(0, 255, (6, 8, 8)).astype(np.uint8), np.array([0, 1, 2, 0, 1, 2])
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    packed = io.BytesIO()
    np.savez_compressed(packed, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return [file.getvalue(), packed.getvalue()]


def _saved() -> bytes:
    import torch

    file = io.BytesIO()
    model = torch.nn.Linear(2, 2)
    state = {
        "step": 3,
        "model": model.state_dict(),
        "rng": torch.get_rng_state()[:64],
        "group": [{"lr": 0.1}],
    }
    torch.save(state, file)
    return file.getvalue()


def _log(losses: list[float]) -> bytes:
    lines: list[dict[str, Any]] = [
        {"event": "step", "step": i + 1, "loss": loss, "lr": 1e-3, "phase": "warmup", "epoch": 1}
        for i, loss in enumerate(losses)
    ]
    curve = [1.0, 0.5, 0.7]
    test = {"event": "test", "step": 12, "start": 0, "p_min": [0.9, 0.99], "detected": True, "streak": 1}
    test |= {"argmins": [0.5, 0.4], "no_evidence": None, "mean": curve, "sd": curve, "noise": 0.1}
    switch = {"event": "switch", "step": 12, "capped": False, "t_star": 8.0, "peak_lr": 0.1, "rewound_to": 8}
    epoch = {"event": "epoch", "epoch": 1, "step": 24, "train_loss": 1.0, "test_accuracy": 0.5}
    return "".join(json.dumps(line) + "\n" for line in [*lines, test, switch, epoch]).encode()


def _events(losses: list[float]) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = EventFileWriter(folder)
        for i, loss in enumerate(losses):
            value = Summary.Value(tag="train/loss", simple_value=loss)
            writer.add_event(Event(step=i, summary=Summary(value=[value])))
        writer.close()
        (file,) = Path(folder).iterdir()
        return file.read_bytes()


def one_line(message: str) -> bool:
    """That a message has one line."""
    if "\n" in message:
        raise ValueError(f"a message of several lines: {message!r}")
    return True


def give(reader: str, folder: Path, content: bytes) -> bool:
    """Read ``content``; whether it was taken. Nothing but a UserError may come of it."""
    try:
        READERS[reader](folder, content)
    except UserError as error:
        return not one_line(str(error))
    return True
