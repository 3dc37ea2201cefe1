"""AutoWU(…, log=…): the log says what the scheduler did, whatever becomes of the run."""

import copy
import json
import multiprocessing
import signal
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autowu.controller.state import Cut
from autowu.report import add_arguments
from autowu.report import run as report
from autowu.report.settings import command
from autowu.runlog.run import UNFINISHED, read
from integrations.torch import logging_runs
from integrations.torch.logging_runs import assert_log_is_of
from integrations.torch.training import PAPER, STEPS, Training, blown_up, drive, scheduler, v_curve
from integrations.torch.world import World
from told import WATCH

pytestmark = pytest.mark.filterwarnings(WATCH)

ALL = list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    "settings",
    [{}, {"watch": None}, {"decay": "plateau"}, {"decay": "constant-cosine", "watch": None}, PAPER],
    ids=["default", "unwatched", "plateau", "unwatched-plateau-of-lr", "paper"],
)
def test_the_log_of_a_whole_run_is_what_the_scheduler_did(settings, tmp_path: Path) -> None:
    losses = blown_up()
    made = scheduler(log=tmp_path, **settings)
    lrs = drive(made, losses)
    assert lrs == drive(scheduler(**settings), losses)
    run = read(tmp_path)
    assert run.notes == ()
    assert_log_is_of(run, made, lrs, losses)
    assert (run.config["total_steps"], run.config["optimizer"], run.host) == (STEPS, "AdamW", "PyTorch")
    assert run.config["schedule"] == ("paper" if settings is PAPER else "autowu")
    assert run.schedule["preset"] == ("paper" if settings is PAPER else "default")
    assert run.schedule["watch"] == made.config.watch
    assert run.metrics["peak_lr"] == made.switch.peak_lr
    assert {"autowu", "torch", "numpy"} <= run.versions.keys()


def test_the_file_grows_at_decisions_alone_and_by_whole_lines(tmp_path: Path) -> None:
    total_steps = 2000
    made = scheduler(total_steps, log=tmp_path)
    log = tmp_path / "log.jsonl"
    grown, size = list[int](), 0
    for step, loss in enumerate(v_curve(total_steps), 1):
        due = made._session.due
        made.step(torch.tensor(loss))
        if (now := log.stat().st_size) != size:
            assert step == due
            assert log.read_bytes().endswith(b"\n")
            assert read(tmp_path).steps[-1] == step
            grown, size = [*grown, step], now
    assert grown[-1] == total_steps
    assert len(grown) < total_steps / 10


@pytest.mark.parametrize("settings", [{}, {"watch": None}], ids=["watched", "unwatched"])
def test_reads_are_those_of_a_run_without_a_log_and_fifty_where_nobody_reads(settings, tmp_path) -> None:
    total_steps, due = 2000, {}
    for log in (None, tmp_path):
        made = scheduler(total_steps, log=log, **settings)
        due[log] = set()
        for loss in v_curve(total_steps):
            due[log].add(made._session.due)
            made.step(loss)
    more = due[tmp_path] - due[None] - {None}
    assert due[None] - due[tmp_path] <= {None}
    assert len(more) == (0 if settings == {} else len(range(made.switch.step, total_steps, 40)))


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_a_loss_that_is_not_finite_is_null(tmp_path: Path) -> None:
    losses = v_curve()
    losses[5], losses[9] = float("nan"), float("inf")
    drive(scheduler(log=tmp_path), losses)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if '"loss": null' in line] == [6, 10]
    assert np.flatnonzero(np.isnan(read(tmp_path).losses)).tolist() == [5, 9]


def test_an_lr_that_changes_between_two_reads_is_logged_from_there_on(tmp_path: Path) -> None:
    total_steps = 2000
    made = scheduler(total_steps, log=tmp_path)
    losses = v_curve(total_steps)
    lrs = drive(made, losses[:1510])
    session = made._session
    assert session.state.read < 1510 < session.due
    cut = Cut(1510, 0.5, None, 1.0, 1.0)
    phase = session.state.phase
    session.enter(session.state.replace(phase=replace(phase, cuts=(*phase.cuts, cut))))
    lrs[-1] = session.learning_rate
    lrs += drive(made, losses[1510:])[1:]
    run = read(tmp_path)
    assert run.lrs.tolist() == lrs[:-1]
    assert cut in run.cuts


