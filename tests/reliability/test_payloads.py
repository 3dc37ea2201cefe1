"""Names, paths and settings that attack the report and the commands."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from autowu import cli
from autowu.report import page
from autowu.runlog import run as runlog
from reliability.curves import v_curve
from reliability.payloads import PAYLOADS
from reliability.promises import Trials, promise


class Nodes(HTMLParser):
    """Counts elements and the names of their attributes, as a parser of HTML sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Counter[tuple[str, ...]] = Counter()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[(tag, *sorted(name for name, _ in attrs))] += 1

    def handle_comment(self, data: str) -> None:
        self.found[("comment",)] += 1

    def handle_decl(self, decl: str) -> None:
        self.found[("declaration",)] += 1

    def handle_pi(self, data: str) -> None:
        self.found[("instruction",)] += 1


def write(folder: Path, name: str) -> Path:
    """A run whose every text is ``name``."""
    folder.mkdir()
    losses = v_curve(30, 1).tolist()
    lines: list[dict[str, Any]] = [
        {"event": "step", "step": i + 1, "loss": loss, "lr": 0.1, "phase": name}
        for i, loss in enumerate(losses)
    ]
    test = {
        "event": "test",
        "step": 20,
        "start": 0,
        "p_min": [],
        "detected": False,
        "argmins": [],
        "streak": 0,
    }
    lines.append(test | {"no_evidence": name, "mean": None, "sd": None, "noise": None})
    lines.append({"event": name, "step": 3})
    about: dict[str, Any] = {
        "autowu": name,
        "status": name,
        "versions": {"torch": name},
        "machine": {"cpu": name},
    }
    about |= {"config": {"schedule": name, "data": name, "optimizer": name, "out": name, f"key {name}": name}}
    about |= {"schedule": {"decay": name}, "metrics": {"test_accuracy": 0.5}, "command": name, "argv": [name]}
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def shown(folder: Path, name: str) -> str:
    return page.page([runlog.read(folder, name)], "/* plotly.js */")


@promise(
    "run names, settings, versions and reasons that hold markup, control characters or paths",
    "the report has not one element, attribute or comment more than with plain words",
    full=200,
    plain=200,
    unit="payloads",
)
def test_no_new_nodes_in_the_report(trials: Trials, tmp_path: Path) -> None:
    plain = Nodes(shown(write(tmp_path / "plain", "plain"), "plain")).found
    for trial in trials:
        payload = PAYLOADS[trial]
        folder = write(tmp_path / str(trial), payload)
        text = shown(folder, payload)
        assert Nodes(text).found == plain, payload
        text.encode("utf-8")


@promise(
    "the same as a file's name, its column's name and its content, for `autowu replay` and `autowu report`",
    "exit status 0, or 2 and one line; no control character on the terminal; nothing is written",
    full=200,
    plain=40,
    unit="payloads",
)
def test_nothing_is_written_and_no_terminal_steered(
    trials: Trials, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "deep" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    losses = "".join(f"{loss}\n" for loss in v_curve(40, 1))
    for trial in trials:
        payload = PAYLOADS[trial * 73 % len(PAYLOADS)]
        name = "".join(char for char in payload if char not in "/\0")[:60].encode("utf-8", "replace").decode()
        if name in ("", ".", ".."):
            name = "x"
        file = inner / f"{name}.csv"
        file.write_text(f"loss\n{losses}")
        bad = inner / "bad.csv"
        bad.write_bytes(f"loss,{payload}\n1,{payload}\n{payload},1\n".encode("utf-8", "replace"))
        before = sorted(str(path) for path in tmp_path.rglob("*"))
        for arguments in (
            ["replay", f"./{name}.csv"],
            ["replay", "bad.csv"],
            ["replay", "bad.csv", f"--loss-column={payload}"],
            ["replay", f"./{payload}"],
            ["report", f"./{payload}/no", "-o", "never.html"],
        ):
            if any("\0" in argument for argument in arguments):
                continue  # no operating system takes it as an argument
            status = cli.main(arguments)
            said = capsys.readouterr()
            assert status in (0, 2), (payload, arguments, said)
            assert said.err.count("\n") == (1 if status else 0), (payload, arguments, said.err)
            for char in said.out + said.err:
                assert char == "\n" or char.isprintable(), (payload, arguments, char)
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before, payload
        file.unlink()
        bad.unlink()
