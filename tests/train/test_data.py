"""Images in arrays: what is made of them, and what is said of a file that cannot be used."""

import importlib.util
import io
import math
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from autowu.errors import UserError
from autowu.train.data import load
from autowu.train.settings.options import Settings

ROOT = Path(__file__).parents[2]


def task(data, **settings):
    return load(Settings(data=str(data), **settings))


def batches(task, first, last):
    return [batch for update in task.updates(first, last) for batch in update]


def everything(pieces):
    """Inputs and targets of all ``pieces``."""
    return [torch.cat(tensors) for tensors in zip(*pieces, strict=True)]


def test_digits_is_the_set_of_scikit_learn():
    digits = task("digits")
    assert (digits.name, digits.kind, digits.samples) == ("digits", "images", "images")
    assert (digits.train_size, digits.test_size, digits.classes) == (1442, 355, 10)
    assert (digits.input_shape, digits.per_update, digits.steps_per_epoch) == ((1, 8, 8), 128, 11)
    assert digits.description == "digits: 1,442 training and 355 test images of 1 × 8 × 8, 10 classes"


def test_digits_is_standardised_by_its_training_images():
    digits = task("digits", batch_size=1442)
    images, labels = everything(batches(digits, 0, 1))
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert images.mean().item() == pytest.approx(0, abs=1e-6)
    assert images.std().item() == pytest.approx(1, abs=1e-6)
    with np.load(resources.files("autowu.train") / "digits.npz") as arrays:
        raw, train, expected = arrays["x_test"], arrays["x_train"].astype(np.float64), arrays["y_test"]
    images, labels = everything(digits.evaluation())
    assert images.shape == (355, 1, 8, 8)
    np.testing.assert_allclose(images[:, 0], (raw - train.mean()) / train.std(ddof=1), atol=1e-6)
    np.testing.assert_array_equal(labels, expected)


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
    data = task(path, batch_size=20)
    assert (data.name, data.classes, data.input_shape) == ("mine", 3, (1, 6, 5))
    _, labels = everything(batches(data, 0, 1))
    assert sorted(labels.tolist()) == sorted(i % 3 for i in range(20))

    rng = np.random.default_rng(0)
    colour = {"x_train": rng.random((20, 6, 5, 3)), "x_test": rng.random((7, 6, 5, 3))}
    np.savez(path, **arrays(**colour, y_train=(np.arange(20) % 3)[:, None]))
    data = task(path, batch_size=20)
    assert data.input_shape == (3, 6, 5)
    images, _ = everything(data.evaluation())
    mean, deviation = colour["x_train"][..., 1].mean(), colour["x_train"][..., 1].std(ddof=1)
    assert images[2, 1, 3, 4].item() == pytest.approx(
        (colour["x_test"][2, 3, 4, 1] - mean) / deviation, abs=1e-5
    )


def test_the_fingerprint_is_that_of_the_contents(tmp_path):
    def fingerprint(**changes):
        np.savez(tmp_path / "mine.npz", **arrays(**changes))
        return task(tmp_path / "mine.npz", batch_size=2).fingerprint

    first = fingerprint()
    assert first == fingerprint() == fingerprint(x_train=np.asfortranarray(arrays()["x_train"]))
    assert len(int(first, 16).to_bytes(32, "big")) == 32
    x_test = arrays()["x_test"]
    x_test[3, 2, 1] += 1
    others = [
        fingerprint(x_test=x_test),
        fingerprint(y_test=np.arange(7)[::-1] % 3),
        fingerprint(
            x_train=arrays()["x_train"].reshape(20, 5, 6), x_test=arrays()["x_test"].reshape(7, 5, 6)
        ),
    ]
    assert len({first, *others}) == 4


def test_a_channel_that_is_blank_stays_blank(tmp_path):
    x_train = arrays()["x_train"].astype(np.float32)[..., None].repeat(2, 3)
    x_train[..., 1] = 0.1
    np.savez(tmp_path / "mine.npz", **arrays(x_train=x_train, x_test=x_train[:7]))
    images, _ = everything(task(tmp_path / "mine.npz", batch_size=2).evaluation())
    assert images[:, 0].abs().max() > 1
    assert (images[:, 1] == 0).all()


def test_too_large_a_batch():
    with pytest.raises(
        UserError, match="--batch-size must be at most the number of training images, 1,442, not"
    ):
        task("digits", batch_size=1443)