@pytest.mark.parametrize("settings", [{}, {"watch": None}], ids=["watched", "unwatched"])
def test_a_run_without_a_known_end(settings, tmp_path: Path) -> None:
    made, losses = scheduler(None, log=tmp_path, **settings), v_curve(600)
    assert read(tmp_path).config["total_steps"] is None
    lrs = drive(made, losses[:333])
    assert repr(made).startswith("AutoWU(stable, step 333, lr=")
    assert made.metrics()["autowu/phase"] == 0.5
    made.cooldown(200)
    lrs = lrs[:-1] + drive(made, losses[333:533])
    run = read(tmp_path)
    assert run.notes == ()
    assert_log_is_of(run, made, lrs, losses[:533])
    assert run.config["total_steps"] == 533
    made, other = scheduler(400, log=tmp_path / "longer", **settings), losses[:500]
    lrs = drive(made, other[:200])
    made.extend(500)
    lrs = lrs[:-1] + drive(made, other[200:])
    assert_log_is_of(read(tmp_path / "longer"), made, lrs, other)


@pytest.mark.parametrize("later", [0, 1])
def test_a_cooldown_in_warm_up_is_logged(later: int, tmp_path: Path) -> None:
    made, losses = scheduler(2000, log=tmp_path), v_curve(2000)
    lrs, at = list[float](), 0
    while at < 100 or made._session.state.read != at - later:
        lrs += drive(made, losses[at : at + 1])[:1]
        at += 1
    assert made.switch is None
    made.cooldown(300)
    lrs += drive(made, losses[at : at + 300])
    assert made.switch.step in (at, at + 1)
    assert_log_is_of(read(tmp_path), made, lrs, losses[: at + 300])


def test_there_is_something_to_show_before_the_first_update(tmp_path: Path) -> None:
    scheduler(log=tmp_path / "runs" / "mine")
    run = read(tmp_path / "runs" / "mine")
    assert run.notes == (UNFINISHED, "no update is logged yet")


@pytest.mark.parametrize("at", [pytest.param(40, marks=pytest.mark.full), 100])
def test_a_killed_run_is_readable_up_to_its_last_decision(at: int, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=logging_runs.killed, args=(str(tmp_path), at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    made = scheduler()
    lrs = drive(made, v_curve()[:at])
    run = read(tmp_path)
    last = int(run.steps[-1])
    assert last == made._session.state.read
    assert at - last < 10
    assert run.notes == (UNFINISHED,)
    assert_log_is_of(run, made, lrs, v_curve()[:last])


@pytest.mark.filterwarnings("ignore:AutoWU. step.loss. has been called")  # no updates to what is lost
@pytest.mark.parametrize(("saved", "died"), [(40, 90), (100, 160), (66, 67)])
@pytest.mark.parametrize("settings", [{}, {"watch": None}], ids=["watched", "unwatched"])
def test_a_run_that_goes_on_takes_the_place_of_what_it_had_told(saved, died, settings, tmp_path) -> None:
    first, log = Training(log=tmp_path, **settings), tmp_path / "log.jsonl"
    first.run(saved)
    state = copy.deepcopy(first.state())
    drive(first.scheduler, [5.0] * (died - saved))  # what is never to be seen again
    log.write_bytes(log.read_bytes() + b'{"event": "step", "st')
    about = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(about | {"note": "by hand"}))

    whole, then = Training(**settings), Training(log=tmp_path, **settings).load(state)
    expected = whole.run(STEPS)
    then.run(STEPS)
    run = read(tmp_path)
    assert run.notes == ()
    assert_log_is_of(run, whole.scheduler, expected, run.losses.tolist())
    assert run.losses.max() < 5
    assert json.loads((tmp_path / "run.json").read_text())["note"] == "by hand"
    assert not list(tmp_path.glob("earlier*"))


def test_a_log_that_begins_late_has_all_tests(tmp_path: Path) -> None:
    losses = v_curve()
    first = scheduler()
    drive(first, losses[:100])
    made = scheduler(log=tmp_path)
    made.load_state_dict(first.state_dict())
    drive(made, losses[100:])
    run = read(tmp_path)
    assert run.steps[0] > 67
    assert run.switch == made.switch
    assert len(run.tests) == len(made.verdicts)


def test_a_run_that_was_there_is_put_aside(tmp_path: Path) -> None:
    for factor in (1, 2, 3):
        drive(scheduler(log=tmp_path), [factor * loss for loss in v_curve()])
    firsts = [read(folder).losses[0] for folder in (tmp_path / "earlier-1", tmp_path / "earlier-2", tmp_path)]
    assert firsts == [factor * v_curve()[0] for factor in (1, 2, 3)]


def test_a_run_of_the_trainer_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"autowu": "0.1.0", "config": {}}')
    with pytest.raises(ValueError, match=r"log: .* holds a run of `autowu train`; choose another folder"):
        scheduler(log=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_log_of_somebody_else_is_put_aside_whole_also_by_a_run_that_goes_on(tmp_path: Path) -> None:
    first, theirs = scheduler(), '{"step": 1, "loss": 2.0}\n{"step": 5000, "loss": 1.0}\n'
    drive(first, v_curve()[:100])
    (tmp_path / "log.jsonl").write_text(theirs)
    made = scheduler(log=tmp_path)
    made.load_state_dict(first.state_dict())
    drive(made, v_curve()[100:])
    assert (tmp_path / "earlier-1" / "log.jsonl").read_text() == theirs
    assert read(tmp_path).losses[-1] == v_curve()[-1]


def test_log_must_be_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="log must be the path of a folder, not True"):
        scheduler(log=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="log must be the path of a folder, not ''; None for no log"):
        scheduler(log="")
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_dies_between_two_reads_logs_what_it_has(tmp_path: Path) -> None:
    losses = [torch.tensor(loss, dtype=torch.float64) for loss in v_curve()[:100]]
    made = scheduler(log=tmp_path)
    lrs = drive(made, losses)
    assert made._session.state.step < 100
    made.observe(losses[0])  # of an update that is not closed
    alive, optimizer, known = weakref.ref(made), weakref.ref(made.optimizer), copy.deepcopy(made)
    del made
    assert (alive(), optimizer()) == (None, None)
    assert_log_is_of(read(tmp_path), known, lrs, v_curve()[:100])


