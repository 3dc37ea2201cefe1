"""Any number of processes, any micro-batch and any beginning give the same batches, for all kinds of data."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from autowu.errors import UserError
from autowu.train.data import Share, load
from autowu.train.data.order import micro_batches, shuffled
from autowu.train.settings.options import Settings

CASES = [
    ("digits", "none"),
    ("digits", "crop-flip"),
    ("colour.npz", "none"),
    ("colour.npz", "crop-flip"),
    ("colour.npz", "cifar"),
    ("words.txt", "none"),
    ("folder", "none"),
    ("folder", "imagenet"),
    ("folder", "imagenet-pca"),
    ("folder", "deit"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with data of all kinds."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 12, 10, 3), dtype=np.uint8)
    labels = np.arange(70) % 3
    np.savez(
        root / "colour.npz", x_train=images[:53], y_train=labels[:53], x_test=images[53:], y_test=labels[53:]
    )
    (root / "words.txt").write_text("".join(rng.choice(list("abcdefgh "), 2000)), encoding="utf-8")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / "folder" / ("train" if index < 53 else "val") / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((40, 30)).save(folder / f"{index}.png")
    return root


def task(root, data, augment="none", share=None, **settings):
    data = data if data == "digits" else str(root / data)
    usual = {"batch_size": 16, "context": 8, "image_size": 24, "workers": 0}
    return load(Settings(data=data, augment=augment, **usual | settings), share=share)


def update_by_update(task, first, last):
    """Inputs and targets of each update, its micro-batches joined."""
    return [
        tuple(torch.cat(tensors) for tensors in zip(*update, strict=True))
        for update in task.updates(first, last)
    ]


def equal(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert len(one) == len(other) == 2
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize(("data", "augment"), CASES)
def test_a_run_can_begin_at_any_update(root, data, augment):
    whole = update_by_update(task(root, data, augment, seed=3), 0, 8)
    for first in (1, 3, 7):  # 3 updates an epoch, but for digits
        equal(update_by_update(task(root, data, augment, seed=3), first, 8), whole[first:])


@pytest.mark.parametrize(("data", "augment"), CASES)
@pytest.mark.parametrize("world", [2, 4])
def test_the_shares_of_all_processes_are_the_whole_batch(root, data, augment, world):
    # Mixup pairs the images of a micro-batch: it has to be the same then.
    micro = {"micro_batch_size": 16 // world} if augment == "deit" else {}
    whole = update_by_update(task(root, data, augment, **micro), 0, 4)
    parts = [
        update_by_update(task(root, data, augment, Share(rank, world), **micro), 0, 4)
        for rank in range(world)
    ]
    joined = [
        tuple(torch.cat(tensors) for tensors in zip(*updates, strict=True))
        for updates in zip(*parts, strict=True)
    ]
    equal(joined, whole)


@pytest.mark.parametrize(("data", "augment"), [case for case in CASES if case[1] != "deit"])
@pytest.mark.parametrize("micro", [1, 3, 5])
def test_the_micro_batches_are_the_whole_batch_in_consecutive_pieces(root, data, augment, micro):
    part = task(root, data, augment, Share(1, 2), micro_batch_size=micro)
    sizes = [[len(batch.targets) for batch in update] for update in part.updates(0, 2)]
    assert sizes == [[micro] * (8 // micro) + [8 % micro] * (8 % micro > 0)] * 2
    equal(
        update_by_update(part, 0, 4),
        update_by_update(task(root, data, augment, Share(1, 2)), 0, 4),
    )


@pytest.mark.parametrize(("data", "augment"), CASES)
@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_test_set_is_seen_once_and_without_augmentation(root, data, augment, world):
    (whole,) = [tuple(map(torch.cat, zip(*task(root, data).evaluation(), strict=True)))]
    parts = [task(root, data, augment, Share(rank, world)) for rank in range(world)]
    joined = [torch.cat(t) for t in zip(*(b for part in parts for b in part.evaluation()), strict=True)]
    assert len(whole[1]) == parts[0].test_size
    assert torch.equal(joined[1], whole[1])
    if augment != "deit":  # which has another interpolation
        assert torch.equal(joined[0], whole[0])


@pytest.mark.parametrize(("data", "augment"), CASES)
def test_seeds_and_updates_differ(root, data, augment):
    found = [*update_by_update(task(root, data, augment, seed=0), 0, 4)]
    found += update_by_update(task(root, data, augment, seed=1), 0, 4)
    assert len({inputs.numpy().tobytes() for inputs, _ in found}) == 8


@pytest.mark.parametrize(("data", "augment"), CASES)
def test_the_global_generators_play_no_part_and_stay_as_they_are(root, data, augment):
    whole = update_by_update(task(root, data, augment), 0, 2)
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    equal(update_by_update(task(root, data, augment), 0, 2), whole)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002


@pytest.mark.parametrize("data", ["digits", "colour.npz", "folder"])
def test_an_epoch_has_equal_batches_without_repetition(root, data):
    images = task(root, data)
    steps = images.steps_per_epoch
    assert steps == images.train_size // 16
    epochs = [update_by_update(images, epoch * steps, (epoch + 1) * steps) for epoch in range(2)]
    for epoch in epochs:
        assert [len(targets) for _, targets in epoch] == [16] * steps
        assert len({image.numpy().tobytes() for inputs, _ in epoch for image in inputs}) == 16 * steps
    first, second = (torch.cat([inputs for inputs, _ in epoch]) for epoch in epochs)
    assert not torch.equal(first, second)


# --- the last batch of an epoch -----------------------------------------------------------------------

KEPT = [case for case in CASES if case[0] in ("colour.npz", "folder") and case[1] != "deit"]
"""53 images: three batches of 16, and 5 images."""


@pytest.mark.parametrize(("data", "augment"), KEPT)
def test_a_last_batch_that_is_kept_has_the_rest_of_the_images(root, data, augment):
    images = task(root, data, augment, keep_last_batch=True)
    assert (images.steps_per_epoch, images.per_update) == (4, 53 / 4)
    assert [images.size(update) for update in range(8)] == [16, 16, 16, 5] * 2
    whole = update_by_update(images, 0, 8)
    assert [len(targets) for _, targets in whole] == [16, 16, 16, 5] * 2
    full = update_by_update(task(root, data, augment), 0, 3)
    equal(whole[:3], full)  # the order is the same
    for first in (3, 4, 6):
        equal(update_by_update(images, first, 8), whole[first:])
    for epoch in (whole[:4], whole[4:]) if augment == "none" else ():
        assert len({image.numpy().tobytes() for inputs, _ in epoch for image in inputs}) == 53


@pytest.mark.parametrize(("data", "augment"), KEPT)
@pytest.mark.parametrize("micro", [None, 2, 3])
def test_a_last_batch_is_shared_out_in_as_many_micro_batches_each(root, data, augment, micro):
    chosen = {"keep_last_batch": True, "micro_batch_size": micro}
    whole = update_by_update(task(root, data, augment, keep_last_batch=True), 0, 8)
    parts = [task(root, data, augment, Share(rank, 2), **chosen) for rank in range(2)]
    counts = [[sum(1 for _ in update) for update in part.updates(0, 8)] for part in parts]
    assert counts[0] == counts[1]
    shares = [update_by_update(part, 0, 8) for part in parts]
    assert [[len(targets) for _, targets in share] for share in shares] == [
        [8, 8, 8, 2] * 2,
        [8, 8, 8, 3] * 2,
    ]
    joined = [
        tuple(torch.cat(tensors) for tensors in zip(*updates, strict=True))
        for updates in zip(*shares, strict=True)
    ]
    equal(joined, whole)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("micro", [None, 1, 2, 5, 17])
def test_all_processes_have_as_many_micro_batches_of_the_size_asked_for(world, micro):
    for size in range(2 * world, 40):
        settings = Settings(batch_size=48, micro_batch_size=micro)
        cut = [micro_batches(size, settings, Share(rank, world)) for rank in range(world)]
        assert len({len(of) for of in cut}) == 1
        assert [row for of in cut for rows in of for row in range(rows.start, rows.stop)] == list(range(size))
        sizes = [rows.stop - rows.start for of in cut for rows in of]
        assert min(sizes) >= 1
        # One image at a time cannot be, where the shares are unequal.
        assert max(sizes) <= (micro or size) + (micro == 1 and size % world > 0)


def test_what_cannot_be_kept_is_told(root):
    with pytest.raises(UserError, match="last batch of an epoch, 5 of 53 images, must have two or more for"):
        task(root, "colour.npz", share=Share(0, 4), keep_last_batch=True)
    with pytest.raises(UserError, match="even number of images, not 5"):
        task(root, "folder", "deit", keep_last_batch=True)
    with pytest.raises(UserError, match="--keep-last-batch is for images"):
        Settings(data="words.txt", keep_last_batch=True)
    assert task(root, "colour.npz", keep_last_batch=True, batch_size=53).steps_per_epoch == 1


def test_repeated_augmentation_has_each_of_a_third_of_the_images_three_times():
    order = shuffled(100, seed=0, turn=2, repeats=3)
    assert len(order) == 100
    assert torch.equal(order[:99].view(33, 3), order[:99:3, None].expand(33, 3))
    assert len(order[::3].unique()) == 34
    assert torch.equal(order[::3], shuffled(100, seed=0, turn=2)[:34])


def test_an_odd_test_set_is_shared_out():
    assert [list(Share(rank, 3).of(7)) for rank in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert [len(Share(rank, 4).of(2)) for rank in range(4)] == [0, 1, 0, 1]