def npz_with(path, key, member):
    """A usable file, whose array ``key`` is replaced by the bytes ``member``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays().items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{name}.npy", member if name == key else buffer.getvalue())


def header(shape, dtype="|u1"):
    buffer = io.BytesIO()
    description = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(buffer, description)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            header((10**12, 6, 5)) + b"few",
            r"x_train is damaged: .* takes 30,000,000,000,000 bytes, .* has 3$",
        ),
        (header((20, 6, 5)) + bytes(599), r"x_train is damaged: uint8 of shape \(20, 6, 5\) takes 600 bytes"),
        (header((-20, -6, 5)) + bytes(600), r"x_train is damaged"),
        (header((20, 6, 5), "|O") + bytes(4800), r"x_train must be numbers, not Python objects"),
        (b"\x93NUMPY\x02\x00", r"EOF"),
        (b"no array", r"magic string"),
    ],
)
def test_a_header_is_not_believed(tmp_path, member, message):
    path = tmp_path / "mine.npz"
    npz_with(path, "x_train", member)
    with pytest.raises(UserError, match=message) as error:
        task(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, r"no array x_test; the file holds x_train, y_train, y_test"),
        (
            {"x_train": np.zeros((20, 30))},
            r"x_train must be numbers of shape .* not float64 of shape \(20, 30\)",
        ),
        ({"x_train": np.full((20, 6, 5), "a")}, r"x_train must be numbers"),
        ({"x_train": np.full((20, 6, 5), None)}, r"x_train must be numbers, not Python objects"),
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
        task(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ((20, 3, 6, 5), 255, "3 × 6 pixels and 5 channels, for channels come last"),
        ((20, 1, 28, 28), 255, "1 × 28 pixels and 28 channels, for channels come last"),
        (
            (20, 6, 5, 3),
            1,
            "x_train goes from 0 to 255, and x_test from 0 to 1; has one of them been divided",
        ),
        ((20, 6, 5, 4), 255, None),
        ((20, 6, 5, 12), 255, None),
        ((20, 1, 50, 2), 255, None),
        ((20, 6, 5), 60, None),
    ],
)
def test_arrays_that_are_hardly_what_was_meant_are_told_of(tmp_path, train, test, told):
    x_train = np.linspace(0, 255, math.prod(train)).reshape(train).astype(np.uint8)
    x_test = np.linspace(0, test, 7 * math.prod(train[1:])).reshape(7, *train[1:])
    np.savez(tmp_path / "mine.npz", **arrays(x_train=x_train, x_test=x_test))
    if told is None:
        task(tmp_path / "mine.npz", batch_size=2)
    else:
        with pytest.warns(UserWarning, match=rf"^{tmp_path / 'mine.npz'}: .*{told}"):
            task(tmp_path / "mine.npz", batch_size=2)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r"--data must be one of digits, .*, a FILE\.npz .*, not 'cats'"):
        task("cats")
    with pytest.raises(UserError, match=r"cannot read .*absent\.npz: No such file"):
        task(str(tmp_path / "absent.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*folder\.npz"):
        task(str(tmp_path / "folder.npz"))
    for content in (b"", b"not a zip", b"PK\x03\x04 broken"):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.npz: "):
            task(str(tmp_path / "broken.npz"))
    (tmp_path / "page.npz").write_text("<!DOCTYPE html>\n<title>Not found</title>")
    with pytest.raises(UserError, match=r"page\.npz: not an \.npz file; it begins with b'<!DOCTYPE html>"):
        task(str(tmp_path / "page.npz"))
    with open(tmp_path / "array.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"not an \.npz file but a single array"):
        task(str(tmp_path / "array.npz"))


@pytest.mark.parametrize("augment", ["crop-flip", "cifar"])
def test_augmentation_differs_from_image_to_image_and_from_update_to_update(tmp_path, augment):
    one = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), dtype=np.uint8)
    x_train, labels = one.repeat(16, 0), np.arange(16) % 2
    np.savez(tmp_path / "same.npz", x_train=x_train, y_train=labels, x_test=x_train, y_test=labels)
    found = batches(task(tmp_path / "same.npz", batch_size=16, augment=augment), 0, 3)
    for batch in found:
        assert len({image.numpy().tobytes() for image in batch.inputs}) > 8
    assert len({image.numpy().tobytes() for batch in found for image in batch.inputs}) > 24
