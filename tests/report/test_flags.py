"""What `autowu report` and `autowu replay -o` refuse, and what they say of a disk that is full."""

import argparse
import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from autowu import cli, report
from autowu.errors import UserError
from autowu.report import output


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert cli.main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    x = np.linspace(0, 1, 60)
    lines = [f"{lr},{loss}\n" for lr, loss in zip(1e-5 * 1e5**x, 2 - x, strict=True)]
    (tmp_path / "sweep.csv").write_text("lr,loss\n" + "".join(lines))
    return tmp_path / "sweep.csv"


# --- flags that would change nothing ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-o r.html --layout figure1", "--layout figure1: is of a picture; give --format png or svg"),
        ("--layout main", "--layout main: is of a picture"),
        ("-o r --layout figure2 --format tensorboard", "--layout figure2: is of a picture"),
        ("-o r.png --format svg", "-o r.png: the suffix must be .svg, as --format says"),
        ("-o r.svg --format html", "-o r.svg: the suffix must be .html, as --format says"),
        ("-o r.html --port 80", "--port 80: is of --watch, which is not given"),
        ("--watch -o r.html", "-o: is of what is written, and --watch writes nothing"),
        ("--watch --format png", "--format: is of what is written"),
        ("--watch --layout main", "--layout: is of what is written"),
        ("-o -", "-o -: must be the path of a file; nothing is written to standard output"),
        ("-o - --format png", "-o -: must be the path of a file"),
    ],
)
def test_flags_that_would_change_nothing_are_refused_before_any_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "report", "missing", *flags.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "form"),
    [
        ("-o r.svg --layout figure1", "svg"),
        ("--format png --layout main", "png"),
        ("-o figure --format png", "png"),
        ("-o figure.v2 --format svg", "svg"),
        ("-o r.png --format tensorboard", "tensorboard"),
        ("-o r.PNG --format png", "png"),
        ("-o page", "html"),
        ("--watch --port 0", "html"),
    ],
)
def test_flags_that_agree_are_taken(flags: str, form: str) -> None:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    assert report._form(parser.parse_args(["x", *flags.split()])) == form  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--min-lr 1e-4", "--min-lr"),
        ("--max-lr 0.5", "--max-lr"),
        ("--warmup-fraction 0.3", "--warmup-fraction"),
        ("--warmup-limit 300", "--warmup-limit"),
        ("--decay cosine", "--decay"),
        ("--sweep --total-steps inf", "--total-steps"),
        ("--sweep --total-steps 900", "--total-steps"),
    ],
)
def test_what_a_range_test_has_no_use_for_is_refused(
    sweep: Path, capsys: pytest.CaptureFixture[str], flags: str, named: str
) -> None:
    pytest.importorskip("plotly")
    said = f"{named}: changes nothing of a learning-rate range test"
    assert said in refused(capsys, "replay", sweep, *flags.split())
    assert said in refused(capsys, "report", sweep, *flags.split(), "-o", sweep.with_name("r.html"))


def test_it_is_taken_where_another_log_has_use_for_it(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("plotly")
    (sweep.parent / "plain.csv").write_text("loss\n" + "".join(f"{3 - i / 99}\n" for i in range(99)))
    page = sweep.with_name("r.html")
    argv = ["report", str(sweep), str(sweep.parent / "plain.csv"), "--decay", "cosine", "-o", str(page)]
    assert cli.main(argv) == 0
    assert page.is_file()


def test_replay_writes_no_file_called_minus(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sweep.parent)
    assert "-o -: must be the path of a file" in refused(capsys, "replay", "missing.csv", "-o", "-")
    assert [path.name for path in sweep.parent.iterdir()] == ["sweep.csv"]


@pytest.mark.parametrize("path", ["", ".", "/"])  # such as a variable of the shell that is not set
def test_a_folder_is_no_place_for_a_page(capsys: pytest.CaptureFixture[str], path: str) -> None:
    pytest.importorskip("plotly")
    for command in ("replay", "report"):
        told = refused(capsys, command, "none.csv", "-o", path)
        assert told.endswith(f"{path or '.'}: not a file; -o takes the path of the page\n")


@pytest.mark.parametrize("where", ["missing", "file"])
@pytest.mark.parametrize("name", ["x.html", "x.png", "x.svg"])
def test_what_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, name: str
) -> None:
    pytest.importorskip("plotly" if name == "x.html" else "matplotlib")
    (tmp_path / "file").touch()
    for command in ("replay", "report"):
        told = refused(capsys, command, "none.csv", "-o", tmp_path / where / name)  # the log is none either
        assert f"{name}: cannot be written (" in told
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_events_that_cannot_be_made_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        told = refused(capsys, "report", "none.csv", "--format", "tensorboard", "-o", path)
        assert f"-o {path}: cannot be written: {tmp_path / 'file'} is not a folder" in told


# --- writing ------------------------------------------------------------------------------------------


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    message = rf"^{re.escape(str(path))}: cannot be written \(no space left on device\)$"
    with pytest.raises(UserError, match=message), output._replacing(path):  # pyright: ignore[reportPrivateUsage]
        full()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=message):
        output.write_text(path, "all of it")
    assert not list(tmp_path.iterdir())


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "page.html"
    link.symlink_to(tmp_path / "there" / "target.html")
    for text in ("first", "second"):
        output.write_text(link, text)
        assert link.is_symlink()
        assert link.read_text() == text
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["target.html"]


def test_a_link_that_leads_to_itself_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "page.html"
    link.symlink_to(link)
    output.check(link, "html")
    output.write_text(link, "all of it")
    assert link.read_text() == "all of it"


def test_an_error_of_a_run_that_is_read_meanwhile_is_not_of_the_page(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), output._replacing(tmp_path / "page.html"):  # pyright: ignore[reportPrivateUsage]
        (tmp_path / "missing").read_text()
    assert not list(tmp_path.iterdir())


def test_a_name_may_be_as_long_as_the_system_has_it(tmp_path: Path) -> None:
    output.write_text(tmp_path / f"{'y' * 250}.html", "all of it")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
    with pytest.raises(UserError, match=r"y\.html: cannot be written \(file name too long\)"):
        output.write_text(tmp_path / f"{'y' * 300}.html", "all of it")
