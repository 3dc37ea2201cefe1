"""Range tests that diverge, as most do, or whose losses end before a minimum."""

from pathlib import Path

import numpy as np
import pytest
from tests.offline.curves import printed, words

from autowu.offline.range_test import sweep

N = 300
LRS = 1e-6 * 1e7 ** (np.arange(N) / N)


def losses(seed: int = 0) -> np.ndarray:
    """A fall that ends at an LR of 0.08 at the latest."""
    x = np.arange(N) / N
    return 2.3 - 1.5 / (1 + np.exp(-12 * (x - 0.45))) + np.random.default_rng(seed).normal(0, 0.03, N)


def diverging(rate: float, seed: int = 0) -> np.ndarray:
    """From an LR of 0.08 on the loss grows tenfold ``rate`` times in a whole sweep."""
    return losses(seed) * 10 ** (rate * np.maximum(0, np.arange(N) / N - 0.7))


def exploded(top: float) -> np.ndarray:
    """From there on the loss is of the size of ``top``."""
    return np.where(np.arange(N) < 0.7 * N, losses(), top * np.random.default_rng(1).uniform(0.5, 1, N))


def tenfold(rate: float) -> np.ndarray:
    """A fall to a hundredth, which is judged on logarithms, and a divergence."""
    return 10 ** (np.log10(diverging(rate)) + 2 / (1 + np.exp(12 * (np.arange(N) / N - 0.45))))


@pytest.mark.parametrize(
    "curve",
    [
        *(pytest.param(diverging(rate), id=f"rate {rate}") for rate in (5, 10, 20, 40, 60)),
        *(pytest.param(exploded(top), id=f"top {top:g}") for top in (5, 30, 1e3, 1e6, 1e30, 1e308)),
        *(pytest.param(tenfold(rate), id=f"logarithms {rate}") for rate in (20, 60)),
    ],
)
def test_the_interval_of_a_sweep_that_diverges_holds_its_peak_and_is_narrow(curve: np.ndarray) -> None:
    of = sweep(curve, LRS)
    assert of.peak_lr is not None
    assert of.low is not None
    assert of.high is not None
    assert of.low <= of.peak_lr <= of.high
    assert of.high < 2 * of.low
    assert of.peak_lr < 0.09
    assert np.median(of.draws) == pytest.approx(of.peak_lr, rel=0.15)


@pytest.mark.parametrize(
    ("finite", "said"),
    [
        (
            range(30),
            f"the loss ceased to be finite, or to be recorded, at {LRS[29]:.3g}, before it had fallen",
        ),
        (range(6), f"too few losses are finite (6, of at least 10), the last at {LRS[5]:.3g}."),
        (range(0, 290, 40), f"too few losses are finite (8, of at least 10), the last at {LRS[280]:.3g}."),
    ],
)
def test_a_sweep_whose_losses_end_early_is_not_told_to_go_higher(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], finite: range, said: str
) -> None:
    rows = (
        f"{lr},{loss if i in finite else 'nan'}\n"
        for i, (lr, loss) in enumerate(zip(LRS, losses(), strict=True))
    )
    (tmp_path / "sweep.csv").write_text("lr,loss\n" + "".join(rows))
    text = words(printed(capsys, str(tmp_path / "sweep.csv")))
    assert said in text
    assert "to a higher" not in text
