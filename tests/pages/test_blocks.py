"""Each block of Python in the pages and docstrings runs, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from pages import before, blocks

if not (blocks.ROOT / "docs").exists():
    pytest.skip("an archive of the sources leaves the pages out", allow_module_level=True)

FILES = [
    *blocks.ROOT.glob("*.md"),
    *(blocks.ROOT / "docs").rglob("*.md"),
    *(blocks.ROOT / "src").rglob("*.py"),
]
BLOCKS = {path.relative_to(blocks.ROOT).as_posix(): found for path in FILES if (found := blocks.of(path))}

OF_HOSTS = {name for host in before.HOSTS.values() for name in host}

NOT_RUN = {"needs DeepSpeed", "needs fastai", "needs Flax", "needs pytorch-ignite"}
"""What no test environment has; the blocks are compiled all the same."""


@pytest.mark.filterwarnings("ignore:AutoWU:UserWarning")
@pytest.mark.parametrize("name", sorted(set(BLOCKS) - OF_HOSTS))
def test_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if "Muon" in "".join(block.code for block in BLOCKS[name]) and not hasattr(torch.optim, "Muon"):
        pytest.skip("needs torch 2.9")
    monkeypatch.chdir(tmp_path)
    blocks.run(BLOCKS[name], before.TORCH.get(name, before.torch_names)())


def test_what_is_not_run_is_known() -> None:
    told = {block.not_run for found in BLOCKS.values() for block in found}
    assert told - {None} == NOT_RUN


def test_what_comes_before_is_for_what_is_there() -> None:
    assert ({*before.TORCH} | OF_HOSTS) - set(BLOCKS) == set()


def test_a_block_that_fails_or_prints_something_else_is_found() -> None:
    with pytest.raises(NameError):
        blocks.run([blocks.Block("nothing", "page.md:1")], {})
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        blocks.run([blocks.Block("print('peak 0.1')", "page.md:1", "Peak 0.2")], {})
    blocks.run([blocks.Block("print('peak 1.5e-05')", "page.md:1", "peak 0.2")], {})
    with pytest.raises(SyntaxError):
        blocks.run([blocks.Block("a b", "page.md:1", not_run="needs it")], {})


def test_blocks_are_found() -> None:
    page = blocks.ROOT / "docs" / "tutorial.md"
    assert [block.prints is not None for block in blocks.of(page)] == [False, False, True, False, False]
    assert [block.not_run for block in blocks.of(blocks.ROOT / "docs" / "pytorch.md")][
        -1
    ] == "needs DeepSpeed"
