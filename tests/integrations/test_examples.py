"""Each program in examples/ runs to its end; that it survives kill -9 is tested with its host."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from integrations import examples

SHORT = {
    "accelerate_digits.py": ("accelerate", "--epochs", 2),
    "huggingface_text.py": ("transformers", "--steps", 40),
    "keras_digits.py": ("keras", "--epochs", 2),
    "lightning_images.py": ("lightning", "--epochs", 2),
    "optax_digits.py": ("optax", "--epochs", 2),
}


def test_all_examples_are_run() -> None:
    assert sorted(path.name for path in examples.EXAMPLES.glob("*.py")) == sorted(SHORT)


SLOW = {"keras_digits.py", "lightning_images.py"}  # the blocks of their pages are run always


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full) if name in SLOW else name for name in SHORT]
)
def test_it_runs_to_its_end(name: str, tmp_path: Path) -> None:
    package, *arguments = SHORT[name]
    if not find_spec(package):
        pytest.skip(f"needs {package}")
    printed = examples.run(name, "--out", tmp_path / "out", *arguments, folder=tmp_path)
    assert "peak LR" in printed
