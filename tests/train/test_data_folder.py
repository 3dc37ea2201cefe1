"""A folder of images: what is read from it, its workers, and what is said of one that cannot be used."""

import multiprocessing
import os
import shutil
import signal

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import limits
from autowu.errors import UserError
from autowu.train.data import load, workers
from autowu.train.data.images import transform
from autowu.train.settings.options import Settings

# Python 3.12 and later warn of a fork beside threads, which DataLoader's workers are.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

CLASSES = ("ant", "bee", "cat")
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture
def root(tmp_path):
    """21 training and 9 test images of 40 × 30 pixels, each of one colour that tells which one it is."""
    for index in range(30):
        folder = tmp_path / "pets" / ("train" if index < 21 else "val") / CLASSES[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (8 * index, 3 * index, 255 - index)).save(folder / f"{index:02}.png")
    return tmp_path / "pets"


def task(root, **settings):
    return load(Settings(data=str(root), **{"batch_size": 6, "image_size": 16, "workers": 0} | settings))


def batches(task, first, last):
    return [batch for update in task.updates(first, last) for batch in update]


def test_images_labels_and_classes(root):
    pets = task(root)
    assert (pets.name, pets.kind, pets.classes, pets.input_shape) == ("pets", "images", 3, (3, 16, 16))
    assert (pets.train_size, pets.test_size, pets.steps_per_epoch, pets.per_update) == (21, 9, 3, 6)
    assert pets.description == "pets: 21 training and 9 test images, to 16 × 16 pixels, 3 classes"
    for batch in (*batches(pets, 0, 3), *pets.evaluation()):
        pixels = 255 * (batch.inputs * DEVIATION[:, None, None] + MEAN[:, None, None])
        index = (pixels[:, 0].mean((1, 2)) / 8).round().long()
        expected = torch.stack([8 * index, 3 * index, 255 - index], 1)[:, :, None, None]
        assert (pixels - expected).abs().max() < 1e-3
        assert torch.equal(batch.targets, index % 3)


def test_the_test_set_is_in_the_order_of_the_names(root):
    (batch,) = task(root).evaluation()
    assert batch.targets.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_test_transform_is_the_middle_of_the_image():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    found = transform("imagenet", 56, training=False)(image)  # 56 / 0.875 = 64: nothing to resize
    expected = torch.from_numpy(np.array(image)[4:60, 12:68]).permute(2, 0, 1) / 255
    expected = (expected - MEAN[:, None, None]) / DEVIATION[:, None, None]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("augment", ["deit", "none", "imagenet"])
def test_workers_change_nothing(root, augment):
    alone = batches(task(root, augment=augment), 0, 5)
    pets = task(root, augment=augment, workers=2)
    shared = batches(pets, 0, 5)
    for ours, theirs in zip(alone, shared, strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)
    for _ in range(2):  # with the same workers
        assert sum(len(batch.targets) for batch in pets.evaluation()) == 9
    pets.close()


@pytest.mark.full
def test_workers_end(root):
    before = set(multiprocessing.active_children())
    pets = task(root, workers=1)
    updates = pets.updates(0, 100)
    next(next(updates))
    list(pets.evaluation())
    assert len(set(multiprocessing.active_children()) - before) == 2
    pets.close()
    assert set(multiprocessing.active_children()) <= before


def test_what_is_left_of_an_update_does_not_shift_the_next(root):
    pets = task(root, micro_batch_size=2)
    expected = batches(pets, 1, 2)
    updates = pets.updates(0, 2)
    next(next(updates))  # one of three micro-batches
    for ours, theirs in zip(next(updates), expected, strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)


@pytest.fixture
def noise(root):
    """The same folder with images of noise."""
    rng = np.random.default_rng(0)
    for path in root.rglob("*.png"):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    return root


def test_an_image_differs_from_epoch_to_epoch(noise):
    found = batches(task(noise, augment="imagenet", batch_size=21), 0, 3)
    assert len({image.numpy().tobytes() for batch in found for image in batch.inputs}) == 63


def test_the_copies_of_an_image_differ(noise, monkeypatch):
    monkeypatch.setattr("autowu.train.data.mix.Mix.__call__", lambda self, batch, update, row: batch)
    found = batches(task(noise, augment="deit", batch_size=18), 0, 2)
    assert len({image.numpy().tobytes() for batch in found for image in batch.inputs}) == 36
    for batch in found:
        assert torch.equal(batch.targets.view(6, 3), batch.targets[::3, None].expand(6, 3))


def test_deit_mixes_within_a_micro_batch_and_smooths(root):
    found = batches(task(root, augment="deit", label_smoothing=0.3), 0, 40)
    mixed = 0
    for batch in found:
        assert batch.targets.shape == (6, 3)
        assert batch.targets.dtype == torch.float32
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(6))
        # λ of an image's own class and 1 - λ of the one that it is paired with, and the rest is smoothing.
        assert (batch.targets >= 0.1 - 1e-6).all()
        shares = (batch.targets - 0.1) / 0.7
        mixed += bool(((shares > 0.01) & (shares < 0.99)).any())
    assert mixed > 20
    with pytest.raises(UserError, match="each micro-batch must have an even number of images, not 3"):
        task(root, augment="deit", micro_batch_size=3)


def test_each_micro_batch_has_a_mixture_of_its_own(root):
    found = batches(task(root, augment="deit", batch_size=18, micro_batch_size=6, label_smoothing=0), 0, 20)
    smaller = {round(min(share, 1 - share), 4) for batch in found for share in batch.targets.amax(1).tolist()}
    assert len(found) == 60
    assert len(smaller) > 25  # two of three pairs have different classes


