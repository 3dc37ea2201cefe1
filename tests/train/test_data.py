"""Data sets, their batches, and what is said of a file that cannot be used."""

import importlib.util
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from autowu.errors import UserError
from autowu.train.data import epoch_batches, load

ROOT = Path(__file__).parents[2]


def test_digits_is_the_set_of_scikit_learn():
    data = load("digits")
    assert (len(data.train), len(data.test), data.classes) == (1442, 355, 10)
    assert data.image_shape == (1, 8, 8)
    assert data.train.images.dtype == torch.float32
    assert data.train.images.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.train.images.std().item() == pytest.approx(1, abs=1e-5)


def test_digits_split_is_stratified_and_disjoint():
    with np.load(resources.files("autowu.train") / "digits.npz") as arrays:
        train, test = np.bincount(arrays["y_train"]), np.bincount(arrays["y_test"])
        images = np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(1797, -1)
    assert test.tolist() == ((train + test) // 5).tolist()
    assert images.max() == 16
    # All images are distinct in the original, so none is in both parts.
    assert len(np.unique(images, axis=0)) == 1797


def test_digits_is_small_and_names_its_authors_and_licence():
    folder = resources.files("autowu.train")
    assert len((folder / "digits.npz").read_bytes()) < 100_000
    licence = (folder / "digits.LICENSE.txt").read_text(encoding="utf-8")
    for word in ("E. Alpaydin", "C. Kaynak", "10.24432/C50P49", "CC BY 4.0", "Changes:"):
        assert word in licence


def test_digits_can_be_made_again():
    path = ROOT / "experiments" / "make_digits.py"
    if not path.exists():
        pytest.skip("experiments are not part of the source distribution")
    spec = importlib.util.spec_from_file_location("make_digits", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.arrays()
    with np.load(resources.files("autowu.train") / "digits.npz") as shipped:
        assert sorted(shipped) == sorted(made)
        for key in made:
            assert shipped[key].dtype == made[key].dtype
            np.testing.assert_array_equal(shipped[key], made[key])


def test_an_epoch_has_equal_batches_without_repetition_and_an_order_of_its_own():
    split = load("digits").train
    split.images[:, 0, 0, 0] = torch.arange(1442)  # so that an image tells which one it is

    def epoch(generator):
        return [images[:, 0, 0, 0].long() for images, _ in epoch_batches(split, 100, generator)]

    generator = torch.Generator().manual_seed(1)
    first, second = epoch(generator), epoch(generator)
    assert [len(batch) for batch in first] == [100] * 14
    assert len(torch.cat(first).unique()) == 1400
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert torch.equal(torch.cat(first), torch.cat(epoch(torch.Generator().manual_seed(1))))


def arrays(**changes):
    """Arrays that can be used, in Keras' layout, with ``changes``."""
    rng = np.random.default_rng(0)
    usable = {
        "x_train": rng.integers(0, 256, (20, 6, 5), dtype=np.uint8),
        "y_train": np.arange(20) % 3,
        "x_test": rng.integers(0, 256, (7, 6, 5), dtype=np.uint8),
        "y_test": np.arange(7) % 3,
    }
    return {key: value for key, value in (usable | changes).items() if value is not None}


def test_a_file_in_keras_layout(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    data = load(str(path))
    assert (data.name, data.classes, data.image_shape) == ("mine", 3, (1, 6, 5))
    assert data.train.labels.tolist() == [i % 3 for i in range(20)]

    rng = np.random.default_rng(0)
    colour = {"x_train": rng.random((20, 6, 5, 3)), "x_test": rng.random((7, 6, 5, 3))}
    np.savez(path, **arrays(**colour, y_train=(np.arange(20) % 3)[:, None]))
    data = load(str(path))
    assert data.image_shape == (3, 6, 5)
    assert data.train.labels.shape == (20,)
    pixel = colour["x_train"][2, 3, 4, 1]
    mean, deviation = colour["x_train"][..., 1].mean(), colour["x_train"][..., 1].std(ddof=1)
    assert data.train.images[2, 1, 3, 4].item() == pytest.approx((pixel - mean) / deviation, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, r"no array x_test; the file holds x_train, y_train, y_test"),
        (
            {"x_train": np.zeros((20, 30))},
            r"x_train must be numbers of shape .* not float64 of shape \(20, 30\)",
        ),
        ({"x_train": np.full((20, 6, 5), "a")}, r"x_train must be numbers"),
        ({"x_train": np.full((20, 6, 5), None)}, r"allow_pickle"),
        ({"x_train": np.zeros((0, 6, 5))}, r"x_train must be numbers"),
        ({"x_train": np.full((20, 6, 5), np.nan)}, r"x_train must be finite"),
        ({"x_train": np.zeros((19, 6, 5))}, r"x_train has 19 images but y_train has 20 labels"),
        ({"x_test": np.zeros((7, 5, 6))}, r"x_test must have images like x_train's, \(1, 6, 5\)"),
        ({"y_train": np.linspace(0, 1, 20)}, r"y_train must be integers of shape"),
        (
            {"y_train": np.zeros((20, 3), int)},
            r"y_train must be integers of shape .* not int64 of shape \(20, 3\)",
        ),
        ({"y_train": np.arange(20) - 1}, r"y_train must hold labels ≥ 0, not -1"),
        ({"y_train": np.zeros(20, int)}, r"y_train must hold labels 0, 1, … of two classes or more"),
        ({"y_train": np.arange(20) * 1000}, r"y_train must hold labels .* not 0 to 19,000"),
        ({"y_test": np.arange(7)}, r"y_test must hold labels that y_train has, 0 to 2, not 6"),
    ],
)
def test_an_array_that_cannot_be_used_is_named(tmp_path, changes, message):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays(**changes))
    with pytest.raises(UserError, match=message) as error:
        load(str(path))
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r"--data must be 'digits' or a FILE\.npz .*, not 'cats'"):
        load("cats")
    with pytest.raises(UserError, match=r"cannot read .*absent\.npz: No such file"):
        load(str(tmp_path / "absent.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*folder\.npz"):
        load(str(tmp_path / "folder.npz"))
    for content in (b"", b"not a zip", b"PK\x03\x04 broken"):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.npz: "):
            load(str(tmp_path / "broken.npz"))
    with open(tmp_path / "array.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"not an \.npz file but a single array"):
        load(str(tmp_path / "array.npz"))
