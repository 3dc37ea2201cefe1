"""The sets that torchvision keeps: read from files as torchvision has them on disk, made here."""

import gzip
import hashlib
import pickle
import re

import numpy as np
import pytest
import torch

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train.data import load
from autowu.train.settings.options import Settings

torchvision_shim.install()
datasets = pytest.importorskip("torchvision.datasets")

RNG = np.random.default_rng(0)


def task(name, folder, **settings):
    return load(Settings(data=name, data_dir=str(folder), batch_size=2, **settings))


def write(path, content):
    """Write ``content``; returns its check sum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def cifar(folder, kind, key, files, monkeypatch):
    """Files of 3 images each in CIFAR's layout, whose check sums torchvision then expects."""
    made = {name: {"data": RNG.integers(0, 256, (3, 3072), dtype=np.uint8), key: [0, 2, 1]} for name in files}
    sums = [[name, write(folder / kind.base_folder / name, pickle.dumps(made[name]))] for name in files]
    meta = pickle.dumps({kind.meta["key"]: ["a", "b", "c"]})
    meta_sum = write(folder / kind.base_folder / kind.meta["filename"], meta)
    monkeypatch.setattr(kind, "train_list", sums[:-1])
    monkeypatch.setattr(kind, "test_list", sums[-1:])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": meta_sum})
    return made


@pytest.mark.parametrize(
    ("name", "kind", "key", "files"),
    [
        ("cifar10", datasets.CIFAR10, "labels", ["data_batch_1", "data_batch_2", "test_batch"]),
        ("cifar100", datasets.CIFAR100, "fine_labels", ["train", "test"]),
    ],
)
def test_cifar(tmp_path, monkeypatch, name, kind, key, files):
    made = cifar(tmp_path, kind, key, files, monkeypatch)
    data = task(name, tmp_path)
    assert (data.name, data.input_shape, data.classes) == (name, (3, 32, 32), 3)
    assert (data.train_size, data.test_size) == (3 * (len(files) - 1), 3)
    (batch,) = data.evaluation()
    assert batch.targets.tolist() == [0, 2, 1]
    train = np.concatenate([made[file]["data"] for file in files[:-1]]).reshape(-1, 3, 1024).astype(float)
    mean, deviation = train.mean((0, 2)), train.transpose(1, 0, 2).reshape(3, -1).std(1, ddof=1)
    expected = (made[files[-1]]["data"].reshape(3, 3, 32, 32) - mean[:, None, None]) / deviation[
        :, None, None
    ]
    np.testing.assert_allclose(batch.inputs, expected, atol=1e-5)


def fashion(folder, images=6):
    """The four unpacked files of Fashion-MNIST, with few images."""
    raw = folder / "FashionMNIST" / "raw"
    made = RNG.integers(0, 256, (images, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        header = np.array([0x803, images, 28, 28], ">i4").tobytes()
        write(raw / f"{part}-images-idx3-ubyte", header + made.tobytes())
        labels = (np.arange(images) % 3).astype(np.uint8)
        write(
            raw / f"{part}-labels-idx1-ubyte", np.array([0x801, images], ">i4").tobytes() + labels.tobytes()
        )
    return made


def test_fashion_mnist(tmp_path):
    made = fashion(tmp_path)
    data = task("fashion-mnist", tmp_path)
    assert (data.input_shape, data.classes, data.train_size, data.test_size) == ((1, 28, 28), 3, 6, 6)
    (batch,) = data.evaluation()
    assert batch.targets.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(batch.inputs[:, 0], (made - made.mean()) / made.std(ddof=1), atol=1e-5)


def test_files_that_are_packed_need_no_download(tmp_path, monkeypatch):
    fashion(tmp_path)
    expected = task("fashion-mnist", tmp_path).fingerprint
    raw = tmp_path / "FashionMNIST" / "raw"
    sums = []
    for path in list(raw.iterdir()):
        packed = gzip.compress(path.read_bytes())
        sums.append((f"{path.name}.gz", write(raw / f"{path.name}.gz", packed)))
        path.unlink()
    monkeypatch.setattr(datasets.FashionMNIST, "resources", sums)
    assert task("fashion-mnist", tmp_path).fingerprint == expected


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cifar10", "cifar-10-python.tar.gz, from https://"),
        ("cifar100", "cifar-100-python.tar.gz, from https://"),
        ("fashion-mnist", "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images"),
    ],
)
def test_a_failed_download_says_where_to_put_which_files(tmp_path, monkeypatch, name, files):
    def offline(*_, **__):
        raise OSError("<urlopen error [Errno -2] Name or service\nnot known>")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    where = tmp_path / "FashionMNIST" / "raw" if name == "fashion-mnist" else tmp_path
    with pytest.raises(UserError) as error:
        task(name, tmp_path)
    message = str(error.value)
    assert re.fullmatch(
        f"cannot read or download {name} \\(.*not known.*\\); put {re.escape(files)}.*", message
    )
    assert message.endswith(f", into {where}, in place of what may be there")


def test_damaged_files(tmp_path, monkeypatch):
    cifar(tmp_path, datasets.CIFAR10, "labels", ["data_batch_1", "test_batch"], monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"x")  # torchvision then downloads it again

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(
        UserError, match=r"cannot read or download cifar10 \(no network\); put cifar-10-python"
    ):
        task("cifar10", tmp_path)
    fashion(tmp_path)
    labels = tmp_path / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for content in (whole[:-1], b"", b"\0\0", b"x" * len(whole)):
        labels.write_bytes(content)
        with pytest.raises(
            UserError, match=r"cannot read or download fashion-mnist \(\S.*\); put train-images"
        ):
            task("fashion-mnist", tmp_path)
    labels.write_bytes(whole[:7] + b"\x05" + whole[8:13])
    with pytest.raises(UserError, match=r"damaged, remove it: x_train has 6 images but y_train has 5 labels"):
        task("fashion-mnist", tmp_path)


def test_colour_images_can_have_the_paper_s_augmentation_and_grey_ones_cannot(tmp_path, monkeypatch):
    cifar(tmp_path, datasets.CIFAR10, "labels", ["data_batch_1", "test_batch"], monkeypatch)
    ((batch,),) = [list(update) for update in task("cifar10", tmp_path, augment="cifar").updates(0, 1)]
    assert batch.inputs.shape == (2, 3, 32, 32)
    assert batch.inputs.dtype == torch.float32
    fashion(tmp_path)
    with pytest.raises(
        UserError, match=r"--augment cifar .* needs uint8 images of 3 channels, not uint8 .* of 1;"
    ):
        task("fashion-mnist", tmp_path, augment="cifar")
