"""What the library's source must not contain."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import autowu

SOURCE = Path(autowu.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
UNPICKLE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call with its name: 'eval', 'torch.load'."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_nothing_is_run_that_was_read(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    for name, call in calls(tree):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        assert name not in FORBIDDEN_CALLS, f"line {call.lineno}: {name}"
        module, _, function = name.rpartition(".")
        if module in UNPICKLE:
            assert "load" not in function.lower(), f"line {call.lineno}: {name}"
            assert function != "Unpickler", f"line {call.lineno}: {name}"
        if name in ("torch.load", "fabric.load"):
            only = keywords.get("weights_only")
            assert isinstance(only, ast.Constant), f"line {call.lineno}: {name} without weights_only"
            assert only.value is True, f"line {call.lineno}: {name} with weights_only={only.value}"
        if name.endswith(("np.load", "numpy.load")):
            pickles = keywords.get("allow_pickle")
            assert pickles is None or (isinstance(pickles, ast.Constant) and pickles.value is False)
        if name in ("os.system", "os.popen", "subprocess.getoutput"):
            raise AssertionError(f"line {call.lineno}: {name}")
        shell = keywords.get("shell")
        assert shell is None or (isinstance(shell, ast.Constant) and shell.value is False)


# Modules are imported by name where a framework is optional; the names are written out in the source.
IMPORTS_BY_NAME = {"import_module", "importlib.import_module"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_module_is_imported_by_a_name_from_a_file(file: Path) -> None:
    for name, call in calls(ast.parse(file.read_text("utf-8"))):
        if name in IMPORTS_BY_NAME and not isinstance(call.args[0], ast.Constant):
            where = (str(file.relative_to(SOURCE)), ast.unparse(call.args[0]))
            assert where in ALLOWED, where


ALLOWED = {
    ("cli.py", "module"),  # of a fixed list
    ("controller/display.py", "module"),  # its callers name one each
    ("cli.py", "COMMANDS[args.command][0]"),  # argparse has let no other command pass
    (
        "train/schedules/__init__.py",
        "f\"autowu.train.schedules.peers.{settings.schedule.replace('-', '_')}\"",
    ),  # a schedule is one of a fixed list
}
