"""Whole runs: what they reach, what they write and print, and that they can be repeated."""

import math
from importlib.metadata import version

import numpy as np
import pytest
import torch

import autowu
from autowu.train import schedules
from autowu.train.run import loop
from autowu.train.settings.options import Settings
from train.runs import of_kind, train

pytestmark = pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")

RESULT = {"train_loss", "test_loss", "test_accuracy"}
SWITCH = {"capped", "t_star", "peak_lr", "rewound_to"}
METRICS = RESULT | SWITCH | {"switch_step", "seconds", "steps"}
EVALUATION = RESULT | {"epoch", "step", "lr", "phase", "samples_per_second"}
TEST = {
    "step",
    "start",
    "p_min",
    "detected",
    "argmin",
    "argmins",
    "t_star",
    "streak",
    "no_evidence",
}


@pytest.mark.parametrize(
    ("schedule", "optimizer"),
    [
        *(("autowu", optimizer) for optimizer in ("adamw", "sgd")),
        *(("paper", "lamb"), ("baseline", "adamp")),
        *(
            pytest.param(*each, marks=pytest.mark.full)
            for each in (("autowu", "adamp"), ("autowu", "lamb"), ("paper", "adamp"), ("baseline", "sgd"))
        ),
    ],
)
def test_every_schedule_trains_with_every_optimizer(tmp_path, schedule, optimizer):
    epochs = (
        24 if schedule == "paper" else 16
    )  # a test an epoch: three of patience overshoot in a shorter run
    metrics, about, log = train(tmp_path, schedule=schedule, optimizer=optimizer, epochs=epochs)
    assert metrics["test_accuracy"] > 0.93
    assert metrics["steps"] == epochs * (1442 // 64) == len(of_kind("step", log))
    assert about["status"] == "finished"
    assert about["metrics"] == metrics


def test_the_run_folder(tmp_path):
    metrics, about, log = train(tmp_path / "new" / "folder", label_smoothing=0.05)
    files = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert files == ["checkpoints", "log.jsonl", "run.json"]

    assert about["autowu"] == autowu.__version__
    assert about["config"]["model"] == "mlp"
    assert about["config"]["label_smoothing"] == 0.05
    assert set(about["config"]) == set(Settings.__dataclass_fields__)
    assert about["schedule"]["preset"] == "default"
    assert about["schedule"]["total_steps"] == 352
    assert about["schedule"]["decay"] == "linear"
    assert about["versions"]["torch"] == version("torch")  # torch.__version__ may say more
    assert about["machine"]["threads"] == 1
    assert set(metrics) == METRICS

    assert about["samples"] == "images"

    steps, epochs = of_kind("step", log), of_kind("evaluation", log)
    assert [event["step"] for event in steps] == list(range(1, 353))
    assert [event["epoch"] for event in steps] == [1 + i // 22 for i in range(352)]
    assert set(steps[0]) == {"event", "step", "epoch", "loss", "lr", "phase"}
    assert steps[0]["lr"] == 1e-5
    assert steps[0]["loss"] == pytest.approx(np.log(10), abs=0.5)
    assert [event["epoch"] for event in epochs] == list(range(1, 17))
    assert set(epochs[0]) == {"event", *EVALUATION}
    assert epochs[1]["train_loss"] == pytest.approx(np.mean([event["loss"] for event in steps[22:44]]))
    assert epochs[1]["lr"] == steps[43]["lr"]
    assert epochs[-1]["test_accuracy"] == metrics["test_accuracy"]

    (switch,) = of_kind("switch", log)
    assert set(switch) == {"event", "step", "reason", "reads", *SWITCH}
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
    assert {event["event"] for event in log} == {"step", "evaluation"}
    assert metrics["peak_lr"] == about["schedule"]["peak_lr"] == pytest.approx(0.004 * (64 / 256) ** 0.5)
    assert max(event["lr"] for event in of_kind("step", log)) == pytest.approx(metrics["peak_lr"])
    assert about["schedule"]["warmup_steps"] == 2 * 22
    assert metrics["switch_step"] is None


def test_the_same_settings_give_the_same_log(tmp_path):
    def without_times(log):
        return [{key: value for key, value in event.items() if key != "samples_per_second"} for event in log]

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


def test_evaluation_is_a_mean_over_all_images(tmp_path, monkeypatch):
    found = {}
    evaluate = loop.evaluate

    def again(run):
        loss, accuracy = evaluate(run)
        run.network.eval()
        parts = list(run.task.evaluation())
        images, labels = (torch.cat(kind) for kind in zip(*parts, strict=True))
        with torch.no_grad():
            logits = run.network(images)
        run.network.train()
        expected = torch.nn.functional.cross_entropy(logits, labels).item()
        found[run.step] = (loss, expected, accuracy, (logits.argmax(1) == labels).double().mean().item())
        return loss, accuracy

    monkeypatch.setattr(loop, "evaluate", again)
    train(tmp_path, epochs=2)
    assert set(found) == {22, 44}
    for loss, expected, accuracy, share in found.values():
        assert loss == pytest.approx(expected, rel=1e-5)
        assert accuracy == share


# --- accumulation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("micro", [7, *(pytest.param(size, marks=pytest.mark.full) for size in (32, 24))])
def test_micro_batches_give_the_losses_and_lrs_of_the_undivided_batch(tmp_path, micro):
    def steps(**settings):
        _, _, log = train(tmp_path / str(settings), epochs=5, norm="layer", optimizer="adamw", **settings)
        return of_kind("step", log)

    whole, parts = steps(), steps(micro_batch_size=micro)
    # Sums in another order: float32 rounds at 6e-8, and 110 updates amplify that.
    np.testing.assert_allclose([e["loss"] for e in parts], [e["loss"] for e in whole], rtol=1e-4)
    assert [event["lr"] for event in parts] == [event["lr"] for event in whole]


def test_the_last_batch_is_an_update_wherever_epochs_are_counted(tmp_path):
    """Of 1,442 digits 34 are left over by batches of 64."""

    def run(**settings):
        chosen = {"epochs": 5, "norm": "layer", "optimizer": "adamw", "keep_last_batch": True, **settings}
        chosen |= {"schedule": "paper", "set": {"max_lr": 0.01}}  # nothing diverges
        _, found, log = train(tmp_path / str(settings), **chosen)
        return found, of_kind("step", log), log

    found, whole, log = run()
    assert [event["epoch"] for event in whole] == [1 + update // 23 for update in range(115)]
    assert [event["step"] for event in of_kind("evaluation", log)] == [23, 46, 69, 92, 115]
    assert {event["step"] % 23 for event in of_kind("test", log)} == {0}
    assert (found["schedule"]["steps_per_epoch"], found["schedule"]["total_steps"]) == (23, 115)
    _, parts, _ = run(micro_batch_size=7)
    np.testing.assert_allclose([e["loss"] for e in parts], [e["loss"] for e in whole], rtol=1e-4)
    assert [event["lr"] for event in parts] == [event["lr"] for event in whole]


def test_the_gradient_is_clipped_as_a_whole(tmp_path, monkeypatch):
    norms = []
    before = schedules.Method.before_step

    def watched(self, loss, forward):
        gradients = [p.grad.flatten() for group in self.optimizer.param_groups for p in group["params"]]
        norms.append(torch.cat(gradients).norm().item())
        before(self, loss, forward)

    class Watching(schedules.Method):
        before_step = watched

    build = schedules.build
    monkeypatch.setattr(schedules, "build", lambda *a, **k: Watching(*vars(build(*a, **k)).values()))
    train(tmp_path, epochs=2, clip_norm=0.05, micro_batch_size=16)
    assert max(norms) == pytest.approx(0.05, rel=1e-4)
    assert len(norms) == 44


# --- how long -----------------------------------------------------------------------------------------


def test_a_run_of_so_many_updates(tmp_path):
    metrics, _, log = train(tmp_path, epochs=None, steps=50)
    assert metrics["steps"] == 50
    assert [event["step"] for event in of_kind("evaluation", log)] == [22, 44, 50]
    assert [event["epoch"] for event in of_kind("evaluation", log)] == [1, 2, 3]


def test_a_text_has_no_epochs(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 200)
    settings = {"data": str(text), "context": 16, "batch_size": 16, "model": "gpt", "epochs": None}
    metrics, about, log = train(tmp_path / "run", **settings, optimizer="adamw")
    passes = 9000 * 0.9 / (16 * 16)
    assert metrics["steps"] == pytest.approx(passes, abs=1)  # once through it
    assert about["samples"] == "tokens"
    assert {event["epoch"] for event in of_kind("step", log) + of_kind("evaluation", log)} == {None}
    every = math.ceil(metrics["steps"] / 20)
    assert [event["step"] for event in of_kind("evaluation", log)] == sorted(
        {*range(every, metrics["steps"] + 1, every), metrics["steps"]}
    )
    longer, *_ = train(tmp_path / "longer", **settings, steps=300, optimizer="adamw")
    assert longer["test_loss"] < 0.3 < 0.6 < metrics["test_loss"]  # it has learnt the sentence


# --- a loss that rises in the decay ------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:AutoWU. at step [0-9]+ of [0-9]+ the loss had risen")
def test_a_cut_is_logged_and_said(tmp_path, monkeypatch, capsys):
    learn = loop.update

    def disturbed(running, batches):
        """What the scheduler and the log see, late in the run, until the LR is cut."""
        schedule = running.method.schedule
        shown = running.step >= 0.7 * running.total_steps and not schedule.cuts
        return learn(running, batches) + (5.0 if shown else 0.0)

    monkeypatch.setattr(loop, "update", disturbed)
    _, _, log = train(tmp_path, epochs=30, optimizer="sgd")
    (cut,), (switch,) = of_kind("cut", log), of_kind("switch", log)
    assert switch["step"] < cut["back_to"] < cut["step"]
    assert set(cut) == {"event", "step", "factor", "back_to", "level", "least"}
    assert cut["factor"] == 1 / 3
    lrs = {event["step"]: event["lr"] for event in of_kind("step", log)}
    assert lrs[cut["step"] + 1] < 0.35 * lrs[cut["step"]]
    said = f"step {cut['step']}: the loss has risen for good; back to the weights of step {cut['back_to']}, "
    assert said in capsys.readouterr().out
