"""``autowu train``: killed, told to stop, without room on the disk, with checkpoints that are not its own."""

from __future__ import annotations

import os
import pickle
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning_fabric")

import torch

import limits
from autowu.errors import UserError
from autowu.train.checkpoints import checkpoint
from autowu.train.checkpoints.checkpoint import Manifest
from reliability import trainer
from reliability.promises import Trials, promise
from reliability.test_kill import assert_equal
from train import commands

PLACES = [None, None, "test", "save", "rename"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    out = tmp_path_factory.mktemp("whole") / "run"
    trainer.finish(trainer.start(out))
    return out


def assert_same(out: Path, whole: Path) -> None:
    """The same log, weights, optimizer, scheduler and copy for rewinding, to the bit."""
    (log, state), (expected_log, expected_state) = trainer.result(out), trainer.result(whole)
    assert log == expected_log
    assert_equal(state, expected_state)
    assert trainer.no_drafts(out)


@promise(
    "kill -9 of `autowu train`: at any moment, within a test, while a checkpoint is written or renamed",
    "`--resume` ends with the same log, weights, optimizer and scheduler, to the bit, as a run that was "
    "never killed",
    full=200,
    plain=5,
    unit="kills",
)
def test_kill_9(trials: Trials, whole: Path, tmp_path: Path) -> None:
    log, _ = trainer.result(whole)
    tests, checkpoints = sum(event["event"] == "test" for event in log), trainer.STEPS // trainer.EVERY
    most = {"test": tests, "save": checkpoints, "rename": checkpoints}
    places: Counter[str] = Counter()
    for trial in trials:
        moments, place, out = random.Random(trial), PLACES[trial % len(PLACES)], tmp_path / str(trial)
        if place is None:
            killed = False
            while not killed:
                shutil.rmtree(out, ignore_errors=True)
                process = trainer.start(out)
                trainer.wait_for_update(out, moments.randrange(trainer.STEPS - 20), process)
                killed = trainer.kill(process)
        else:
            process = trainer.start(out, killed_in=place, at=moments.randrange(most[place]))
            trainer.finish(process, -signal.SIGKILL)
        trainer.finish(trainer.start(out))
        assert_same(out, whole)
        places[place or "anywhere"] += 1
        shutil.rmtree(out)
    trials.notes["kills"] = ", ".join(f"{count} {place}" for place, count in places.items())


def signalled(out: Path, number: int, moments: random.Random) -> BaseProcess:
    """A run that a signal was sent to; one that was quicker than this process is begun again, a few times."""
    for _ in range(5):
        process = trainer.start(out)
        trainer.wait_for_update(out, moments.randrange(1, trainer.STEPS - 40), process)
        assert process.pid is not None
        if process.is_alive():
            os.kill(process.pid, number)
        process.join(limits.HANG)
        if process.exitcode != 0:
            return process
        shutil.rmtree(out)
    raise AssertionError(f"five runs ended as if there had been no signal {number}")


@promise(
    "SIGTERM or Ctrl-C while `autowu train` runs",
    "the update is finished and saved, the exit status is 143 or 130, and `--resume` goes on to the same "
    "end, to the bit: no update is lost",
    full=50,
    plain=2,
    unit="signals",
)
def test_signals(trials: Trials, whole: Path, tmp_path: Path) -> None:
    for trial in trials:
        number, moments, out = (
            (signal.SIGTERM, signal.SIGINT)[trial % 2],
            random.Random(trial),
            tmp_path / str(trial),
        )
        trainer.finish(signalled(out, number, moments), 128 + number)
        found, damaged = checkpoint.newest(out)
        assert found is not None
        assert not damaged
        assert f"stopped after update {found.step}" in trainer.told(out)
        with open(out / "log.jsonl", "rb") as log:
            assert sum(b'"event": "step"' in line for line in log) == found.step
        trainer.finish(trainer.start(out))
        assert_same(out, whole)
        shutil.rmtree(out)


@promise(
    "the disk refuses a checkpoint (a limit on the size of files, set while the run goes on)",
    "exit status 2 and a line that says so; the checkpoint before is whole, nothing half-written is left, "
    "and with room `--resume` goes on to the same end, to the bit",
    full=20,
    plain=1,
    unit="runs",
)
@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit of another process")
def test_no_room(trials: Trials, whole: Path, tmp_path: Path) -> None:
    for trial in trials:
        moments, out = random.Random(trial), tmp_path / str(trial)
        process = trainer.start(out)
        trainer.wait_for_update(out, moments.randrange(1, trainer.STEPS - 60), process)
        assert process.pid is not None
        # Below the size of a checkpoint (over 300 kB), above that of the log.
        limit = moments.randrange(100_000, 250_000)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        trainer.finish(process, 2)
        assert "cannot write the checkpoint of update" in trainer.told(out)
        found, damaged = checkpoint.newest(out)
        assert found is not None
        assert not damaged
        assert trainer.no_drafts(out)
        trainer.finish(trainer.start(out))
        assert_same(out, whole)
        shutil.rmtree(out)


# --- what lies in the folder --------------------------------------------------------------------------


def saved(run: Path, step: int) -> Path:
    """A small checkpoint; its folder."""
    part = checkpoint.write_part(run, step, 0, {"step": step, "weights": torch.arange(4.0)})
    checkpoint.publish(run, Manifest(step, 10, dict([part]), {"batch_size": 128}))
    return checkpoint.folder(run) / f"{step:09}"


def assert_falls_back(run: Path) -> None:
    """The newer of two checkpoints is found to be damaged, and the older serves."""
    found, damaged = checkpoint.newest(run)
    assert found is not None
    assert found.step == 1
    assert [damage.path.name for damage in damaged] == ["000000002"]


@promise(
    "one bit of a checkpoint flips, in its data or in its manifest",
    "the damage is found, and the checkpoint before serves",
    full=10_000,
    unit="flips",
)
def test_flipped_bits(trials: Trials, tmp_path: Path) -> None:
    saved(tmp_path, 1)
    files = sorted(saved(tmp_path, 2).iterdir())
    assert [file.name for file in files] == ["manifest.json", "rank-0.pt"]
    contents = [file.read_bytes() for file in files]
    for trial in trials:
        place = random.Random(trial)
        which = trial % 2
        damaged = bytearray(contents[which])
        damaged[place.randrange(len(damaged))] ^= 1 << place.randrange(8)
        files[which].write_bytes(damaged)
        assert_falls_back(tmp_path)
        files[which].write_bytes(contents[which])
    found, none = checkpoint.newest(tmp_path)
    assert (found is not None and found.step, none) == (2, [])


@promise(
    "a checkpoint's file ends too early, at any of its bytes",
    "the damage is found, and the checkpoint before serves",
    full=4_000,
    unit="offsets",
)
def test_cut_off(trials: Trials, tmp_path: Path) -> None:
    saved(tmp_path, 1)
    files = sorted(saved(tmp_path, 2).iterdir())
    contents = [file.read_bytes() for file in files]
    assert contents[0].endswith(b"\n")  # the manifest's last byte, which carries nothing
    offsets = [(which, n) for which in (0, 1) for n in range(len(contents[which].rstrip(b"\n")))]
    assert len(offsets) <= 4_000 or trials.count < 4_000, "every offset is to be tried"
    random.Random(0).shuffle(offsets)
    for trial in trials:
        which, length = offsets[trial % len(offsets)]
        files[which].write_bytes(contents[which][:length])
        assert_falls_back(tmp_path)
        files[which].write_bytes(contents[which])


class Attack:
    """Leaves a file when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.plan = (call, arguments)

    def __reduce__(self) -> tuple[Any, Any]:
        return self.plan


@promise(
    "a checkpoint that would execute code, with a manifest that fits it",
    "an error; nothing is executed",
    full=100,
    plain=100,
    unit="files",
)
def test_malicious(trials: Trials, tmp_path: Path) -> None:
    for trial in trials:
        run, trace = tmp_path / str(trial), tmp_path / f"executed-{trial}"
        calls = [
            Attack(os.system, f"touch {trace}"),
            Attack(exec, f"open({str(trace)!r}, 'w')"),
            Attack(eval, f"open({str(trace)!r}, 'w')"),
            Attack(os.mkdir, str(trace)),
            Attack(Path.touch, trace),
        ]
        attack, depth = calls[trial % len(calls)], trial // len(calls) % 4
        state: Any = attack
        for key in ("weights", "model", "schedule")[:depth]:
            state = {key: state}
        folder = checkpoint.folder(run) / "000000001"
        folder.mkdir(parents=True)
        if trial % 2:
            torch.save(state, folder / "rank-0.pt")
        else:
            (folder / "rank-0.pt").write_bytes(pickle.dumps(state, protocol=2))
        digest = checkpoint.sha256(folder / "rank-0.pt")
        (folder / "manifest.json").write_text(Manifest(1, 0, {"rank-0.pt": digest}, {}).dumps())
        found, damaged = checkpoint.newest(run)
        assert found is not None
        assert not damaged
        with pytest.raises(UserError, match="cannot read the checkpoint"):
            checkpoint.read_part(run, 1, 0, torch.device("cpu"))
        assert not trace.exists()
    assert not list(tmp_path.glob("executed-*"))
    attack = Attack(os.mkdir, str(tmp_path / "executed"))
    pickle.loads(pickle.dumps(attack))  # it does execute where it is let
    assert (tmp_path / "executed").exists()


# --- several processes --------------------------------------------------------------------------------


@promise(
    "kill -9 of one of the processes that torchrun has started for `autowu train`",
    "torchrun starts all of them again, they go on from the checkpoint to the same end, to the bit, and none "
    "waits for the dead",
    full=8,
    plain=0,
    unit="kills, of 2 and of 4 processes",
)
def test_one_of_several(trials: Trials, tmp_path: Path) -> None:
    flags = (*trainer.FLAGS, "--norm", "layer")
    ends = {}
    for trial in trials:
        moments, count, out = random.Random(trial), (2, 4)[trial % 2], tmp_path / str(trial)
        if count not in ends:
            ends[count] = tmp_path / f"whole-{count}"
            commands.train(*flags, "--out", ends[count], "--devices", count)
        module = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count))
        launcher = (sys.executable, *module, "--max-restarts", "1", "-m", "autowu")
        process = commands.start(*flags, "--out", out, "--resume", launcher=launcher)
        commands.wait_for_checkpoint(out, process, moments.randrange(6, trainer.STEPS - 60))
        os.kill(moments.choice(commands.children(process)), signal.SIGKILL)
        commands.finish(process)
        assert_same(out, ends[count])
