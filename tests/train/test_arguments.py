"""The command line of `autowu train`, and the settings that it, a file, a recipe and a resumed run make."""

import argparse
import json

import pytest

from autowu import cli
from autowu.errors import UserError
from autowu.train.settings.arguments import add_arguments
from autowu.train.settings.options import Settings
from autowu.train.settings.sources import NAMES, settings_from


def parser():
    parser = argparse.ArgumentParser(prog="autowu train")
    add_arguments(parser)
    return parser


def settings(*words):
    return settings_from(parser().parse_args([str(word) for word in words]))


def test_without_flags_the_defaults_hold_with_the_model_and_the_length_chosen():
    assert settings() == Settings(model="cnn", epochs=60)
    text = settings("--data", "plays.txt")
    assert (text.model, text.epochs) == ("gpt", None)
    assert settings("--steps", 10).epochs is None


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_flag(name):
    flags = {action.dest for action in parser()._actions}
    assert name in flags


def test_the_help_is_grouped_and_every_flag_is_explained():
    groups = {group.title: group._group_actions for group in parser()._action_groups}
    assert [title for title in groups if title != "positional arguments"] == [
        "options",
        *("task", "training", "optimizer", "schedule", "machine", "run"),
    ]
    assert [action.dest for action in groups["options"]] == ["help"]
    for actions in groups.values():
        for action in actions:
            assert action.help, action.dest


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_fits_the_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, parser().format_help().splitlines())) <= width


def test_fields_of_autowu_s_configuration_are_plain_values():
    words = ["--set", "patience=5", "--set", "lift_off=None", "--set", "fit=adam", "--set", "rewind=False"]
    assert settings(*words).set == {"patience": 5, "lift_off": None, "fit": "adam", "rewind": False}


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("patience", "such as patience=3, not 'patience': there is no value"),
        ("patients", "did you mean 'patience'?"),
        ("patients=3", "did you mean 'patience'?"),
        ("x=1", "fields: "),
    ],
)
def test_a_field_that_does_not_exist_is_an_error(word, hint, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["--set", word])
    assert hint in capsys.readouterr().err


# --- a file -------------------------------------------------------------------------------------------


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


FILE = """
recipe: digits-cnn
batch-size: 64
weight_decay: 1e-2
compile: true
logger: [tensorboard, mlflow]
set:
  patience: 5
  confidence: 0.9
"""


def test_a_file_is_over_its_recipe_and_flags_are_over_the_file(tmp_path):
    path = write(tmp_path / "run.yaml", FILE)
    chosen = settings("--config", path)
    assert (chosen.batch_size, chosen.weight_decay, chosen.epochs) == (64, 0.01, 60)
    assert chosen.compile
    assert chosen.logger == ("tensorboard", "mlflow")
    assert chosen.set == {"patience": 5, "confidence": 0.9}

    flags = ["--batch-size", 32, "--no-compile", "--logger", "wandb", "--set", "patience=2", "--steps", 7]
    over = settings("--config", path, *flags)
    assert (over.batch_size, over.compile, over.logger) == (32, False, ("wandb",))
    assert over.set == {"patience": 2, "confidence": 0.9}
    assert (over.steps, over.epochs) == (7, None)
    assert settings("--config", path, "--recipe", "cifar10-cnn").data == "cifar10"


def test_a_file_can_say_whatever_flags_can(tmp_path):
    example = {
        "data": "x.npz",
        "epochs": 3,
        "batch_size": 32,
        "seed": 7,
        "schedule": "baseline",
        "lr": 0.01,
        "warmup_epochs": 1,
        "clip_norm": 1.0,
        "channels_last": False,
        "out": "runs/it",
        "norm": "layer",
    }
    assert settings("--config", write(tmp_path / "run.yaml", json.dumps(example))) == Settings(
        **example, model="cnn"
    )