# --- several processes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    made = World(2, tmp_path_factory.mktemp("world") / "store")
    yield made
    made.close()


@pytest.mark.full
def test_rank_0_writes_the_mean_of_all(world: World, tmp_path: Path) -> None:
    losses = [[loss + rank / 8 for loss in v_curve()] for rank in range(2)]
    (lrs, files, switch), (_, others, _) = world.run(logging_runs.on_rank, str(tmp_path), losses, {})
    assert (files, others) == (["log.jsonl", "run.json"], [])
    run = read(tmp_path / "0")
    assert run.steps.tolist() == ALL
    assert run.lrs.tolist() == lrs[:-1]
    assert run.switch == switch
    np.testing.assert_allclose(run.losses, np.mean(losses, axis=0), rtol=1e-7)


def test_rank_0_alone_writes_what_was_not_read(world: World, tmp_path: Path) -> None:
    losses = [[loss + rank / 8 for loss in v_curve()[:100]] for rank in range(2)]
    (lrs, _, _), (_, files, _) = world.run(logging_runs.on_rank, str(tmp_path), losses, {})
    assert (files, (tmp_path / "1").exists()) == ([], False)
    run = read(tmp_path / "0")
    assert run.lrs.tolist() == lrs[:100]
    mean, own = np.array(losses).mean(axis=0), losses[0]
    read_together = int((run.losses == mean).sum())
    assert 0 < read_together < 100
    np.testing.assert_array_equal(run.losses, [*mean[:read_together], *own[read_together:]])


def test_a_log_on_one_rank_alone_holds_up_nobody(world: World, tmp_path: Path) -> None:
    # Without the watch the log reads where no rank does: it must not wait for one that has none.
    losses = [[loss + rank / 8 for loss in v_curve()] for rank in range(2)]
    lrs, others = world.run(logging_runs.on_first_rank, str(tmp_path), losses, {"watch": None})
    assert lrs == others
    assert read(tmp_path).steps.tolist() == ALL


# --- what is made of it ---------------------------------------------------------------------------------


def test_the_report_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("plotly")
    import argparse

    made = scheduler(log=tmp_path / "mine")
    drive(made, v_curve())
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert report(parser.parse_args([str(tmp_path / "mine"), "-o", str(tmp_path / "page.html")])) == 0
    assert f"{made.switch.peak_lr:.3g}" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"At step {made.switch.step:,}" in page
    assert "autowu train --" not in page  # which would not repeat a loop of one's own
    assert command(read(tmp_path / "mine")) is None
