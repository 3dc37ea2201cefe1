"""Files from anywhere, given to every reader."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from reliability import damage
from reliability.promises import Trials, promise


@pytest.mark.parametrize("reader", damage.READERS)
@promise(
    "a damaged file: bytes flipped, lost, doubled, replaced by words of the format or of another file",
    "it is read as far as it goes, or refused by one line (`UserError`); nothing else comes of it",
    full=4_000,
    plain=60,
    unit="files",
)
def test_damaged_files(reader: str, trials: Trials, tmp_path: Path) -> None:
    files = damage.whole(reader)
    for file in files:
        assert damage.give(reader, tmp_path, file)
    taken = 0
    for trial in trials:
        rng = random.Random(f"{reader} {trial}")
        content = damage.damaged(rng.choice(files), rng.choice(files), rng)
        taken += damage.give(reader, tmp_path, content)
    trials.notes["read"] = f"{taken:,}"


@pytest.mark.skipif(not find_spec("atheris"), reason="needs atheris")
@pytest.mark.parametrize("reader", damage.READERS)
@promise(
    "the same, led by coverage (atheris)",
    "it is read as far as it goes, or refused by one line (`UserError`); nothing else comes of it",
    full=20_000,
    plain=0,
    unit="files",
)
def test_fuzzed_files(reader: str, trials: Trials, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(damage.__file__).with_name("fuzz.py")), reader, str(tmp_path)]
    flags = [f"-runs={trials.count}", "-seed=1", "-max_len=4000"]
    done = subprocess.run([*command, *flags], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    said = re.search(r"Done (\d+) runs", done.stderr)
    assert said
    trials.done = min(int(said[1]), trials.count)
