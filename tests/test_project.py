"""What the packaging promises: a light import, one version, named extras, a whole wheel, no stray paths."""

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import autowu

ROOT = Path(__file__).parents[1]
EXTRAS = {
    "accelerate", "cluster", "docs", "huggingface", "keras", "lightning", "optax", "peers", "report",
    "tensorboard", "test", "torch", "train",
}  # fmt: skip

# A path from the root of somebody's machine: in a URL, or within the project, something precedes the slash.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/~$*<>{}-])/(?:home|root|Users|work|workspace|mnt|srv|tmp|private|scratch)/\w|\b[A-Z]:\\+Users\b"
)


def tracked_files(folder: str = ".") -> list[str]:
    """The files under version control in a folder, relative to the root."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "--cached", folder]
    names = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def requirements() -> dict[str, list[Requirement]]:
    """The installed metadata's requirements by extra; the core's are under the empty string."""
    by_extra: dict[str, list[Requirement]] = defaultdict(list)
    for line in metadata.requires("autowu") or []:
        requirement = Requirement(line)
        extra = re.search(r"extra == ['\"]([^'\"]+)", line)
        by_extra[extra[1] if extra else ""].append(requirement)
    return by_extra


IMPORTED = """
import json, sys
before = set(sys.modules)
import autowu
new = [name for name in sys.modules.keys() - before if hasattr(sys.modules[name], "__file__")]
new = {name.partition(".")[0] for name in new}
print(json.dumps(sorted(new - sys.stdlib_module_names)))
"""


def test_import_brings_in_numpy_alone() -> None:
    run = subprocess.run([sys.executable, "-c", IMPORTED], check=True, capture_output=True, text=True)
    assert json.loads(run.stdout) == ["autowu", "numpy"]


# --- who may import whom ------------------------------------------------------------------------------

ROOMS = (
    ("text", "arrays", "errors", "extras", "site", "arguments", "config"), ("detector",), ("controller",),
    ("runlog",), ("integrations",), ("offline",), ("",), ("report",), ("train",), ("reproduce",), ("cli",),
    ("__main__",),
)  # fmt: skip
"""From the bottom up; "" is the package itself, whose public names come from `offline` and below."""
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}

UPWARD = {
    ("offline/replay.py", "autowu.report"),  # Replay.plot
    ("integrations/readable.py", "autowu.report"),  # AutoWU.plot
}
"""What is imported upward: within a function, when somebody asks for a picture."""


def room(module: str) -> str:
    """The folder, or the file, of the package that a module is in."""
    return module.removeprefix("autowu").removeprefix(".").partition(".")[0]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules of the package that a file imports, at its top level or within a function, and which."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    within = {id(node) for of in ast.walk(tree) if isinstance(of, FUNCTIONS) for node in ast.walk(of)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            modules = [f"{node.module}.{name.name}" for name in node.names]
            if node.module == "autowu":  # its public names, or a room
                modules = [each if room(each) in RANK else "autowu" for each in modules]
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            modules = [of.value for of in node.args if isinstance(of, ast.Constant)]
        else:
            continue
        yield from ((each, id(node) in within) for each in modules if each.split(".")[0] == "autowu")


PACKAGE = ROOT / "src" / "autowu"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def test_no_import_runs_upward() -> None:
    upward, seen = set(), set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        own = "" if name.name == "__init__.py" and len(name.parts) == 1 else name.parts[0].removesuffix(".py")
        for module, lazy in imports(path):
            seen.add(room(module))
            if RANK[room(module)] > RANK[own]:
                upward.add((name.as_posix(), ".".join(module.split(".")[:2]), lazy))
    assert upward == {(*each, True) for each in UPWARD}
    assert seen >= {"text", "config", "detector", "controller", "integrations", "runlog", "offline"}


def test_the_version_is_one_and_the_same() -> None:
    assert metadata.version("autowu") == autowu.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^version: (\S+)$", citation) == [autowu.__version__]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^## \[(\d[^\]]*)\]", changelog)[0] == autowu.__version__


def test_numpy_is_the_only_core_dependency() -> None:
    assert [requirement.name for requirement in requirements()[""]] == ["numpy"]


def test_every_extra_exists_and_brings_something() -> None:
    assert set(metadata.metadata("autowu").get_all("Provides-Extra") or []) == EXTRAS
    assert set(requirements()) == EXTRAS | {""}


def pins(name: str) -> dict[str, set[Version]]:
    """The versions of each package that a file of requirements pins: one, or two for two Pythons."""
    found: dict[str, set[Version]] = defaultdict(set)
    for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            package, _, version = line.partition(";")[0].strip().partition("==")
            found[canonicalize_name(package)].add(Version(version))
    return found


def test_the_lock_pins_what_the_tests_require() -> None:
    lock = pins("lock.txt")
    for extra in ("", "torch", "train", "peers", "report", "test"):
        for requirement in requirements()[extra]:
            if requirement.name != "autowu":
                versions = lock[canonicalize_name(requirement.name)]
                assert versions, requirement
                assert versions <= set(requirement.specifier.filter(versions)), requirement


def test_the_site_is_built_with_pins_that_agree_with_the_lock() -> None:
    lock, docs = pins("lock.txt"), pins("docs.txt")
    for requirement in requirements()["docs"]:
        versions = docs[canonicalize_name(requirement.name)]
        assert versions, requirement
        assert versions <= set(requirement.specifier.filter(versions)), requirement
    shared = lock.keys() & docs.keys()
    assert len(shared) >= 10
    assert {name: docs[name] - lock[name] for name in shared} == {name: set() for name in shared}
    assert [name for name in docs if name.startswith(("nvidia-", "cuda-", "torch", "triton"))] == []


def test_the_wheel_holds_the_package_whole_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    run = subprocess.run(build, check=False, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names} == {"autowu", f"autowu-{autowu.__version__}.dist-info"}
    assert "autowu/py.typed" in names
    assert f"autowu-{autowu.__version__}.dist-info/licenses/LICENSE" in names
    described = zipfile.ZipFile(wheel).read(f"autowu-{autowu.__version__}.dist-info/METADATA").decode("utf-8")
    links = re.findall(r"\]\(([^)\s]+)", described)  # on an index's page nothing is relative
    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    assert "/raw/main/docs/images/demo.svg" in described
    assert [name for name in tracked_files("src/autowu") if name.removeprefix("src/") not in names] == []


def test_no_tracked_file_names_a_folder_of_somebodys_machine() -> None:
    found = []
    for name in tracked_files():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
                if MACHINE_PATH.search(line):
                    found.append(f"{name}:{number}: {line[:120]}")
    assert found == []


@pytest.mark.parametrize(
    ("line", "names_a_machine"),
    [
        ("/" + "home/ada/autowu", True),
        ('"/' + 'Users/ada/runs"', True),
        ("--out=/" + "tmp/x", True),
        ("C:" + "\\Users\\ada", True),
        ("https://example.org/home/page", False),
        ("src/autowu/config.py, ~/code/x, $HOME/code/x", False),
        ("#!/usr/bin/env bash", False),
    ],
)
def test_what_counts_as_a_path_of_a_machine(line: str, names_a_machine: bool) -> None:
    assert bool(MACHINE_PATH.search(line)) == names_a_machine


def test_every_experiment_still_finds_what_it_imports() -> None:
    names = [path.stem for path in sorted((ROOT / "experiments").glob("*.py"))]
    assert len(names) >= 5
    code = "import " + ", ".join(f"experiments.{name}" for name in names)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
