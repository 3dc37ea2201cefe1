"""Loggers are told each event once, however often a run is stopped and resumed."""

import argparse
import json
import re
import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import pytest

from autowu.errors import UserError
from autowu.extras import install
from autowu.train.output import loggers
from autowu.train.output.loggers import Loggers, sinks
from autowu.train.output.loggers.sinks import MLflow, WeightsAndBiases, named
from autowu.train.output.loggers.told import Told
from autowu.train.run import engine, loop
from autowu.train.settings.arguments import add_arguments
from autowu.train.settings.options import Settings
from train import commands

ABOUT = {"config": {"data": "digits"}, "schedule": {"decay": "linear"}, "versions": {}, "machine": {}}


def step(number, **values):
    return {"event": "step", "step": number, "loss": 1.0, "lr": 0.1, "phase": "warmup", "epoch": 1} | values


def evaluation(number):
    return {"event": "evaluation", "step": number, "test_accuracy": 0.5, "train_loss": 1.0, "phase": "warmup"}


SWITCH = {"event": "switch", "step": 3, "capped": False, "t_star": 2.0, "peak_lr": 0.1, "rewound_to": 2}


@pytest.fixture
def told_to(monkeypatch):
    """What a logger that only listens has been told."""
    told = []

    class Listener:
        def __init__(self, folder, about, known):
            pass

        def write(self, events):
            told.extend((event["event"], event["step"]) for event in events)

        def finish(self, metrics):
            told.append("the end")

        def close(self):
            pass

    monkeypatch.setattr("autowu.train.output.loggers.sinks.TensorBoard", Listener)
    return told