def test_deit_is_timm_s_recipe():
    steps = [type(step).__name__ for step in transform("deit", 32, training=True).transforms]
    assert steps == [
        "RandomResizedCropAndInterpolation",
        "RandomHorizontalFlip",
        "RandAugment",
        "MaybeToTensor",
        "Normalize",
        "RandomErasing",
    ]
    steps = [type(step).__name__ for step in transform("imagenet", 32, training=True).transforms]
    assert steps == [
        "RandomResizedCropAndInterpolation",
        "RandomHorizontalFlip",
        "MaybeToTensor",
        "Normalize",
    ]
    steps.insert(-1, "ColourNoise")
    assert steps == [type(step).__name__ for step in transform("imagenet-pca", 32, training=True).transforms]


def test_a_name_and_a_size_are_part_of_the_fingerprint(root):
    first = task(root).fingerprint
    assert first == task(root).fingerprint
    moved = shutil.copytree(root, root.parent / "other")
    assert first == task(moved).fingerprint
    path = root / "val" / "bee" / "22.png"
    path.write_bytes(path.read_bytes() + b"\0")
    second = task(root).fingerprint
    path.rename(path.with_name("23.png"))
    assert len({first, second, task(root).fingerprint}) == 3


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "cut"])
def test_an_unreadable_image_is_named(root, workers, content):
    path = root / "train" / "bee" / "04.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    pets = task(root, workers=workers, batch_size=21)
    with pytest.raises(UserError, match=r"cannot read the image .*/train/bee/04\.png: \S") as error:
        batches(pets, 0, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "ending"), [("uint16", "png"), ("int32", "tif"), ("float32", "tif")])
def test_an_image_that_would_be_clipped_to_8_bits_is_named(root, kind, ending):
    path = root / "train" / "bee" / f"04.{ending}"
    (root / "train" / "bee" / "04.png").unlink()
    Image.fromarray(np.arange(4096).reshape(64, 64).astype(kind)).save(path)
    with pytest.raises(UserError, match=rf"04\.{ending}: its pixels have more than 8 bits, .* mode [IF]"):
        batches(task(root, batch_size=21), 0, 1)


def test_grey_and_transparent_images_become_colour_images(root):
    Image.new("L", (40, 30), 128).save(root / "val" / "ant" / "21.png")
    Image.new("RGBA", (40, 30), (1, 2, 3, 4)).save(root / "val" / "ant" / "24.png")
    (batch,) = task(root).evaluation()
    assert batch.inputs.shape == (9, 3, 16, 16)


def test_folders_that_cannot_be_used(root):
    shutil.move(root / "val", root.parent / "val")
    with pytest.raises(
        UserError, match=r"pets must hold the folders train and val, each with one folder a class"
    ):
        task(root)
    shutil.move(root.parent / "val", root / "val")

    (root / "train" / ".cache").mkdir()  # no class
    task(root)
    (root / "train" / "dog").mkdir()
    with pytest.raises(UserError, match=r"train/dog has no images \(\.jpg, "):
        task(root)
    Image.new("RGB", (4, 4)).save(root / "train" / "dog" / "1.JPEG")
    with pytest.raises(
        UserError, match=r"must have the same classes in train and val, but only one .* has dog$"
    ):
        task(root)
    shutil.rmtree(root / "train" / "dog")

    for part in ("train", "val"):
        for name in CLASSES[1:]:
            shutil.rmtree(root / part / name)
    with pytest.raises(UserError, match=r"train must hold folders of two classes or more, not 1"):
        task(root)
    with pytest.raises(UserError, match=r"--data must be one of .* not .*absent"):
        task(root / "absent")
    shutil.copytree(root / "train" / "ant", root / "train" / "bee")
    shutil.copytree(root / "val" / "ant", root / "val" / "bee")
    with pytest.raises(
        UserError, match=r"--batch-size must be at most the number of training images, 14, not 20"
    ):
        task(root, batch_size=20)


# --- signals to the process group ---------------------------------------------------------------------


def running(task):
    """An iterator of updates, of which each worker has given one, and the workers that it has started."""
    others = set(multiprocessing.active_children())  # of tests before this one
    updates = task.updates(0, 300)
    for _ in range(2):  # a signal to a worker that is still starting is another matter
        list(next(updates))
    return updates, [child for child in multiprocessing.active_children() if child not in others]


@pytest.fixture
def no_server():
    """The server that other tests have left is not born with the signals blocked."""
    from multiprocessing.forkserver import _forkserver

    if _forkserver._forkserver_pid is not None:
        os.kill(_forkserver._forkserver_pid, signal.SIGKILL)  # it would wait for whoever holds its pipe
    _forkserver._stop()


@pytest.mark.skipif(workers.START != "forkserver", reason="asks for the server's process")
@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.full)])
def test_workers_and_their_server_outlive_a_signal(root, number):
    pets = task(root, workers=2)
    updates, started = running(pets)
    of_this_process = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert len(started) == 2
    server = psutil.Process(started[0].pid).ppid()
    for pid in (server, *(worker.pid for worker in started)):
        os.kill(pid, number)
    assert not {signal.SIGTERM, signal.SIGINT} & of_this_process
    for update in range(2, 300):  # more than were read ahead
        assert len(list(next(updates))) == 1, update
    assert all(worker.is_alive() for worker in started)
    pets.close()
    assert not set(started) & set(multiprocessing.active_children())


@pytest.mark.full
def test_a_worker_that_will_not_end_is_killed(monkeypatch, root):
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.5)  # seconds that it is given
    pets = task(root, workers=1)
    updates, (worker,) = running(pets)
    os.kill(worker.pid, signal.SIGSTOP)
    pets.close()
    worker.join(limits.HANG)
    assert worker.exitcode == -signal.SIGKILL
    assert next(updates, None) is None
