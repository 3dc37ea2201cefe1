"""The command `autowu reproduce`: what it says, and what it refuses before anything is written."""

import json
import shlex

import numpy as np
import pytest

from autowu import cli
from autowu.reproduce import results, sets
from autowu.reproduce.cells import COS, Cell
from autowu.reproduce.scales import TINY
from reproduce import made_up


def reproduce(*words):
    return cli.main(["reproduce", *map(str, words)])


def test_a_dry_run_lists_cells_and_hours_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    assert reproduce("table1", "table4", "--dry-run", "--out", out) == 0
    told = capsys.readouterr().out
    assert "table1: 112 cells, about " in told
    assert "all: 120 cells, about " in told  # those of ρ_w 0.5 and the default are in both
    assert "still needed in --data: cifar10: cifar10.npz in Keras' layout" in told
    commands = [shlex.split(line) for line in told.splitlines() if line.startswith("    autowu train")]
    assert len(commands) == 120
    assert not out.exists()


def test_cells_are_chosen_by_pattern(capsys):
    assert reproduce("table1", "--dry-run", "--only", "cifar10-*-16384-*-seed0,*wrn*-256-cos-*") == 0
    assert "all: 7 cells" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--only", "cifar10-resnet18-256-bseline-seed0"],
            "no cell 'cifar10-resnet18-256-bseline-seed0' (did you",
        ),
        (["--only", "*-512-*"], "no cell '*-512-*'"),
        (["--minutes", "0"], "--minutes must be a number above 0, not 0; --no-train trains nothing"),
        (["--minutes", "-1"], "--minutes must be a number above 0, not -1"),
        (["--minutes", "nan"], "--minutes must be a number above 0, not nan"),
        (["--only", ""], "--only: no cell ''"),
        (["--processes", "0"], "--processes must be at least 1, not 0"),
        (["--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["--train", "--epochs 3"], "not --epochs"),
        (["--scale", "mini"], "--data is missing; it must have fashion-mnist"),
        ([], "--data is missing; it must have cifar10"),
        (["--data", "EMPTY"], "must have cifar10: cifar10.npz in Keras' layout"),
        (["--job-option", "x"], "argument --job-option: must be NAME=VALUE, such as slurm_partition=gpu"),
        (["--scale", "tiny", "--train", "--threads 100000"], "--threads must be at most 1,024, not 100,000"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path, capsys, words, told):
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path / "empty") if word == "EMPTY" else word for word in words]
    assert reproduce("table1", "--out", tmp_path / "out", *words) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert told in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--no-train"]])
def test_a_file_in_place_of_the_folder_is_told(tmp_path, capsys, words):
    (tmp_path / "out").write_text("mine")
    assert reproduce("table1", "--scale", "tiny", "--out", tmp_path / "out", *words) == 2
    out, error = capsys.readouterr()
    assert (out, error) == ("", f"autowu: error: --out must be a folder, and {tmp_path / 'out'} is a file\n")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("task", ["imagenet", "cifar100"])
def test_a_set_that_is_missing_is_named(tmp_path, task):
    (tmp_path / "cifar10.npz").touch()
    (tmp_path / "imagenet" / "train").mkdir(parents=True)  # without val/
    told = sets.missing(["digits", "cifar10", task], tmp_path)
    assert told is not None
    assert told.startswith(f"{task}: ")
    (tmp_path / "imagenet" / "val").mkdir()
    (tmp_path / "cifar-100-python").mkdir()
    assert sets.missing(["digits", "cifar10", task], tmp_path) is None


def test_the_small_sets_are_parts_of_the_large_one_at_half_the_resolution(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (6000, 28, 28), np.uint8), np.arange(6000) % 10
    np.savez(tmp_path / "fashion-mnist.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    path = sets.ready("mini-3125", tmp_path, tmp_path / "made")
    made = np.load(path)
    assert made["x_train"].shape == (3125, 14, 14)
    rows = np.sort(np.random.default_rng(0).permutation(6000)[:3125])
    assert np.array_equal(made["y_train"], y[rows])
    mean = x[rows[7], 2:4, 4:6].astype(float).mean()
    assert made["x_train"][7, 1, 2] == round(mean)
    assert len(made["x_test"]) == 50
    before = (tmp_path / "made" / "mini-3125.npz").stat().st_mtime_ns
    assert sets.ready("mini-3125", tmp_path, tmp_path / "made") == path
    assert (tmp_path / "made" / "mini-3125.npz").stat().st_mtime_ns == before


def test_results_of_another_commit_stop_it_before_it_begins(tmp_path, capsys):
    job = made_up.job(Cell("cifar10-resnet18", 256, COS), TINY)
    (tmp_path / "tiny").mkdir()
    results.append(tmp_path / "tiny", made_up.finished(job, 50.0, commit="fedcba"))
    words = ["table1", "--scale", "tiny", "--out", tmp_path, "--no-train"]
    assert reproduce(*words) == 2
    assert "results.jsonl, line 1 is of the commit fedcba" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["results.jsonl"]
    assert reproduce(*words, "--any-commit") == 0
    text = (tmp_path / "tiny" / "table1.md").read_text(encoding="utf-8")
    assert "1 of 48 cells have been run" in text
    assert "Commit fedcba;" in text


def test_one_cell_is_no_plural(capsys):
    assert reproduce("table1", "--dry-run", "--only", "cifar10-resnet18-256-cos-seed0") == 0
    told = capsys.readouterr().out
    assert "table1: 1 cell, about" in told
    assert "all: 1 cell, about" in told


@pytest.mark.parametrize("words", [[], ["--no-train"]])
def test_a_folder_in_place_of_a_table_is_told_before_anything_is_trained(tmp_path, capsys, words):
    (tmp_path / "tiny" / "table1.md").mkdir(parents=True)
    assert reproduce("table1", "--scale", "tiny", "--out", tmp_path, *words) == 2
    assert "table1.md must be a file, and is a folder: move it out" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["table1.md"]


def test_tables_of_nothing_are_refused(tmp_path, capsys):
    assert reproduce("table1", "--scale", "tiny", "--out", tmp_path / "x", "--no-train") == 2
    assert "nothing has been run at this scale" in capsys.readouterr().err


def test_a_commit_is_named_where_there_is_one():
    assert json.dumps(results.commit()).isascii()
    assert len(results.commit()) >= 6
