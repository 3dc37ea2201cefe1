"""The run folder: one process at a time, a full disk, what is refused there, also by --dry-run."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from autowu import cli
from autowu.errors import UserError
from autowu.runlog import writer
from autowu.train.checkpoints import checkpoint
from autowu.train.output.log import RunLog
from autowu.train.run import before, engine
from autowu.train.settings.options import Settings
from train import runs

FULL = OSError(28, "No space left on device")
SHORT = runs.QUICK | {"epochs": 1, "schedule": "constant"}
FLAGS = ("--model", "mlp", "--batch-size", "64", "--epochs", "1", "--schedule", "constant")


def train(out: Path, *, resume: bool = False, **settings):
    return engine.train(Settings(**SHORT | settings, out=str(out)), resume=resume)


# --- one at a time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
def test_two_processes_do_not_train_in_one_folder(tmp_path, resume):
    pytest.importorskip("fcntl")
    other = RunLog(tmp_path, writes=True)
    other.begin({"config": {}}, 0)
    other.write([{"event": "step", "step": 1}])
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"another process trains in .*; choose another --out"):
        train(tmp_path, resume=resume)
    assert files == {path: path.read_bytes() for path in tmp_path.iterdir()}
    other.close()
    train(tmp_path, resume=resume)
    assert runs.read(tmp_path)[0]["status"] == "finished"


def test_a_run_that_could_not_begin_leaves_the_folder_to_the_next(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(engine, "Loggers", fails)
        with pytest.raises(MemoryError) as kept:  # and its frames, with all that they hold
            train(tmp_path)
    train(tmp_path)
    assert kept.value is not None
    assert runs.read(tmp_path)[0]["status"] == "finished"


def test_a_run_that_another_process_has_finished_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    load = engine.load

    def slowly(*of):
        monkeypatch.setattr(engine, "load", load)
        train(tmp_path, seed=1)
        return load(*of)

    monkeypatch.setattr(engine, "load", slowly)
    with pytest.raises(UserError, match="holds a finished run; choose another --out, or remove it"):
        train(tmp_path, seed=2)
    about, log = runs.read(tmp_path)
    assert (about["status"], about["config"]["seed"]) == ("finished", 1)
    assert len(runs.of_kind("step", log)) == about["metrics"]["steps"]


@pytest.mark.parametrize("left", [None, 0, 1, 2])
def test_a_log_that_lacks_what_the_checkpoint_knows_of_is_told_and_goes_on_by_whole_lines(tmp_path, left):
    events = [{"event": "step", "step": step} for step in (1, 2, 3)]
    with closing(RunLog(tmp_path, writes=True)) as log:
        log.begin({"config": {}}, 0)
        length = log.write(events)
    path = tmp_path / writer.LOG
    if left is None:
        path.unlink()
    else:
        whole = len(writer.to_lines(events[:left]))
        path.write_bytes(path.read_bytes()[: whole + 5])
    with closing(RunLog(tmp_path, writes=True)) as log:
        with pytest.warns(UserWarning, match=rf"log\.jsonl has \d+ bytes, where .* knows of {length}: "):
            log.begin({"config": {}}, length)
        more = [{"event": "step", "step": 4}]
        assert log.write(more) == path.stat().st_size
    assert path.read_bytes() == writer.to_lines(events[: left or 0] + more)


# --- a full disk --------------------------------------------------------------------------------------


def test_a_checkpoint_that_cannot_be_written_says_whether_there_is_one_before(tmp_path, monkeypatch):
    write_part = checkpoint.write_part

    def fails_at(step):
        def write(run, at, rank, state):
            if at >= step:
                raise FULL
            return write_part(run, at, rank, state)

        monkeypatch.setattr(checkpoint, "write_part", write)

    fails_at(0)
    with pytest.raises(
        UserError, match=r"No space .*; nothing has been saved before, so --resume begins anew"
    ):
        train(tmp_path / "one", checkpoint_every=5)
    fails_at(10)
    with pytest.raises(
        UserError, match="what was saved before is as it was, and --resume goes on from there"
    ):
        train(tmp_path / "two", checkpoint_every=5)


def test_what_cannot_be_written_to_a_full_disk_names_the_folder_and_leaves_no_draft(tmp_path, monkeypatch):
    def replace(*_):
        raise FULL

    monkeypatch.setattr(writer.os, "replace", replace)
    with pytest.raises(UserError, match=r"cannot write to the run folder .*: No space left on device"):
        train(tmp_path)
    assert not (tmp_path / "run.json.tmp").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_names_the_folder(tmp_path):
    log = RunLog(tmp_path, writes=True)
    log.close()
    log._file = open("/dev/full", "ab")  # noqa: SIM115
    with pytest.raises(UserError, match=r"cannot write to the run folder .*: No space left on device"):
        log.write([{"event": "step"}])
    log.close()


# --- what is refused ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    train(out)
    return out


@pytest.fixture
def unfinished(tmp_path, finished) -> Path:
    """The same, as if it had been killed before its end."""
    import shutil

    out = tmp_path / "unfinished"
    shutil.copytree(finished, out)
    about = json.loads((out / "run.json").read_text(encoding="utf-8"))
    (out / "run.json").write_text(json.dumps(about | {"status": "running", "metrics": {}}), encoding="utf-8")
    return out


def test_a_finished_run_of_other_data_is_not_the_one_to_be_resumed(finished):
    with pytest.raises(UserError, match="holds a finished run of --data digits, not cifar10: choose another"):
        before.finished(Settings(**SHORT, out=str(finished), data="cifar10"), resume=True)
    assert before.finished(Settings(**SHORT, out=str(finished)), resume=True)


def test_a_recipe_of_other_data_is_not_that_of_the_run(finished, capsys):
    assert cli.main(["train", "--out", str(finished), "--resume", "--recipe", "cifar10-cnn"]) == 2
    told = "cannot resume with --recipe cifar10-cnn, which is for cifar10: the run in"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weight_decay": 0.2}, "another --weight-decay: the run has 0.1, not 0.2"),
        ({"lr": 0.1}, "another --lr: the run has 0.001, not 0.1"),
        ({"clip_norm": 1.0}, "another --clip-norm: the run has none (the default), not 1.0"),
    ],
)
def test_what_the_run_has_by_default_is_told(finished, unfinished, change, told):
    for out in (finished, unfinished):
        found = before.refusal(Settings(**SHORT | change, out=str(out)), resume=True)
        assert found is not None
        assert told in found


def test_a_default_may_be_spelled_out(finished, unfinished):
    spelled = {"weight_decay": 0.1, "lr": 0.001}
    assert train(finished, resume=True, **spelled)[0] == runs.read(finished)[0]["metrics"]
    train(unfinished, resume=True, **spelled)
    assert runs.read(unfinished)[0]["status"] == "finished"


@pytest.mark.parametrize(
    ("where", "flags", "told"),
    [
        ("finished", [], "holds a finished run; choose another --out, or remove it"),
        ("unfinished", [], "holds an unfinished run: --resume goes on with it, or choose another --out"),
        ("finished", ["--resume"], "holds a finished run: --resume has nothing to do"),
        ("unfinished", ["--resume", "--batch-size", "32"], "another --batch-size: the run has 64, not 32"),
        ("file", [], "is not a folder"),
        ("new", [], None),
        ("unfinished", ["--resume"], None),
    ],
)
def test_a_dry_run_says_what_would_be_refused(tmp_path, finished, unfinished, capsys, where, flags, told):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    out = {"finished": finished, "unfinished": unfinished}.get(where, tmp_path / where)
    assert cli.main(["train", "--dry-run", *FLAGS, "--out", str(out), *flags]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("but nothing would run" in said) == (told is not None)
    assert told is None or told in said
