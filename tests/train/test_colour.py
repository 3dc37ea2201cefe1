"""AlexNet's colour noise, against NumPy."""

import numpy as np
import pytest
import torch
from PIL import Image

from autowu.train.data import load
from autowu.train.data.images import ColourNoise, seeded, transform
from autowu.train.data.order import shuffled
from autowu.train.run.randomness import seed_for
from autowu.train.settings.options import Settings

DEVIATION = torch.tensor([0.229, 0.224, 0.225])
# As fb.resnet.torch, MXNet and AlexNet's other descendants have them, for RGB in [0, 1].
LAMBDA = np.array([0.2175, 0.0188, 0.0045])
E = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


@pytest.fixture
def folder(tmp_path):
    """21 training images of noise, and two test images."""
    rng = np.random.default_rng(0)
    for index in range(23):
        path = tmp_path / ("train" if index < 21 else "val") / f"class {index % 2}" / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    return tmp_path


def updates(folder, augment):
    """The images of three epochs."""
    chosen = {"batch_size": 21, "image_size": 16, "workers": 0, "seed": 4}
    task = load(Settings(data=str(folder), augment=augment, **chosen))
    return [batch.inputs for update in task.updates(0, 3) for batch in update]


def test_the_colour_noise_is_one_draw_of_its_formula_for_each_image(folder):
    """What the images of three epochs have over those without it, in RGB."""
    plain, varied = (updates(folder, name) for name in ("imagenet", "imagenet-pca"))
    added = DEVIATION[:, None, None] * (torch.cat(varied) - torch.cat(plain))
    shifts = added.mean((2, 3))
    assert (added - shifts[:, :, None, None]).abs().max() < 1e-6  # crops and flips are the same
    alpha = np.linalg.solve(E, shifts.double().numpy().T).T / LAMBDA
    assert len(np.unique(alpha.round(4), axis=0)) == 63
    drawn = []
    for epoch in range(3):
        for image in shuffled(21, 4, epoch).tolist():
            with seeded(seed_for(4, "augment", epoch, image, 0)):
                transform("imagenet", 16, training=True)(Image.new("RGB", (40, 30)))  # what is drawn before
                drawn.append(0.1 * torch.randn(3).double().numpy())
    np.testing.assert_allclose(alpha, drawn, atol=1e-4)  # float32, divided by 0.0045


def test_the_colour_noise_has_the_published_covariance():
    with seeded(0):
        shifts = torch.stack([ColourNoise()(torch.zeros(3, 1, 1))[:, 0, 0] for _ in range(20_000)])
    expected = 0.1**2 * E @ np.diag(LAMBDA**2) @ E.T
    error = np.cov(shifts.double().numpy().T) - expected
    assert np.abs(error).max() < 4 * np.sqrt(2 / 20_000) * expected.max()
    assert shifts.mean(0).abs().max() < 4 * np.sqrt(expected.max() / 20_000)
