"""What a run that ends between two reads has not logged yet is logged when it ends, however it does."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

import limits
from autowu.config import Config
from autowu.integrations.driver import Driver
from autowu.integrations.logged import RunLog
from autowu.integrations.session import Session
from autowu.runlog.run import UNFINISHED, read
from integrations.test_driver import STEPS, Model, losses

BEGIN = """
import os, signal, sys
from pathlib import Path
from autowu.config import Config
from autowu.integrations.driver import Driver
from integrations.test_driver import Model, losses
signal.signal(signal.SIGINT, signal.default_int_handler)  # who began the tests may ignore it
model = Model(Driver(Config(total_steps=200), log=sys.argv[1]))
"""
AT = 71
"""Updates of these runs, five after the last read."""


def driver(folder: Path) -> Driver:
    return Driver(Config(total_steps=STEPS), log=folder)


def last_read(at: int) -> int:
    """The last read of a run of so many updates."""
    model = Model(Driver(Config(total_steps=STEPS)))
    model.train(losses()[:at])
    assert 0 < model.driver.session.state.step < at
    return model.driver.session.state.step


def status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


def logged(folder: Path) -> list[float]:
    """The losses of the log, which has each update once, in order."""
    run = read(folder)
    assert run.steps.tolist() == list(range(1, len(run.losses) + 1))
    return run.losses.tolist()


def in_process(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What became of a run of ``script`` in a process of its own."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", BEGIN + script, folder],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        check=False,
        timeout=limits.HANG,
    )


ENDS = {
    "the script is over": (f"model.train(losses()[:{AT}])", 0),
    "an error in the loop": (f"model.train([*losses()[:{AT}], 'no number'])", 1),
    "sys.exit": (f"model.train(losses()[:{AT}]); sys.exit(3)", 3),
    "ctrl-c": (f"model.train(losses()[:{AT}]); os.kill(os.getpid(), signal.SIGINT); signal.pause()", -2),
    "an error that is caught": (
        "def train():\n"
        f"    mine = Model(Driver(Config(total_steps=200), log=sys.argv[1])); mine.train(losses()[:{AT}])\n"
        "    raise KeyError\n"
        "del model\n"
        "try: train()\n"
        "except KeyError: pass\n"
        "os._exit(5)",
        5,
    ),
}


@pytest.mark.parametrize(("script", "code"), ENDS.values(), ids=ENDS.keys())
def test_a_run_that_ends_by_itself_has_all_updates(script: str, code: int, tmp_path: Path) -> None:
    assert last_read(AT) < AT
    made = in_process(script, tmp_path)
    assert made.returncode == code, made.stderr
    assert logged(tmp_path) == losses()[:AT].tolist()
    assert read(tmp_path).notes == (UNFINISHED,)
    assert status(tmp_path) == "stopped"


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"])
def test_a_run_that_is_killed_has_those_up_to_its_last_read(end: str, tmp_path: Path) -> None:
    in_process(f"model.train(losses()[:{AT}]); {end}", tmp_path)
    assert logged(tmp_path) == losses()[: last_read(AT)].tolist()
    assert status(tmp_path) == "running"


FORKS = {
    "ends before its parent": "if os.fork() == 0: sys.exit()\nos.wait()\n",
    "ends after it": "r, w = os.pipe()\nif os.fork() == 0: os.close(w); os.read(r, 1); sys.exit()\n",
    "lets go of the run": "if os.fork() == 0: del model; os._exit(0)\nos.wait()\n",
    "is killed": "if os.fork() == 0: os.kill(os.getpid(), signal.SIGKILL)\nos.wait()\n",
}


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS.keys())
def test_a_fork_of_the_process_writes_nothing(fork: str, tmp_path: Path) -> None:
    script = f"model.train(losses()[:{AT}])\n{fork}size = os.stat(sys.argv[1] + '/log.jsonl').st_size\n"
    made = in_process(script + "print(size)\nmodel.train(losses()[71:73])", tmp_path)
    assert made.returncode == 0, made.stderr
    assert "something else writes" not in made.stderr
    assert logged(tmp_path) == losses()[: AT + 2].tolist()


def test_losses_of_jax_are_read_before_jax_is_gone(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    script = "import jax.numpy as jnp\nmine = Model(Driver(Config(total_steps=200), log=sys.argv[1]))\n"
    made = in_process(script + f"mine.train(map(jnp.float32, losses()[:{AT}]))", tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    assert logged(tmp_path) == losses()[:AT].astype(np.float32).tolist()


# --- within one process ---------------------------------------------------------------------------------


def test_a_run_that_nobody_holds_any_more_is_over(tmp_path: Path) -> None:
    model = Model(driver(tmp_path))
    model.train(losses()[:AT])
    assert len(logged(tmp_path)) == last_read(AT)
    alive = weakref.ref(model.driver)
    del model
    assert alive() is None
    assert logged(tmp_path) == losses()[:AT].tolist()


def test_a_run_without_any_read_is_logged_too(tmp_path: Path) -> None:
    for at in (1, 4):
        slow = Config(total_steps=200_000, warmup_limit=10_000)  # whose first reads are some updates apart
        model = Model(Driver(slow, log=tmp_path))
        model.train(losses()[:at])
        assert model.driver.session.state.step == 0
        del model
        assert logged(tmp_path) == losses()[:at].tolist()
    assert logged(tmp_path / "earlier-1") == losses()[:1].tolist()


def test_a_run_without_any_update_leaves_what_is_there(tmp_path: Path) -> None:
    Model(driver(tmp_path)).train(losses()[:AT])
    before = (tmp_path / "log.jsonl").read_bytes()
    driver(tmp_path)
    assert (tmp_path / "log.jsonl").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "run.json"]


def test_a_finished_run_is_not_stopped(tmp_path: Path) -> None:
    model = Model(driver(tmp_path))
    model.train(losses())
    files = [(tmp_path / name).read_bytes() for name in ("log.jsonl", "run.json")]
    del model
    assert files == [(tmp_path / name).read_bytes() for name in ("log.jsonl", "run.json")]
    assert status(tmp_path) == "finished"


@pytest.mark.parametrize("dies", ["at once", "after the next reads"])
@pytest.mark.parametrize("how", ["copied", "saved"])
def test_a_run_that_goes_on_elsewhere_is_told_of_once(how: str, dies: str, tmp_path: Path) -> None:
    first = Model(driver(tmp_path))
    first.train(losses()[:AT])
    if how == "copied":
        second = Model(copy.deepcopy(first.driver))
    else:
        second = Model(driver(tmp_path))
        second.driver.load_state_dict(first.driver.state_dict())
    if dies == "at once":
        del first
    second.train(losses()[AT:150])
    first = None
    second.train(losses()[150:])
    assert logged(tmp_path) == losses().tolist()
    assert status(tmp_path) == "finished"


def test_a_copy_that_is_thrown_away_writes_nothing(tmp_path: Path) -> None:
    model = Model(driver(tmp_path))
    model.train(losses()[:AT])
    before = (tmp_path / "log.jsonl").read_bytes()
    other = Model(copy.deepcopy(model.driver))
    other.train([5.0])
    del other
    assert (tmp_path / "log.jsonl").read_bytes() == before
    model.train(losses()[AT:])
    assert logged(tmp_path) == losses().tolist()


def test_a_loaded_state_is_what_is_logged_at_the_end(tmp_path: Path) -> None:
    saved, model = Model(driver(tmp_path / "other")), Model(driver(tmp_path))
    saved.train(losses()[:AT])
    model.driver.load_state_dict(saved.driver.state_dict())
    model.train(losses()[AT : AT + 1])
    del model
    run = read(tmp_path)
    assert run.steps.tolist() == list(range(last_read(AT) + 1, AT + 2))
    assert run.losses.tolist() == losses()[last_read(AT) : AT + 1].tolist()


def test_a_process_that_is_not_the_first_does_not_become_it_at_the_end(tmp_path: Path) -> None:
    config, first = Config(total_steps=STEPS), [False]
    log = RunLog(tmp_path, config, {"host": "none"}, lambda: first[-1])
    session = Session(config, log=log)
    session.step = 1
    first.append(True)  # as every process believes after destroy_process_group()
    assert list(log.end(session, np.ones(1))) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_stays_so(tmp_path: Path) -> None:
    model = Model(driver(tmp_path / "runs"))
    model.train(losses()[:AT])
    for name in ("log.jsonl", "run.json"):
        (tmp_path / "runs" / name).unlink()
    (tmp_path / "runs").rmdir()
    del model
    assert not (tmp_path / "runs").exists()


def test_an_update_that_was_interrupted_is_left_out(tmp_path: Path) -> None:
    model = Model(driver(tmp_path))
    model.train(losses()[:AT])
    model.driver.session.step += 1  # as by Ctrl-C between the two lines that count an update
    del model
    assert logged(tmp_path) == losses()[: last_read(AT)].tolist()


def test_a_disk_that_is_full_at_the_end_is_told_of(tmp_path: Path) -> None:
    model = Model(driver(tmp_path))
    model.train(losses()[:AT])
    (tmp_path / "run.json").unlink()
    (tmp_path / "run.json").mkdir()
    with pytest.warns(UserWarning, match="the log in .* cannot be written: Is a directory"):
        del model
