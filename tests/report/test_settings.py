"""The settings beside one another, and the command that repeats a run."""

import dataclasses
import shlex
from pathlib import Path

from autowu.report import settings
from autowu.runlog import run as runlog
from report import simulated


def test_settings_that_differ_are_marked(autowu_run: Path, baseline_run: Path) -> None:
    runs = [runlog.read(autowu_run), runlog.read(baseline_run)]
    html = settings.table(runs)
    assert '<tr class="differing"><th scope="row"><span class="differs">≠</span> schedule</th>' in html
    assert '<tr><th scope="row">optimizer</th><td>adamp</td><td>adamp</td></tr>' in html
    assert html.count("<tbody>") == 3  # training, schedule, versions; the machine is not told
    assert 'class="differing"' not in settings.table(runs[:1])


def test_a_run_without_settings_has_no_table(autowu_run: Path) -> None:
    run = dataclasses.replace(runlog.read(autowu_run), config={}, schedule={}, versions={})
    assert settings.table([run]) == settings.reproduce([run]) == ""


def test_the_command_names_every_flag_that_was_set(tmp_path: Path) -> None:
    folder = simulated.baseline(tmp_path / "run", out="runs/x", lr=None, weight_decay_on="all", resume=True)
    run = runlog.read(folder)
    assert settings.command(run) == (
        "autowu train --schedule baseline --optimizer adamp --batch-size 64 --weight-decay-on all"
    )


def test_flags_that_the_run_does_not_look_at_are_left_out(tmp_path: Path) -> None:
    told = {"data": "digits", "data_dir": "data", "workers": 2, "image_size": 224, "tokens": "char"}
    told |= {"context": 128, "lamb_clip": True, "nodes": 1, "epochs": 8}
    run = runlog.read(simulated.baseline(tmp_path / "run", **told))
    assert settings.command(run) == (
        "autowu train --schedule baseline --optimizer adamp --batch-size 64 --data digits --epochs 8"
    )
    elsewhere = told | {"data": "images/", "optimizer": "lamb", "nodes": 2}
    run = runlog.read(simulated.baseline(tmp_path / "other", **elsewhere))
    line = settings.command(run) or ""
    assert all(flag in line for flag in ("--data-dir", "--workers 2", "--lamb-clip", "--nodes 2"))
    text = runlog.read(simulated.baseline(tmp_path / "text", samples="tokens", **told))
    assert "--context 128" in (settings.command(text) or "")


def test_zero_is_a_setting_and_what_is_empty_is_none(tmp_path: Path) -> None:
    told = {"drop_path": 0.0, "clip_norm": None, "compile": False, "logger": [], "set": {}}
    run = runlog.read(simulated.baseline(tmp_path / "run", **told))
    assert (settings.command(run) or "").endswith("--batch-size 64 --drop-path 0.0")


def test_lists_and_fields_are_written_as_the_flags_take_them(tmp_path: Path) -> None:
    told = {"logger": ["wandb", "mlflow"], "set": {"patience": 5, "lift_off": None}, "compile": True}
    run = runlog.read(simulated.baseline(tmp_path / "run", **told))
    assert (settings.command(run) or "").endswith(
        "--logger wandb,mlflow --set patience=5 --set lift_off=null --compile"
    )


def test_the_command_of_a_hostile_run_is_one_harmless_command(tmp_path: Path) -> None:
    hostile = {"data": "x; rm -rf ~ <b>\n`id`", "a b;c": "1", "$(id)": "2"}
    run = runlog.read(simulated.baseline(tmp_path / "run", **hostile))
    command = settings.command(run)
    assert command is not None
    assert shlex.split(command)[-2:] == ["--data", "x; rm -rf ~ <b>\N{REPLACEMENT CHARACTER}`id`"]
    assert "<b>" not in settings.reproduce([run])
    assert "<b>" not in settings.table([run])


def test_long_and_many_values_are_capped(tmp_path: Path) -> None:
    run = runlog.read(simulated.baseline(tmp_path / "run", **{f"k{i}": "x" * 10_000 for i in range(999)}))
    assert len(settings.table([run])) < 50_000
