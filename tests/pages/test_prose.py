"""Pages are readable as they stand: no long lines, no page that nobody links to."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

from autowu.extras import install
from pages import blocks

DOCS = blocks.ROOT / "docs"
LONGEST = 110
PAGES = sorted([*blocks.ROOT.glob("*.md"), *DOCS.rglob("*.md")])
MEAN = 15
"""Words of a sentence, at most, on the mean over a page."""

TABLES = re.compile(r"(?ms)^\|[^\n]*$|^<!-- table: .*?^<!-- end -->$")
NO_PROSE = re.compile(r"(?ms)^ *```.*?^ *```$|<!--.*?-->|^ *\|[^\n]*$|^#[^\n]*$|!\[[^\]]*\]\([^)]*\)")
CODE = re.compile(r"(?m)(?<=\n\n)(?: {4,}(?![*\d ])[^\n]*\n?)+")
ITEM = re.compile(r"(?m)^ *(?:[*+-]|\d+\.) +")
END = re.compile(r"(?<=[.!?])[)*\"]*\s+(?=[^a-z])")

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="an archive of the sources leaves the pages out")


def long_lines(text: str) -> list[str]:
    """The lines that are too long, of no table and of nothing that a program writes between marks."""
    return [line for line in TABLES.sub("", text).splitlines() if len(line) > LONGEST]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(blocks.ROOT)))
def test_lines_are_short(page: Path) -> None:
    assert long_lines(page.read_text(encoding="utf-8")) == []


def test_a_long_line_is_found() -> None:
    assert long_lines("word " * 30 + "\n| " + "cell " * 30 + "|\n" + "x" * 110) == ["word " * 30]


def sentences(text: str) -> list[int]:
    """The words of each sentence outside of code, tables and titles; an item of a list begins one."""
    text = CODE.sub("\n", NO_PROSE.sub("\n", TABLES.sub("\n", text)))
    text = re.sub(r"`[^`]*`", "Code", re.sub(r"\]\([^)]*\)", "]", ITEM.sub("\n", text)))
    found = [END.split(part) for part in re.split(r"\n\s*\n", text)]
    words = [len(re.findall(r"\S*\w\S*", sentence)) for part in found for sentence in part]
    return [number for number in words if number > 1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(blocks.ROOT)))
def test_sentences_are_short(page: Path) -> None:
    words = sentences(page.read_text(encoding="utf-8"))
    assert sum(words) <= MEAN * len(words), f"{sum(words) / len(words):.1f} words a sentence; {max(words)}"


def test_how_sentences_are_counted() -> None:
    text = "# A title\n\nThree short words. Four (of `b c`)\nmore.\n\n    code that is\n    left out\n\n"
    items = "* [two](of.md#them) here:\n    * one more\n* two words.\n\n| a cell | of a table |\n"
    assert sentences(text + items) == [3, 4, 2, 2, 2]


def test_the_site_has_each_page() -> None:
    named = set(
        re.findall(r"(?m)[ :]([\w/-]+\.md)$", (blocks.ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    )
    of_the_root = {"index.md", "changes.md", "contributing.md"}
    assert named - of_the_root == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


INSTALLS = re.compile(r"pip install [\"']?autowu\[[\w,]+\](?! @ git)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(blocks.ROOT)))
def test_a_page_that_installs_says_how(page: Path) -> None:
    """The package is on no index yet; one page says what to write until it is."""
    text = page.read_text(encoding="utf-8")
    assert not INSTALLS.search(text) or page.name == "install.md" or "how-to/install.md" in text


def test_a_message_says_how_to_install_what_is_missing() -> None:
    sources = sorted((blocks.ROOT / "src").rglob("*.py"))
    assert [path.name for path in sources if INSTALLS.search(path.read_text(encoding="utf-8"))] == []
    page = (DOCS / "how-to" / "install.md").read_text(encoding="utf-8")
    command, clone = install("torch").removesuffix(")").split(" (in a clone of it: ")
    assert f"`{command}`" in page
    assert clone == 'pip install -e ".[torch]"'


def test_the_demo_is_the_page_s() -> None:
    makefile = (blocks.ROOT / "Makefile").read_text(encoding="utf-8")
    (task,) = re.findall(r"(?m)^DEMO_TASK := (.*)$", makefile)
    rates = re.findall(r"DEMO_TASK\) --schedule baseline --lr (\S+)", makefile)
    page = (DOCS / "demo.md").read_text(encoding="utf-8")
    assert len(re.findall(rf"(?m)^autowu train {task} ", page)) == 2
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    shown = {cells[0]: cells for cells in rows if len(cells) == 8}
    assert len(rates) == 2
    for name, *seeds, told, _ in (shown[rate] for rate in rates):
        mean = statistics.mean(map(float, seeds))
        assert told.startswith(f"{mean:.2f} ± {statistics.stdev(map(float, seeds)):.2f}"), name


def test_what_installs() -> None:
    assert INSTALLS.search("pip install 'autowu[torch]'")
    assert not INSTALLS.search('pip install "autowu[torch] @ git+https://github.com/autowu/autowu"')


def test_the_result_of_the_readme_is_the_study_s() -> None:
    readme = (blocks.ROOT / "README.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"\*\*What to expect\.\*\*(.*?)\n\n", readme, re.DOTALL)
    numbers = re.findall(r"[-+]?\d+\.\d+", told)
    study = (DOCS / "quality.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert len(numbers) == 3
    assert [number for number in numbers if number not in study] == []
