"""Augmentation on the device: crops and flips, AutoAugment against torchvision's own, Cutout."""

import numpy as np
import pytest
import torch

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train.data import augment, load
from autowu.train.data.augment.auto import POLICY, AutoAugment
from autowu.train.data.augment.crop import CropFlip
from autowu.train.data.augment.cutout import Cutout
from autowu.train.run.randomness import generator
from autowu.train.settings.options import Settings

torchvision_shim.install()
transforms = pytest.importorskip("torchvision.transforms.v2")


def pictures(count, channels=3, size=32, seed=0):
    """Smooth images of all contrasts, as uint8, some of them blank or grey."""
    noise = torch.rand((count, channels, 6, 6), generator=generator(seed, "pictures"))
    images = torch.nn.functional.interpolate(noise, size=(size, size), mode="bicubic").clamp(0, 1)
    images *= torch.linspace(0.1, 1, count)[:, None, None, None]
    images = (255 * images).round().to(torch.uint8)
    images[0] = 77
    images[1] = images[1, :1]
    return images


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crops_and_flips_are_those_of_each_image_alone(dtype):
    images = pictures(40, channels=2).to(dtype)
    part = CropFlip()
    draws = part.draw(40, generator(3, "test"))
    found = part.pixels(images, draws)
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (4, 4), (4, 4)])
    for image, whole, (down, right, flip) in zip(found, padded, draws.tolist(), strict=True):
        crop = whole[:, down : down + 32, right : right + 32]
        np.testing.assert_array_equal(image, crop[:, :, ::-1] if flip else crop)
    assert found.dtype == dtype


def test_crops_and_flips_are_as_likely_as_each_other():
    draws = CropFlip().draw(81_000, generator(0, "test"))
    for column, values in zip(draws.unbind(1), (9, 9, 2), strict=True):
        counts = column.bincount(minlength=values).double()
        assert len(counts) == values
        expected = 81_000 / values
        assert ((counts - expected).square() / expected).sum() < 30  # χ² of at most 8 degrees: p < 0.001


def test_the_policy_is_torchvision_s():
    theirs = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)._policies
    ours = [tuple((name, p, level or 0) for name, p, level in pair) for pair in POLICY]
    assert ours == [tuple((name, p, level or 0) for name, p, level in pair) for pair in theirs]


@pytest.mark.parametrize("size", [32, 24])
def test_operations_are_torchvision_s_on_each_image_alone(size):
    theirs = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)
    ours = AutoAugment()
    images = pictures(5, size=size)
    # All numbers in turn for each image, in one batch and in an order that is not theirs.
    numbers = torch.arange(1, len(ours.kinds) + 1).repeat(5)
    batch = images.repeat_interleave(len(ours.kinds), 0)
    shuffle = torch.randperm(len(batch), generator=generator(0, "test"))
    found = torch.empty_like(batch)
    found[shuffle] = ours.pixels(
        batch[shuffle], torch.stack([numbers, torch.zeros_like(numbers)], 1)[shuffle]
    )
    for image, after, number in zip(batch, found, numbers.tolist(), strict=True):
        name, level, sign = ours.kinds[number - 1]
        magnitudes, signed = theirs._AUGMENTATION_SPACE[name]
        assert signed or sign == 1
        magnitude = magnitudes(10, size, size)
        magnitude = 0.0 if magnitude is None else sign * float(magnitude[level])
        expected = theirs._apply_image_or_video_transform(
            image, name, magnitude, interpolation=theirs.interpolation, fill=theirs._fill
        )
        assert torch.equal(after, expected), (name, level, sign)


def test_both_operations_happen_in_their_order():
    ours = AutoAugment()
    images = pictures(8)
    invert, equalize = (1 + ours.kinds.index((name, 0, 1)) for name in ("Invert", "Equalize"))
    draws = torch.tensor([[invert, equalize], [equalize, invert], [0, invert], [0, 0]] * 2)
    operate = {
        0: lambda image: image,
        invert: transforms.functional.invert,
        equalize: transforms.functional.equalize,
    }
    for image, (first, second), after in zip(images, draws.tolist(), ours.pixels(images, draws), strict=True):
        assert torch.equal(after, operate[second](operate[first](image)))


def test_operations_are_as_likely_as_the_policy_says():
    ours = AutoAugment()
    count = 200_000
    draws = ours.draw(count, generator(0, "test"))
    for column in (0, 1):
        expected = torch.zeros(len(ours.kinds) + 1, dtype=torch.float64)
        for pair in POLICY:
            name, probability, level = pair[column]
            signs = [sign for sign in (-1, 1) if (name, level, sign) in ours.kinds]
            expected[0] += (1 - probability) / len(POLICY)
            for sign in signs:
                index = 1 + ours.kinds.index((name, level, sign))
                expected[index] += probability / len(POLICY) / len(signs)
        found = draws[:, column].bincount(minlength=len(expected)) / count
        deviation = (expected * (1 - expected) / count).sqrt()
        assert ((found - expected).abs() <= 4.5 * deviation).all()


def test_cutout_cuts_a_square_that_may_lie_partly_outside():
    part = Cutout(20, 40)
    draws = part.draw(300, generator(0, "test"))
    assert draws.amin(0).tolist() == [0, 0]
    assert draws.amax(0).tolist() == [19, 39]
    found = part.standardised(torch.ones(300, 3, 20, 40), draws)
    for image, (row, column) in zip(found, draws.tolist(), strict=True):
        expected = np.ones((3, 20, 40))
        expected[:, max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8] = 0
        np.testing.assert_array_equal(image, expected)


def test_cifar_is_all_of_them_in_their_order():
    images = pictures(64)
    whole = augment.build("cifar", images)
    draws = whole.draw(64, generator(5, "test"))
    assert draws.shape == (64, 7)
    operated = AutoAugment().pixels(images, draws[:, :2])
    assert torch.equal(whole.pixels(images, draws), CropFlip().pixels(operated, draws[:, 2:5]))
    standardised = torch.ones(64, 3, 32, 32)
    expected = Cutout(32, 32).standardised(standardised.clone(), draws[:, 5:])
    assert torch.equal(whole.standardised(standardised, draws), expected)


def test_images_that_autoaugment_cannot_take():
    for images, kind in (
        (torch.zeros(4, 3, 8, 8), "floating-point images of 3"),
        (pictures(4, 1), "uint8 images of 1"),
    ):
        with pytest.raises(UserError, match=f"needs uint8 images of 3 channels, not {kind}"):
            augment.build("cifar", images)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        ("digits", "imagenet", "one of none, crop-flip, cifar for images in memory, not imagenet"),
        ("digits", "deit", "one of none, crop-flip, cifar for images in memory, not deit"),
        (".", "cifar", "one of none, imagenet, imagenet-pca, deit for a folder of images, not cifar"),
        ("a.txt", "crop-flip", "one of none for a text, not crop-flip"),
    ],
)
def test_which_augmentation_goes_with_which_data(data, name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        (tmp_path / part).mkdir()
    (tmp_path / "a.txt").write_text("To be, or not to be")
    with pytest.raises(UserError, match=f"--augment must be {message}"):
        load(Settings(data=data, augment=name))
