"""Make the data set that ships with autowu: the handwritten digits of UCI, as in scikit-learn.

    python experiments/make_digits.py [FILE.npz]

1,797 images of 8 × 8 pixels with values 0 to 16. Every fifth image of each class becomes a test image: a
split that is stratified, spreads every writer over both parts, and needs no random numbers.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SHIPPED = Path(__file__).parents[1] / "src/autowu/train/digits.npz"


def arrays() -> dict[str, NDArray[np.uint8]]:
    """The four arrays of the file, in Keras' layout."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    test = np.zeros(len(labels), bool)
    for digit in range(10):
        test[np.flatnonzero(labels == digit)[4::5]] = True
    return {
        "x_train": images[~test],
        "y_train": labels[~test],
        "x_test": images[test],
        "y_test": labels[test],
    }


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    np.savez_compressed(path, **arrays())
    print(f"{path}: {path.stat().st_size:,} bytes")
