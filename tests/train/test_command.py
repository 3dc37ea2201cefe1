"""`autowu train` as it is called: the exit status, what is refused, and what is never written over."""

import argparse
import json

import pytest

from autowu.errors import UserError
from autowu.train.command import add_arguments, run
from train.runs import read, train

pytestmark = pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended at its cap")


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


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
        ("--threads 100000", "--threads must be at most 1,024, not 100,000"),
        (f"--threads {10**23}", "--threads must be at most 1,024, not 100,000,000,"),
        ("--workers 100000", "--workers must be at most 1,024, not 100,000"),
        (f"--steps {2**31}", "--steps must be at most 2,147,483,647, not 2,147,483,648"),
        ("--schedule constant --lr 1e300", "--lr must be at most 1e+30, not 1e+300"),
        ("--max-time 1e300", "--max-time must be at most 1e+30, not 1e+300"),
        ("--seed -1", "--seed must be at least 0, not -1"),
        ("--seed 9223372036854775808", "--seed must be below 2^63, not 9223372036854775808"),
        ("--weight-decay nan", "--weight-decay must be at least 0, not nan"),
        ("--label-smoothing 1", "--label-smoothing must be in [0, 1), not 1.0"),
        ("--schedule baseline --lr 0", "--lr must be a number above 0, not 0.0"),
        ("--lr 0.1", "--lr is not for --schedule autowu, which finds it"),
        ("--warmup-epochs 3", "--warmup-epochs is not for --schedule autowu, which finds it"),
        ("--schedule baseline --decay linear", "--decay is for --schedule autowu or paper, not baseline"),
        ("--epochs 3 --steps 7", "--epochs and --steps exclude each other"),
        ("--micro-batch-size 200", "--micro-batch-size must be at most --batch-size, 128, not 200"),
        ("--devices 3", "--batch-size must be a multiple of the 3 processes (devices × nodes), not 128"),
        ("--strategy fsdp", "--strategy fsdp needs 2 processes or more, not 1"),
        ("--data cats", "--data must be one of digits, fashion-mnist, cifar10, cifar100, a FILE.npz"),
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


def test_a_run_is_never_replaced(tmp_path):
    train(tmp_path, epochs=1)
    before = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds a finished run; choose another --out, or remove it"):
        train(tmp_path, epochs=1)
    about = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(about | {"status": "running"}))
    with pytest.raises(UserError, match="holds an unfinished run: --resume goes on with it"):
        train(tmp_path, epochs=1)
    (tmp_path / "run.json").write_text("not ours")
    with pytest.raises(UserError, match=r"cannot read .*run\.json"):
        train(tmp_path, epochs=1)
    assert (tmp_path / "log.jsonl").read_bytes() == before
