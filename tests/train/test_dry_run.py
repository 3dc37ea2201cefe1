"""``--dry-run``: what it says, that it writes nothing, and that its bytes are those of real runs."""

import math

import pytest
import torch
from torch import nn

from autowu import cli
from autowu.train import data, models, schedules
from autowu.train.data.order import Epochs
from autowu.train.dry_run import command, memory
from autowu.train.dry_run.command import SETS, KnownSet
from autowu.train.settings.options import Settings


def shown(capsys, *flags):
    """What is printed, by name; parts of the memory with their indentation."""
    assert cli.main(["train", "--dry-run", *map(str, flags)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop() == "nothing was run, and nothing written"
    assert max(map(len, lines)) <= 80
    said = dict[str, str]()
    for line in lines:
        if line.startswith(" " * 10):  # the rest of the line above
            said[list(said)[-1]] += f" {line.strip()}"
        else:
            said[line[: line.index("  ", 2)]] = line[line.index("  ", 2) :].strip()
    return said


def test_it_says_what_would_run_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = shown(capsys, "--batch-size", 64, "--micro-batch-size", 24, "--epochs", 8, "--eval-every", 3)
    assert said["data"] == "digits: 1,442 training and 355 test images of 1 × 8 × 8, 10 classes"
    assert said["model"] == "cnn, 24,058 parameters"
    assert said["optimizer"] == "AdamP, weight decay 0.1 and 0"
    assert said["schedule"].startswith("autowu: preset default, growth two-speed")
    assert said["updates"] == "176 (8 epochs of 22), of 64 images"
    assert said["micro-batches"] == "3 of at most 24 samples, in each process"
    assert said["evaluations"] == "3, one every 66 updates"
    assert said["processes"] == "1 process, 64 samples of an update each, on CPU, 32-true"
    assert said["run folder"] == "runs/digits-autowu"
    assert not list(tmp_path.iterdir())


def test_a_last_batch_that_is_kept_is_one_more_update(capsys):
    paper = ("--recipe", "cifar10-resnet18", "--batch-size", 16384, "--schedule", "baseline")
    without, kept = shown(capsys, *paper), shown(capsys, *paper, "--keep-last-batch")
    assert without["updates"] == "600 (200 epochs of 3), of 16,384 images"
    assert kept["updates"] == "800 (200 epochs of 4), of 16,384 images, the last of an epoch of 848"
    assert "warmup steps 15" in without["schedule"]
    assert "warmup steps 20" in kept["schedule"]
    assert kept["evaluations"] == "200, one every 4 updates"
    whole = shown(capsys, "--data", "fashion-mnist", "--batch-size", 100, "--keep-last-batch")
    assert whole["updates"].endswith("of 100 images")  # nothing is left over


def test_one_is_no_plural(capsys):
    said = shown(capsys, "--model", "mlp", "--steps", 5, "--checkpoint-every", 1)
    assert said["updates"] == "5 (less than an epoch of 11), of 128 images"
    assert said["checkpoints"] == "every update"


def test_a_text_and_several_processes(capsys, tmp_path):
    (tmp_path / "plays.txt").write_text("to be or not to be " * 500)
    said = shown(
        capsys,
        "--data",
        tmp_path / "plays.txt",
        "--steps",
        40,
        "--batch-size",
        32,
        "--context",
        16,
        "--devices",
        2,
    )
    assert said["updates"] == "40, of 512 tokens"
    assert said["evaluations"] == "20, one every 2 updates"
    assert said["processes"].startswith("2 processes, ddp, 16 samples of an update each, on ")


@pytest.mark.parametrize("name", SETS)
def test_sets_that_would_be_downloaded_are_known_and_left_alone(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = shown(capsys, "--data", name, "--model", "mlp", "--batch-size", 1000)
    train, test, shape, _ = SETS[name]
    assert said["updates"] == f"{60 * train // 1000:,} (60 epochs of {train // 1000}), of 1,000 images"
    assert said["  data"] == f"{(train + test) * math.prod(shape) / 1e6:.3g} MB"  # a byte a pixel
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--data cats", "--data must be one of"),
        ("--batch-size 5000", "--batch-size must be at most the number of training images, 1,442, not 5,000"),
        ("--model cn", "did you mean cnn"),
        ("--data cifar10 --augment imagenet", "--augment imagenet is not for cifar10"),
        ("--schedule baseline --epochs 5", "warm-up must be shorter than the run"),
        ("--devices 3", "--batch-size must be a multiple of the 3 processes"),
    ],
)
def test_what_would_not_run_is_an_error_here_too(flags, message, capsys):
    assert cli.main(["train", "--dry-run", *flags.split()]) == 2
    assert message in capsys.readouterr().err


# --- memory -------------------------------------------------------------------------------------------


def test_memory_that_is_shared_is_counted_once():
    base = torch.zeros(10, 10)
    assert memory.bytes_of(base, {"a": [base[1:], (base.T, None)]}, 3) == 400
    assert memory.bytes_of(base, base.clone()) == 800


@pytest.mark.parametrize(
    ("optimizer", "per_parameter"), [("adamp", 8), ("lamb", 8), ("adamw", 8), ("sgd", 4)]
)
def test_the_optimizer_s_state(optimizer, per_parameter):
    model = nn.Linear(30, 20)
    method = schedules.build(Settings(optimizer=optimizer), model, total_steps=100, steps_per_epoch=10)
    counts = memory.optimizer_state(method)
    assert 0 <= counts - 620 * per_parameter <= 2 * 8  # a count of updates for each tensor
    assert all(parameter.grad is None for parameter in model.parameters())


def test_activations_of_a_chain_that_is_counted_by_hand():
    model = nn.Sequential(nn.Linear(20, 30), nn.Sigmoid(), nn.Linear(30, 10))
    counted, back = memory.activations(model, (8, 20), text=False, half=False)
    # The inputs, the sigmoid's output, the logits and their log-softmax; targets of 8 bytes; and a number or
    # two of the loss.
    by_hand = 8 * (20 + 30 + 10 + 10) * 4 + 8 * 8
    assert by_hand <= counted <= by_hand + 16
    assert back == 2 * 8 * 30 * 4  # of the sigmoid's output and input


def test_activations_are_those_that_autograd_keeps_of_a_real_pass():
    settings = Settings(batch_size=32)
    task = data.load(settings)
    model = models.build(settings, task).train()
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    batch = next(iter(next(iter(task.updates(0, 1)))))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(batch.inputs)
        nn.functional.cross_entropy(logits, batch.targets)
    for tensor in (batch.inputs, batch.targets, logits):
        keep(tensor)
    real = sum(storage.nbytes() for where, storage in kept.items() if where not in own)
    estimate, _ = memory.activations(model, (32, 1, 8, 8), text=False, half=False)
    assert estimate == pytest.approx(real, rel=0.01)


def test_a_larger_micro_batch_takes_proportionally_more():
    def estimate(images):
        model = models.build(Settings(), KnownSet("cifar10", Epochs(50_000, 128), *SETS["cifar10"][1:]))
        return memory.activations(model, (images, 3, 32, 32), text=False, half=False)

    for larger, smaller in zip(estimate(256), estimate(128), strict=True):
        assert larger == pytest.approx(2 * smaller, rel=0.01)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB")]
)
def test_sizes_are_easy_to_read(size, words):
    assert command._size(size) == words
    assert command._size(3_210_000_000_000) == "3,210 GB"