def test_a_file_s_numbers_are_those_of_the_same_flags(tmp_path):
    text = "epochs: 010\nbatch-size: 1_024\nweight-decay: 1e-2\nset: {max_lr: 1e-2, patience: 5}"
    flags = [
        "--epochs=010",
        "--batch-size=1_024",
        "--weight-decay=1e-2",
        "--set=max_lr=1e-2",
        "--set=patience=5",
    ]
    assert settings("--config", write(tmp_path / "run.yaml", text)) == settings(*flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "has no setting 'epoch'; did you mean 'epochs'?"),
        ("resume: true", "has no setting 'resume'"),
        ("dry_run: true", "has no setting 'dry_run'"),
        ("epochs: many", "argument --epochs: invalid int value: 'many'"),
        ("epochs: 1.5", "argument --epochs: invalid int value: '1.5'"),
        ("epochs: true", "epochs must be one value, not True"),
        ("epochs:", "epochs must be one value, not None"),
        ("epochs: {a: 1}", "epochs must be one value, not {'a': '1'}"),
        ("epochs: [1, 2]", "argument --epochs: invalid int value: '1,2'"),
        ("compile: 3", "compile must be true or false, not '3'"),
        ("optimizer: adam", "argument --optimizer: invalid choice: 'adam'"),
        ("logger: paper", "argument --logger: must be of tensorboard, wandb, mlflow, not 'paper'"),
        ("recipe: cifar", "argument --recipe: invalid choice: 'cifar'"),
        ("max-time: 1:30:00", "argument --max-time: invalid float value: '1:30:00'"),
        ("epochs: 3\nseed: 1\nepochs: 4", "it has 'epochs' twice in \"run.yaml\", line 3"),
        ("set: {patience: 3, patience: 4}", "it has 'patience' twice"),
        ("batch_size: 32\nbatch-size: 64", "has batch_size twice, as batch_size and batch-size"),
        ("set: 3", "set must be a mapping of fields of autowu.Config, not '3'"),
        ("set: {patients: 3}", "did you mean 'patience'?"),
        ("- epochs", "must be a mapping of settings, such as `epochs: 10`, not ['epochs']"),
        ("", "must be a mapping of settings"),
        ("a: [", "is not YAML: "),
        ("a: !!python/object/apply:os.system [ls]", "is not YAML: "),
        ("\x00", "is not YAML: "),
        ("epochs: 0", "--epochs must be at least 1, not 0"),
    ],
)
def test_a_bad_file_is_one_clear_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run.yaml", text)
    assert cli.main(["train", "--config", "run.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert ("run.yaml" in err) == (not text.endswith("epochs: 0"))
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    for name, message in (
        ("absent.yaml", "cannot read absent.yaml: No such file or directory"),
        (".", "cannot read .: Is a directory"),
        ("binary.yaml", "binary.yaml"),
    ):
        assert cli.main(["train", "--config", name]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


# --- a run that goes on ---------------------------------------------------------------------------------


def saved(folder, **config):
    folder.mkdir(parents=True)
    plain = {"data": "digits", "schedule": "baseline", "lr": 0.01, "epochs": 9, "logger": ["wandb"]}
    (folder / "run.json").write_text(json.dumps({"config": plain | config}))
    return folder


def test_a_resumed_run_has_its_own_settings_unless_flags_say_otherwise(tmp_path):
    run = saved(tmp_path / "run", out="elsewhere")
    chosen = settings("--resume", "--out", run)
    assert (chosen.schedule, chosen.lr, chosen.epochs, chosen.logger) == ("baseline", 0.01, 9, ("wandb",))
    assert chosen.out == str(run)  # also where the folder has been moved
    assert settings("--resume", "--out", run, "--logger", "mlflow", "--lr", 0.02).lr == 0.02
    assert settings("--resume", "--out", run, "--steps", 5).epochs is None


def test_an_open_end_replaces_a_length_that_a_recipe_or_a_resumed_run_has(tmp_path):
    chosen = settings("--recipe", "cifar10-cnn", "--until-plateau")
    assert (chosen.until_plateau, chosen.epochs, chosen.steps) == (True, None, None)
    run = saved(tmp_path / "run", schedule="autowu", lr=None, until_plateau=False)
    assert settings("--resume", "--out", run, "--until-plateau").epochs is None
    run = saved(tmp_path / "open", schedule="autowu", lr=None, epochs=None, until_plateau=True)
    assert settings("--resume", "--out", run).until_plateau
    assert not settings("--resume", "--out", run, "--epochs", 5).until_plateau
    with pytest.raises(UserError, match="--until-plateau and --epochs exclude each other"):
        settings("--until-plateau", "--epochs", 5)


def test_a_resume_without_a_run_begins_one(tmp_path):
    assert settings("--resume", "--out", tmp_path / "new").epochs == 60


def test_the_folder_to_resume_is_found_as_it_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--recipe", "cifar10-cnn", "--schedule", "baseline"]
    made = settings(*flags).folder
    saved(made, data="cifar10", lr=0.5)
    assert settings("--resume", *flags).folder == made
    assert settings("--resume", *flags, "--lr", 0.25).lr == 0.25


def test_a_recipe_that_needs_data_is_content_with_those_of_the_run(tmp_path):
    run = saved(tmp_path / "run", data="plays.txt", epochs=None, steps=10)
    assert settings("--resume", "--out", run, "--recipe", "shakespeare-gpt").data == "plays.txt"


def test_a_run_of_another_version_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"run\.json, of another version, has no setting 'momentum'"):
        settings("--resume", "--out", saved(tmp_path / "run", momentum=0.9))
