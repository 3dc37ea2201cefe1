"""Quick runs, and what they have written."""

import json
from pathlib import Path

from autowu.train.run import engine
from autowu.train.settings.options import Settings

QUICK = {"model": "mlp", "epochs": 16, "batch_size": 64}  # 352 updates in a second or two


def train(out: Path, **settings):
    """A quick run: its metrics, run.json and the events of log.jsonl."""
    metrics, stopped = engine.train(Settings(**QUICK | settings, out=str(out)))
    assert stopped is None
    return metrics, *read(out)


def read(out: Path):
    """run.json and the events of log.jsonl."""
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((out / "run.json").read_text(encoding="utf-8")), [json.loads(line) for line in lines]


def of_kind(kind, log):
    return [event for event in log if event["event"] == kind]
