"""What the pages name is there: files, links, and the rooms of the one tree of the repository."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "autowu"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*\.py|tests/[\w./-]+)(?:::\w+)?`")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").exists(), reason="an archive of the sources leaves them out"
)


def missing(page: Path, text: str) -> list[str]:
    """The files that a page names or links to and that do not exist."""
    named = [
        name
        for name in CODE.findall(text)
        if not any((of / name).exists() for of in (ROOT, SOURCE.parent, SOURCE))
    ]
    return named + [link for link in LINK.findall(text) if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_files_that_exist(page: Path) -> None:
    assert missing(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("(`tests/core/test_gp.py`)", ["tests/core/test_gp.py"]),
        ("`detector/gp.py`, `controller/gp.py`", ["controller/gp.py"]),
        ("`tests/reliability`, `tests/nowhere`", ["tests/nowhere"]),
        (
            "[the docs](docs/gone.md#part), [a host](docs/pytorch.md#part), [other](https://example.org/x)",
            ["docs/gone.md"],
        ),
    ],
)
def test_a_file_that_is_gone_is_found(text: str, gone: list[str]) -> None:
    assert missing(ROOT / "README.md", text) == gone


def addresses(source: str) -> list[tuple[str, str]]:
    """The pages, and the parts of them, that a module's messages point to: calls of `site.page`."""
    return re.findall(r"""\b(?:page|address)\(["']([\w/-]+)["'](?:, ["']([\w-]+)["'])?\)""", source)


def test_a_message_points_to_a_page_of_the_site() -> None:
    """Who installs the package has no docs/ to look into."""
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        found |= set(addresses(source))
        tree = ast.parse(source)
        told = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        described = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        }
        named = [text for text in told if isinstance(text, str) and re.search(r"docs/[\w/-]+\.md", text)]
        assert [text for text in named if text not in described] == [], path
    assert {name for name, _ in found} >= {"faq", "quality", "tutorial", "when-not"}
    for name, part in found:
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        titles = [re.sub(r"[^\w -]", "", title.lower()) for title in re.findall(r"(?m)^#+ (.*)$", page)]
        assert part == "" or part in {title.replace(" ", "-") for title in titles}, name


def rooms() -> set[Path]:
    """The folders in the tree of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = re.search(r"(?m)^    src/autowu/ .*\n(?:    .*\n)+", text)
    assert tree is not None
    found, above = set(), {0: ROOT}
    for indent, name in re.findall(r"(?m)^    ( *)(\S+)/ ", tree[0]):
        folder = above[len(indent)] / name
        above[len(indent) + 2] = folder
        found.add(folder)
    return found


def test_the_tree_has_a_line_for_each_room() -> None:
    found = rooms()
    assert [folder for folder in found if not folder.is_dir()] == []
    packages = {path.parent for of in (SOURCE, ROOT / "benchmarks") for path in of.rglob("__init__.py")}
    packages |= {path for path in (ROOT / "docs").iterdir() if path.is_dir()}
    assert packages - found == set()
    assert SOURCE / "controller" / "phases" in packages
