"""A run that is stopped, at any moment and in any way, goes on as if it had not been."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from autowu.errors import UserError
from autowu.train.checkpoints import checkpoint
from autowu.train.run import engine
from autowu.train.settings.options import Settings
from train import commands

FLAGS = ("--epochs", 6, "--model", "mlp", "--batch-size", 64, "--checkpoint-every", 5, "--optimizer", "adamw")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run without interruption."""
    out = tmp_path_factory.mktemp("whole") / "run"
    commands.train(*FLAGS, "--out", out)
    return out


@pytest.mark.full  # a kill of a shorter run is in tests/reliability
def test_killed_and_resumed_again_and_again(whole, tmp_path):
    out, seen, kills = tmp_path / "run", 0, 0
    while True:
        process = commands.start(*FLAGS, "--out", out, "--resume")
        commands.wait_for_checkpoint(out, process, seen)
        if process.poll() is not None:
            commands.finish(process)
            break
        commands.kill(process)
        kills += 1
        seen = checkpoint.newest(out)[0].step + 25
    assert kills >= 4
    commands.assert_same(out, whole)


@pytest.mark.parametrize(
    ("name", "status"), [("SIGTERM", 143), pytest.param("SIGINT", 130, marks=pytest.mark.full)]
)
def test_a_signal_saves_the_update_that_was_under_way(whole, tmp_path, name, status):
    out = tmp_path / "run"
    process = commands.start(*FLAGS, "--out", out)
    commands.wait_for_checkpoint(out, process, 20)
    os.kill(process.pid, getattr(signal, name))
    told = commands.finish(process, status)
    found, damaged = checkpoint.newest(out)
    assert f"stopped after update {found.step}" in told
    assert not damaged
    assert commands.steps(out, "step") == list(range(1, found.step + 1))  # nothing lost
    assert "Traceback" not in told
    told = commands.train("--out", out, "--resume")  # the settings are the run's own
    assert f"going on after update {found.step}" in told
    commands.assert_same(out, whole)


def test_a_finished_run_stays_as_it_is(whole, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    metrics, _ = engine.train(Settings(**_settings(out)), resume=True)
    assert metrics == json.loads((whole / "run.json").read_text())["metrics"]
    assert "holds a finished run: --resume has nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"a finished run of 132 updates \(--epochs 6; now --epochs 9\)"):
        engine.train(Settings(**_settings(out) | {"epochs": 9}), resume=True)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.full
def test_resume_begins_where_there_is_nothing_to_resume(whole, tmp_path):
    out = tmp_path / "run"
    commands.train(*FLAGS, "--out", out, "--resume")
    commands.assert_same(out, whole)


# --- what cannot be resumed ---------------------------------------------------------------------------


@pytest.fixture
def stopped(whole, tmp_path) -> Path:
    """A run that was killed after its last checkpoint but one."""
    out = tmp_path / "stopped"
    shutil.copytree(whole, out)
    about = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(about | {"status": "running", "metrics": {}}))
    shutil.rmtree(sorted(out.glob("checkpoints/[0-9]*"))[-1])
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 32}, "another --batch-size: the run has 64, not 32"),
        ({"seed": 1}, "another --seed: the run has 0, not 1"),
        ({"optimizer": "sgd"}, "another --optimizer: the run has 'adamw', not 'sgd'"),
        ({"schedule": "paper"}, "another --schedule: the run has 'autowu', not 'paper'"),
    ],
)
def test_another_setting_is_refused(stopped, change, message):
    before = (stopped / "log.jsonl").read_bytes()
    with pytest.raises(UserError) as error:
        engine.train(Settings(**_settings(stopped) | change), resume=True)
    assert message in str(error.value)
    assert (stopped / "log.jsonl").read_bytes() == before


def test_other_data_are_refused(stopped, tmp_path):
    import numpy as np

    images, labels = np.random.default_rng(0).random((400, 8, 8)), np.arange(400) % 10
    np.savez(tmp_path / "digits.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(UserError, match=r"another data set \(its fingerprint\)"):
        engine.train(Settings(**_settings(stopped) | {"data": str(tmp_path / "digits.npz")}), resume=True)


@pytest.mark.full
def test_another_number_of_processes_is_refused(stopped):
    told = commands.train(*FLAGS, "--out", stopped, "--resume", "--devices", 2, status=2)
    assert "cannot resume with another" in told


# --- damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rank-0.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_serves(whole, stopped, capsys, name, damage):
    older = sorted(stopped.glob("checkpoints/[0-9]*"))[0]
    newer = stopped / "checkpoints" / f"{int(older.name) + 1:09}"
    shutil.copytree(older, newer)
    path = newer / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 3] ^= 4
        path.write_bytes(content)
    _, stop = engine.train(Settings(**_settings(stopped)), resume=True)
    assert stop is None
    assert f"the checkpoint {newer.name} is damaged" in capsys.readouterr().out
    commands.assert_same(stopped, whole)


def test_if_all_are_damaged_nothing_is_touched(stopped):
    for path in stopped.glob("checkpoints/*/rank-0.pt"):
        path.write_bytes(b"")
    before = (stopped / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"no checkpoint in .* can be used: .*rank-0\.pt has changed"):
        engine.train(Settings(**_settings(stopped)), resume=True)
    assert (stopped / "log.jsonl").read_bytes() == before


def test_what_a_killed_process_left_is_removed(whole, stopped):
    draft = stopped / "checkpoints" / ".000000131.tmp"
    draft.mkdir()
    (draft / "rank-0.pt").write_bytes(b"half of one")
    engine.train(Settings(**_settings(stopped)), resume=True)
    assert not draft.exists()
    commands.assert_same(stopped, whole)


def _settings(out: Path) -> dict:
    names = [str(word).removeprefix("--").replace("-", "_") for word in FLAGS[::2]]
    return {**dict(zip(names, FLAGS[1::2], strict=True)), "out": str(out)}
