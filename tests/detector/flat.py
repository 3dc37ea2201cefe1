"""Noise without a fall."""

import numpy as np


def bfloat16(values: np.ndarray) -> np.ndarray:
    """``values`` as a loss computed in bfloat16 has them: 8 significant bits, rounded to even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


FLAT = {
    "normal": lambda random, n: 2.3 + 0.05 * random.standard_normal(n),
    "heavy-tailed": lambda random, n: 2.3 + 0.05 * random.standard_t(3, n),
    "bfloat16": lambda random, n: bfloat16(2.3 + 0.05 * random.standard_normal(n)),
    "bfloat16, noise of half a step": lambda random, n: bfloat16(2.3 + 0.008 * random.standard_normal(n)),
    "bfloat16, noise of an eighth of a step": lambda random, n: bfloat16(
        2.305 + 0.002 * random.standard_normal(n)
    ),
}
