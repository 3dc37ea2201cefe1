"""What the site makes of pages that GitHub shows, too: pages of the root, links out of docs/, formulas."""

import os
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OF_THE_ROOT = {"README.md": "index.md", "CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages of the root, and what they are called on the site."""

FENCE = re.compile(r"(?ms)^( *)```math\n(.*?)\n *```$")
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for name, uri in OF_THE_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, content=LINK.sub(_from_the_root, text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML, and links that leave docs/ as links into the repository."""

    def in_repository(link: re.Match[str]) -> str:
        path = os.path.normpath(ROOT / "docs" / Path(page.file.src_uri).parent / link[2])
        inside = os.path.relpath(path, ROOT)
        if inside.startswith(("docs" + os.sep, "..")):
            return link[0]
        if inside in OF_THE_ROOT:
            return link[1] + os.path.relpath(OF_THE_ROOT[inside], Path(page.file.src_uri).parent)
        if not os.path.exists(path):
            return link[0]  # which the strict build then refuses
        kind = "tree" if os.path.isdir(path) else "blob"
        return f"{link[1]}{config.repo_url.rstrip('/')}/{kind}/main/{Path(inside).as_posix()}"

    markdown = FENCE.sub(lambda fence: fence[1] + convert(fence[2], display="block"), markdown)
    return LINK.sub(in_repository, markdown)


def _from_the_root(link: re.Match[str]) -> str:
    """A link of a page of the root, as it is from docs/."""
    if link[2].startswith("docs/"):
        return link[1] + link[2].removeprefix("docs/")
    return link[1] + "../" + link[2]
