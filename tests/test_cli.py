"""The command `autowu`: its subcommands, its exit statuses, and what it imports."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import pytest
from tests.offline.curves import v_shaped, write

import autowu
from autowu import cli
from autowu.errors import UserError
from autowu.extras import install
from autowu.offline import command

AUTOWU = [str(Path(sysconfig.get_path("scripts")) / "autowu")]
ROOT = Path(__file__).parents[1]
MODULE = [sys.executable, "-m", "autowu"]


def run(*command: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
    )


@pytest.fixture
def v_curve(tmp_path: Path) -> str:
    return write(tmp_path / "v.csv", v_shaped(200))


@pytest.mark.parametrize("command", [AUTOWU, MODULE])
def test_the_command(command: list[str], v_curve: str) -> None:
    done = run(*command, "replay", v_curve, "--total-steps", "300", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == autowu.replay(v_shaped(200), 300).to_json()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"autowu {autowu.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["train"], ["replay"], ["report"], ["reproduce"]])
def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        cli.main([*argv, "--help"])
    usage, about, *rest = capsys.readouterr().out.split("\n\n")
    assert usage.startswith(f"usage: {' '.join(['autowu', *argv])}")
    assert about[0].isupper()  # what it is
    assert about.endswith(".")
    (page,) = re.findall(r"https://autowu\.github\.io/autowu/(\S+)/\n", rest[-1])  # and where to read on
    assert (ROOT / "docs" / f"{page}.md").is_file()
    assert max(map(len, "\n".join([usage, about, *rest]).splitlines())) <= 80


def test_alone_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: autowu ")
    assert err == ""


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["trian"], "'train'"),
        (["train", "--recipe", "cifar-10-cnn"], "'cifar10-cnn'"),
        (["train", "--optimizer", "adam"], "'adamw' or 'adamp'"),
        (["train", "--schedule", "prodgy"], "'prodigy'"),
        (["train", "--data", "cifar-10"], "'cifar10' or 'cifar100'"),
        (["train", "--logger", "tensorbord"], "'tensorboard'"),
        (["train", "--set", "patiance=3"], "'patience'"),
        (["train", "--config", "config.yaml"], "'adamw' or 'adamp'"),
        (["replay", "a.csv", "--decay", "linaer"], "'linear'"),
        (["report", "a", "--layout", "figure3"], "'figure2' or 'figure1'"),
        (["reproduce", "tabel1"], "'table1'"),
    ],
)
def test_a_choice_that_does_not_exist(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    meant: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("optimizer: adam\n", encoding="utf-8")
    assert cli.main(argv) == 2
    assert f"did you mean {meant}" in capsys.readouterr().err


def test_a_choice_that_is_like_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--optimizer", "zzz"]) == 2
    assert "(choose from adamp, lamb, adamw, sgd, muon)" in capsys.readouterr().err


WARNS = """
import sys, warnings
from autowu import cli
from autowu.offline import command
command.run = lambda args: warnings.warn("it was\\ndoubtful", UserWarning, stacklevel=1) or 0
sys.exit(cli.main(["replay", "x"]))
"""


REFUSED = """
import sys
from autowu import cli
status = cli.main(sys.argv[1:])
assert not {"torch", "lightning_fabric", "timm"} & set(sys.modules)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "absent.npz"], "cannot read absent.npz: No such file or directory"),
        (["--data", "absent.txt"], "cannot read absent.txt: No such file or directory"),
        (["--data", "empty"], "empty must hold the folders train and val, each with one folder a class"),
        (["--out", "file/run"], "cannot write to the run folder file/run: file is not a folder"),
        (["--out", "old"], "old holds a finished run; choose another --out, or remove it"),
        (["--out", "old", "--dry-run", "--data", "absent"], "--data must be one of digits, "),
        (["--set", "patience=0"], "--schedule autowu: patience must be an integer ≥ 1, not 0"),
        (["--set", "decay=linear"], "--set decay: this has a flag of its own, --decay"),
    ],
)
def test_paths_and_fields_are_looked_at_before_pytorch_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "old"):
        Path(folder).mkdir()
    Path("file").write_text("in the way", encoding="utf-8")
    Path("old/run.json").write_text('{"config": {}, "status": "finished"}', encoding="utf-8")
    done = run(sys.executable, "-c", REFUSED, "train", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(f"autowu: error: {message}")
    assert done.stdout == ""


def test_something_is_said_before_pytorch_is_imported() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("lightning_fabric")
    done = run(*MODULE, "train", "--dry-run", "--model", "mlp", "--optimizer", "sgd")
    assert done.stdout.splitlines()[0] == "loading PyTorch …", done.stderr


def test_a_warning_says_nothing_of_where_the_package_is() -> None:
    done = run(sys.executable, "-c", WARNS)
    assert (done.returncode, done.stderr) == (0, "autowu: warning: it was doubtful\n")


def test_warnings_are_left_as_they_were() -> None:
    before = warnings.formatwarning
    cli.main([])
    assert warnings.formatwarning is before


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--dance"], "autowu: error: the following arguments are required: COMMAND (see `autowu --help`)\n"),
        (["dance"], "autowu: error: argument COMMAND: invalid choice: 'dance'"),
        (["replay"], "autowu: error: the following arguments are required: LOSSES.csv (see `autowu replay"),
        (
            ["replay", "a.csv", "--fast"],
            "autowu: error: unrecognized arguments: --fast (see `autowu replay --help`)\n",
        ),
        (
            ["replay", "a.csv", "--patiense=3"],
            "autowu: error: unrecognized arguments: --patiense=3; did you mean '--patience' or '--preset'?",
        ),
        (["replay", "missing.csv"], "autowu: error: missing.csv: no such file or directory\n"),
        (["replay", "two\nlines"], "autowu: error: two lines: no such file or directory\n"),
        (
            ["train", "--set", "patience"],
            "autowu: error: --set must be FIELD=VALUE, such as patience=3, not 'patience': there is no value",
        ),
        (["train", "--data", 300 * "a"], "autowu: error: File name too long: 'aaa"),
        (["train", "--out", 300 * "a"], f"autowu: error: cannot read {300 * 'a'}/run.json: File name too"),
    ],
)
def test_errors_are_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # where no runs are, whatever was trained before
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("no"), 2, "autowu: error: no\n"),
        (ModuleNotFoundError("No module", name="torch.nn"), 2, install("train") + "\n"),
        (
            ImportError("broken", name="plotly"),
            2,
            f"plotly cannot be imported (broken): {install('report')}\n",
        ),
        (PermissionError(13, "Permission denied", "runs"), 2, "Permission denied: 'runs'\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_within_a_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(command, "run", fail)
    assert cli.main(["replay", "x"]) == status
    assert capsys.readouterr().err.endswith(message)


def test_mistakes_of_ours_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise ModuleNotFoundError("No module named 'autowu.lost'", name="autowu.lost")

    monkeypatch.setattr(command, "run", fail)
    with pytest.raises(ModuleNotFoundError, match=r"autowu\.lost"):
        cli.main(["replay", "x"])


def test_standard_input() -> None:
    done = run(*MODULE, "replay", "-", stdin="loss\n3\n2\n1\n")
    assert done.returncode == 0
    assert "\nstandard input: 3 updates" in done.stdout  # below what such a log cannot tell
    done = run(*MODULE, "replay", "-", stdin="loss\nhigh\n")
    assert done.returncode == 2
    assert done.stderr.startswith("autowu: error: standard input, line 2: loss 'high' is not a number")


def test_a_reader_that_leaves_early(v_curve: str) -> None:
    with subprocess.Popen(
        [*MODULE, "replay", v_curve], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written(v_curve: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [*MODULE, "replay", v_curve, "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("autowu: error: ")
    assert done.stderr.count("\n") == 1


def test_output_that_lacks_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "verlustfälle.csv", [3, 2, 1])
    done = run(*MODULE, "replay", path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert r"verlustf\xe4lle.csv:" in done.stdout


@pytest.mark.parametrize(
    ("argv", "absent"),
    [
        (["replay", "v.csv", "--json"], "torch timm rich plotly plotext autowu.train autowu.report"),
        (["replay", "v.csv"], "torch timm rich plotly autowu.train autowu.report"),
        (["train", "--help"], "torch timm rich plotly plotext autowu.report"),
        (["report", "--help"], "torch timm rich autowu.train"),
        (["--help"], "torch timm rich plotly plotext autowu.train autowu.report autowu.offline.command"),
    ],
)
def test_no_command_imports_what_it_does_not_need(tmp_path: Path, argv: list[str], absent: str) -> None:
    write(tmp_path / "v.csv", v_shaped(100))
    code = (
        "import contextlib, os, sys\n"
        "from autowu.cli import main\n"
        "with contextlib.redirect_stdout(open(os.devnull, 'w')), contextlib.suppress(SystemExit):\n"
        f"    main({argv!r})\n"
        f"print(set({absent.split()!r}) & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n", done.stderr


def test_a_long_warning_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    told = cli._warning(" ".join(["doubtful"] * 20))
    assert max(map(len, told.splitlines())) <= 60
    assert " ".join(told.split()) == f"autowu: warning: {' '.join(['doubtful'] * 20)}"


def test_the_purpose_of_each_command_stands_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    help_text = capsys.readouterr().out
    for name, (_, purpose, _) in cli.COMMANDS.items():
        assert re.search(rf"(?m)^ +{name} +{re.escape(purpose)}$", help_text)