def log(folder, *events):
    """A log as far as its checkpoint."""
    (folder / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def test_a_run_that_goes_on_tells_nothing_twice_and_leaves_nothing_out(tmp_path, told_to):
    log(tmp_path)
    run = Loggers(["tensorboard"], tmp_path, ABOUT)
    run.write([step(1), step(2), evaluation(2), step(3), SWITCH])  # killed before the evaluation of step 3

    log(tmp_path, step(1))  # the checkpoint
    run = Loggers(["tensorboard"], tmp_path, ABOUT, resumes=True)
    run.write([step(2), evaluation(2), step(3), SWITCH])
    run.write([evaluation(3), step(4)])
    run.finish({})
    evaluations = [("evaluation", 2), ("step", 3), ("switch", 3), ("evaluation", 3), ("step", 4)]
    assert told_to == [("step", 1), ("step", 2), *evaluations, "the end"]


def test_a_logger_that_comes_later_is_told_what_was(tmp_path, told_to):
    log(tmp_path)
    Loggers([], tmp_path, ABOUT).write([step(1)])
    log(tmp_path, step(1), evaluation(1))
    Loggers(["tensorboard"], tmp_path, ABOUT, resumes=True).write([step(2)])
    assert told_to == [("step", 1), ("evaluation", 1), ("step", 2)]


def test_a_new_run_forgets_what_the_old_one_told(tmp_path, told_to):
    log(tmp_path)
    Loggers(["tensorboard"], tmp_path, ABOUT).write([step(1)])
    Loggers(["tensorboard"], tmp_path, ABOUT).write([step(1)])
    assert told_to == [("step", 1), ("step", 1)]


def test_other_processes_neither_log_nor_remove_anything(tmp_path, told_to):
    log(tmp_path)
    Loggers(["tensorboard"], tmp_path, ABOUT).write([step(1)])
    before = (tmp_path / "loggers.json").read_text()
    Loggers(["tensorboard"], tmp_path, ABOUT, writes=False).write([step(1)])
    assert told_to == [("step", 1)]
    assert (tmp_path / "loggers.json").read_text() == before


def test_a_logger_that_fails_does_not_stop_the_run(tmp_path, told_to, monkeypatch, capsys):
    log(tmp_path)
    run = Loggers(["tensorboard"], tmp_path, ABOUT)
    run.write([step(1)])

    def fail(self, events):
        raise ConnectionError("no\nserver")

    with monkeypatch.context() as broken:
        broken.setattr(sinks.TensorBoard, "write", fail)
        run.write([step(2)])
    run.write([step(3)])
    run.close()
    assert capsys.readouterr().err == (
        "--logger tensorboard has failed, and the run goes on without it: no server\n"
    )
    log(tmp_path, step(1), step(2), step(3))
    Loggers(["tensorboard"], tmp_path, ABOUT, resumes=True)
    assert told_to == [("step", 1), ("step", 2), ("step", 3)]


def test_a_broken_memory_of_what_was_told_is_an_error(tmp_path):
    (tmp_path / "loggers.json").write_text('{"tensorboard": [1]}')
    with pytest.raises(UserError, match=r"loggers\.json cannot be read, so loggers would be told twice"):
        Loggers(["tensorboard"], tmp_path, ABOUT, resumes=True)


@pytest.mark.parametrize(("name", "package"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_package_that_is_missing_is_named(name, package, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=f"--logger {name} needs a package .*: pip install {package}$"):
        loggers.check([name])


def test_missing_packages_are_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=re.escape(install("tensorboard"))):
        engine.train(Settings(logger=("tensorboard",), out=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_several_loggers_are_named_with_commas(capsys):
    parser = argparse.ArgumentParser(prog="autowu train")
    add_arguments(parser)
    assert parser.parse_args(["--logger", "wandb, mlflow,wandb"]).logger == ("wandb", "mlflow")
    with pytest.raises(SystemExit):
        parser.parse_args(["--logger", "wandb,paper"])
    assert "must be of tensorboard, wandb, mlflow, not 'paper'" in capsys.readouterr().err


def test_names_are_such_as_all_loggers_take_and_values_are_finite():
    test = {"event": "test", "step": 1, "p_min": (0.25, 0.75, 0.5), "streak": 2}
    assert dict(named(test)) == {
        "p_min/median": 0.5,
        "p_min/subset_0": 0.25,
        "p_min/subset_1": 0.75,
        "p_min/subset_2": 0.5,
        "streak": 2.0,
    }
    assert dict(named(step(1, loss=float("inf")))) == {"learning_rate": 0.1, "phase": 0.0}


# --- wandb and mlflow, as far as can be told without them -----------------------------------------------


def test_what_wandb_is_told(tmp_path, monkeypatch):
    asked, logged, summary = {}, [], {}
    run = SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), summary=summary, finish=lambda: None
    )
    fake = ModuleType("wandb")
    fake.init = lambda **options: asked.update(options) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    told = Told()
    sink = WeightsAndBiases(tmp_path / "cats", ABOUT, told)
    sink.write([step(2), step(3), SWITCH])
    sink.finish({"test_accuracy": 0.9})
    assert asked["resume"] == "allow"
    assert (asked["project"], asked["name"], asked["id"]) == ("autowu", "cats", told.run)
    assert asked["config"]["config"] == {"data": "digits"}
    assert [number for number, _ in logged] == [2, 3]  # one call for each step
    assert logged[1][1] == {"learning_rate": 0.1, "loss": 1.0, "phase": 0.0, "peak_lr": 0.1, "t_star": 2.0}
    assert summary["switch/step"] == 3
    assert summary["test_accuracy"] == 0.9
    WeightsAndBiases(tmp_path / "cats", ABOUT, told)
    assert asked["id"] == told.run  # the same run again


class Client:
    """Takes what MLflow's client takes."""

    def __init__(self):
        self.experiments, self.batches, self.tags, self.status = {}, [], {}, None

    def get_experiment_by_name(self, name):
        return self.experiments.get(name)

    def create_experiment(self, name):
        self.experiments[name] = SimpleNamespace(experiment_id=name)
        return name

    def create_run(self, experiment, run_name):
        return SimpleNamespace(info=SimpleNamespace(run_id=f"{experiment}/{run_name}"))

    def update_run(self, run, status):
        self.status = status

    def log_param(self, run, key, value):
        assert isinstance(value, str)

    def log_batch(self, run, metrics):
        self.batches.append((run, metrics))

    def set_tag(self, run, key, value):
        self.tags[key] = value

    def set_terminated(self, run, status):
        self.status = status


def test_what_mlflow_is_told(tmp_path, monkeypatch):
    client = Client()
    fake = ModuleType("mlflow")
    fake.MlflowClient = lambda: client
    fake.entities = SimpleNamespace(Metric=lambda name, value, now, step: (name, value, step))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    told = Told()
    sink = MLflow(tmp_path / "cats", ABOUT, told)
    assert told.run == "autowu/cats"
    sink.write([step(number) for number in range(1, 1001)])
    sink.write([SWITCH])
    assert [len(metrics) for _, metrics in client.batches] == [1000, 1000, 1000, 2]
    assert client.batches[0][1][:2] == [("learning_rate", 0.1, 1), ("loss", 1.0, 1)]
    assert client.tags["switch"] == "step 3, LR 0.1"
    sink.close()
    assert client.status == "KILLED"
    sink = MLflow(tmp_path / "cats", ABOUT, told)
    assert client.status == "RUNNING"
    sink.finish({"test_accuracy": 0.9})
    sink.close()
    assert (client.status, client.tags["test_accuracy"]) == ("FINISHED", "0.9")
    assert told.run == "autowu/cats"


# --- TensorBoard, read by its own reader ----------------------------------------------------------------


def test_tensorboard_has_each_step_once_after_a_crash_and_a_resume(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    settings = Settings(model="mlp", epochs=20, logger=("tensorboard",), checkpoint_every=75, out=str(run))
    evaluate = loop.evaluate
    calls = []

    def crash(*args):
        calls.append(args)
        if len(calls) == 10:  # at update 110: what came after the checkpoint at 75 will come again
            raise RuntimeError("crash")
        return evaluate(*args)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "evaluate", crash)
        with pytest.raises(RuntimeError, match="crash"):
            engine.train(settings)
    assert json.loads((run / "loggers.json").read_text())["tensorboard"]["step"] == 110
    engine.train(settings, resume=True)

    reader = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(run / "tensorboard"), size_guidance={reader.SCALARS: 0}).Reload()
    for tag in ("learning_rate", "loss"):
        assert [event.step for event in events.Scalars(f"autowu/{tag}")] == list(range(1, 221))
    assert [event.step for event in events.Scalars("autowu/test_accuracy")] == list(range(11, 221, 11))
    log = commands.events(run)
    tests = [event["step"] for event in log if event["event"] == "test"]
    assert [event.step for event in events.Scalars("autowu/streak")] == tests
    (switch,) = [event["step"] for event in log if event["event"] == "switch"]
    assert [event.step for event in events.Tensors("autowu/switch")] == [switch]
    phases = [event.value for event in events.Scalars("autowu/phase (0 warm-up, 1 decay)")]
    assert phases == [0.0] * switch + [1.0] * (220 - switch)
