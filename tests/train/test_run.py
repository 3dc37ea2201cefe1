"""Whole runs: what they reach, what they write and print, and that they can be repeated."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import autowu
from autowu.errors import UserError
from autowu.train import loop
from autowu.train.data import Split
from autowu.train.options import Settings, add_arguments, run

RESULT = {"train_loss", "test_loss", "test_accuracy"}
SWITCH = {"capped", "t_star", "peak_lr", "rewound_to"}
METRICS = RESULT | SWITCH | {"switch_step", "seconds", "steps"}
EPOCH = RESULT | {"epoch", "step", "lr", "phase", "images_per_second"}
TEST = {"step", "start", "p_min", "detected", "argmin", "argmins", "t_star", "streak", "no_evidence"}
QUICK = {"model": "mlp", "epochs": 16, "batch_size": 64}  # 352 updates in a second or two


def train(out: Path, **settings):
    """A quick run: its metrics, run.json and the events of log.jsonl."""
    metrics = loop.train(Settings(**QUICK | settings, out=str(out)))
    return metrics, *read(out)


def read(out: Path):
    """run.json and the events of log.jsonl."""
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((out / "run.json").read_text(encoding="utf-8")), [json.loads(line) for line in lines]


def of_kind(kind, log):
    return [event for event in log if event["event"] == kind]


@pytest.mark.parametrize(
    ("schedule", "optimizer"),
    [
        *(("autowu", optimizer) for optimizer in ("adamp", "lamb", "adamw", "sgd")),
        *(("paper", optimizer) for optimizer in ("adamp", "lamb")),
        *(("baseline", optimizer) for optimizer in ("adamp", "sgd")),
    ],
)
def test_every_schedule_trains_with_every_optimizer(tmp_path, schedule, optimizer):
    metrics, about, log = train(tmp_path, schedule=schedule, optimizer=optimizer)
    assert metrics["test_accuracy"] > 0.93
    assert metrics["steps"] == 16 * (1442 // 64) == len(of_kind("step", log))
    assert about["status"] == "finished"
    assert about["metrics"] == metrics


def test_the_run_folder(tmp_path):
    metrics, about, log = train(tmp_path / "new" / "folder", label_smoothing=0.05)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["log.jsonl", "run.json"]

    assert about["autowu"] == autowu.__version__
    assert about["config"]["model"] == "mlp"
    assert about["config"]["label_smoothing"] == 0.05
    assert set(about["config"]) == set(Settings.__dataclass_fields__)
    assert about["schedule"]["preset"] == "default"
    assert about["schedule"]["total_steps"] == 352
    assert about["schedule"]["decay"] == "linear"
    assert about["versions"]["torch"] == torch.__version__
    assert about["machine"]["threads"] == 1
    assert set(metrics) == METRICS

    steps, epochs = of_kind("step", log), of_kind("epoch", log)
    assert [event["step"] for event in steps] == list(range(1, 353))
    assert [event["epoch"] for event in steps] == [1 + i // 22 for i in range(352)]
    assert set(steps[0]) == {"event", "step", "epoch", "loss", "lr", "phase"}
    assert steps[0]["lr"] == 1e-5
    assert steps[0]["loss"] == pytest.approx(np.log(10), abs=0.5)
    assert [event["epoch"] for event in epochs] == list(range(1, 17))
    assert set(epochs[0]) == {"event", *EPOCH}
    assert epochs[1]["train_loss"] == pytest.approx(np.mean([event["loss"] for event in steps[22:44]]))
    assert epochs[1]["lr"] == steps[43]["lr"]
    assert epochs[-1]["test_accuracy"] == metrics["test_accuracy"]

    (switch,) = of_kind("switch", log)
    assert set(switch) == {"event", "step", *SWITCH}
    assert (switch["step"], switch["peak_lr"]) == (metrics["switch_step"], metrics["peak_lr"])
    assert [event["phase"] for event in steps] == ["warmup"] * switch["step"] + ["decay"] * (
        352 - switch["step"]
    )
    assert steps[switch["step"]]["lr"] == pytest.approx(switch["peak_lr"])
    tests = of_kind("test", log)
    assert tests[-1]["step"] == switch["step"]
    assert len(tests[-1]["mean"]) == len(tests[-1]["sd"]) == 101
    assert set(tests[-1]) == {"event", "mean", "sd", "noise", *TEST}
    # In the order in which things happened.
    at = [event["step"] for event in log]
    assert at == sorted(at)


def test_what_is_logged_replays_to_the_same_decisions(tmp_path):
    metrics, _, log = train(tmp_path)
    losses = [event["loss"] for event in of_kind("step", log)]
    replay = autowu.replay(losses, total_steps=352)
    assert replay.switch_step == metrics["switch_step"]
    assert replay.peak_lr == metrics["peak_lr"]
    lrs = [event["lr"] for event in of_kind("step", log)]
    np.testing.assert_allclose(replay.learning_rates, lrs, rtol=1e-14)


def test_the_baseline_writes_no_tests_and_no_switch(tmp_path):
    metrics, about, log = train(tmp_path, schedule="baseline", lr=0.004, warmup_epochs=2, epochs=4)
    assert {event["event"] for event in log} == {"step", "epoch"}
    assert metrics["peak_lr"] == about["schedule"]["peak_lr"] == pytest.approx(0.004 * (64 / 256) ** 0.5)
    assert max(event["lr"] for event in of_kind("step", log)) == pytest.approx(metrics["peak_lr"])
    assert about["schedule"]["warmup_steps"] == 2 * 22
    assert metrics["switch_step"] is None


def test_the_same_settings_give_the_same_log(tmp_path):
    def without_times(log):
        return [{key: value for key, value in event.items() if key != "images_per_second"} for event in log]

    logs = [
        without_times(train(tmp_path / str(i), seed=seed, optimizer="adamw")[2])
        for i, seed in enumerate((3, 3, 4))
    ]
    assert of_kind("switch", logs[0])
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


def test_a_loss_that_is_not_finite_is_logged_as_null(tmp_path):
    images = np.full((40, 4, 4), 1.0)
    np.savez(
        tmp_path / "blank.npz",
        x_train=images,
        y_train=np.arange(40) % 2,
        x_test=images,
        y_test=np.arange(40) % 2,
    )
    _, about, log = train(
        tmp_path,
        data=str(tmp_path / "blank.npz"),
        norm="layer",
        optimizer="sgd",
        schedule="baseline",
        lr=1e30,
        warmup_epochs=0,
        epochs=3,
        batch_size=20,
    )
    assert of_kind("step", log)[-1]["loss"] is None
    assert about["metrics"]["train_loss"] is None
    assert about["status"] == "finished"


def test_what_is_printed(tmp_path, capsys):
    metrics, *_ = train(tmp_path, epochs=40, batch_size=144)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "\x1b" not in out
    assert len(lines) < 40
    assert lines[0] == "digits: 1,442 training and 355 test images of 1 × 8 × 8, 10 classes"
    assert "40 epochs of 10 updates with batch size 144: 400 updates" in out
    (head,) = [line for line in lines if line.startswith("  epoch")]
    rows = [line for line in lines if " / 40 " in line]
    assert [int(row.split()[0]) for row in rows] == list(range(2, 41, 2))
    assert {len(row) for row in rows} == {len(head)}
    (switch,) = [line for line in lines if line.startswith("step ")]
    assert f"step {metrics['switch_step']}: minimum detected at t* = {metrics['t_star']:.1f}" in switch
    assert f"back to the weights of step {metrics['rewound_to']}" in switch
    assert f"accuracy   {100 * metrics['test_accuracy']:.2f} %" in out
    assert f"run        {tmp_path}" in out


def test_evaluation_is_a_mean_over_all_images():
    model = torch.nn.Linear(3, 4)
    split = Split(torch.randn(2500, 3), torch.randint(4, (2500,)))
    loss, accuracy = loop.evaluate(model, split)
    with torch.no_grad():
        logits = model(split.images)
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, split.labels).item(), rel=1e-5)
    assert accuracy == (logits.argmax(1) == split.labels).double().mean().item()


# --- the command line ---------------------------------------------------------------------------------


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


def test_flags_and_their_defaults():
    assert vars(parse()) == {name: field.default for name, field in Settings.__dataclass_fields__.items()}
    args = parse("--weight-decay-on", "all", "--batch-size", "32", "--decay", "1-sqrt")
    assert (args.weight_decay_on, args.batch_size, args.decay) == ("all", 32, "1-sqrt")
    assert Settings().folder == Path("runs/digits-autowu")
    assert Settings(data="some/cats.npz", schedule="paper").folder == Path("runs/cats-paper")


def test_run_returns_the_exit_status(tmp_path):
    arguments = ["--epochs", "2", "--model", "mlp", "--decay", "cosine", "--out", str(tmp_path / "run")]
    assert run(parse(*arguments)) == 0
    about, _ = read(tmp_path / "run")
    assert about["schedule"]["decay"] == "cosine"
    assert about["config"]["out"] == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--epochs 0", "--epochs must be at least 1, not 0"),
        ("--batch-size 0", "--batch-size must be at least 1, not 0"),
        ("--batch-size 1", "--batch-size must be at least 2 with --norm batch, not 1"),
        ("--batch-size 2000", "--batch-size must be at most the number of training images, 1,442, not 2,000"),
        ("--threads 0", "--threads must be at least 1, not 0"),
        ("--seed -1", "--seed must be at least 0, not -1"),
        ("--seed 9223372036854775808", "--seed must be below 2^63, not 9223372036854775808"),
        ("--weight-decay nan", "--weight-decay must be at least 0, not nan"),
        ("--label-smoothing 1", "--label-smoothing must be in [0, 1), not 1.0"),
        ("--schedule baseline --lr 0", "--lr must be a number above 0, not 0.0"),
        ("--lr 0.1", "--lr is for --schedule baseline; AutoWU finds it by itself"),
        ("--warmup-epochs 3", "--warmup-epochs is for --schedule baseline; AutoWU finds it by itself"),
        ("--schedule baseline --decay linear", "--decay is for --schedule autowu or paper"),
        ("--schedule baseline --epochs 5", "--epochs must be above the baseline's 5 epochs of warm-up"),
        ("--data cats", "--data must be 'digits' or a FILE.npz in Keras' layout, not 'cats'"),
        ("--data absent.npz", "cannot read absent.npz: No such file or directory"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        run(parse(*arguments.split()))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in ("file", "file/run"):
        with pytest.raises(UserError, match="cannot write to the run folder"):
            run(parse("--out", str(tmp_path / out), "--epochs", "1"))
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_finished_run_is_kept_and_an_unfinished_one_replaced(tmp_path):
    train(tmp_path, epochs=1)
    before = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds a finished run; choose another --out, or remove it"):
        train(tmp_path, epochs=1)
    assert (tmp_path / "log.jsonl").read_bytes() == before

    (tmp_path / "run.json").write_text("not ours")
    with pytest.raises(UserError, match="choose another --out"):
        train(tmp_path, epochs=1)

    (tmp_path / "run.json").write_text('{"status": "running"}')
    _, about, _ = train(tmp_path, epochs=1)
    assert about["status"] == "finished"


def test_a_run_that_is_stopped_keeps_its_lines_and_is_not_called_finished(tmp_path, monkeypatch):
    evaluate = loop.evaluate
    calls = []

    def stop(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(loop, "evaluate", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    about, log = read(tmp_path)
    assert about["status"] == "running"
    assert len(of_kind("step", log)) == 44
