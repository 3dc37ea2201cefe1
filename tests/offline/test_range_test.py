"""Learning-rate sweeps and what-if: the peak LR, its interval, the table, and what is written with -o."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autowu import cli, replay
from autowu.offline import what_if
from autowu.offline.logs import Record
from autowu.offline.range_test import is_sweep, sweep
from autowu.offline.strided import replay_record
from autowu.report import sweep_figure, what_if_figure

N = 200
LRS = 10 ** np.linspace(-7, 1, N)
PEAK = 10**-1.953
"""The least loss is at 10^-1.663; at 10^-2.242 it comes within 5% of its fall. Halfway is where to go."""


def losses(noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """The loss of a sweep whose best LR is about 0.022; it explodes, and ends in NaN."""
    x = np.log10(LRS)
    curve = 2.3 - 1.5 / (1 + np.exp(-(x + 3.5) * 1.5)) + 0.08 * np.exp((x + 1.5) * 2.3)
    found = curve + np.random.default_rng(seed).normal(0, noise, N)
    found[-5:] = np.nan
    return found


def write(path: Path, y: np.ndarray) -> str:
    rows = (f"{lr!r},{loss!r}\n" for lr, loss in zip(LRS.tolist(), y.tolist(), strict=True))
    path.write_text("lr,loss\n" + "".join(rows))
    return str(path)


def test_the_interval_holds_the_peak_lr_and_narrows_with_the_noise() -> None:
    covered, widths = 0, dict[float, list[float]]()
    for noise in (0.02, 0.1):
        for seed in range(10):
            of = sweep(losses(noise, seed), LRS)
            assert of.peak_lr is not None
            assert of.low is not None
            assert of.high is not None
            assert of.low < of.peak_lr < of.high
            covered += of.low <= PEAK <= of.high
            widths.setdefault(noise, []).append(of.high / of.low)
    assert covered >= 17  # of 20, at 90%
    assert np.mean(widths[0.02]) < np.mean(widths[0.1])


def test_rates_that_are_held_for_some_updates_make_it_no_surer() -> None:
    held = np.repeat(np.sqrt(LRS[9::20] * LRS[10::20]), 20)  # each at the middle of what they would have been
    smooth, stairs = sweep(losses(), LRS), sweep(losses(), held)
    for name in ("peak_lr", "low", "high"):
        assert getattr(stairs, name) == pytest.approx(getattr(smooth, name), rel=0.01)


def test_the_same_sweep_says_the_same() -> None:
    assert sweep(losses(), LRS).to_json() == sweep(losses(), LRS).to_json()


@pytest.mark.parametrize(
    ("lrs", "expected"),
    [
        (LRS, True),
        (np.linspace(1e-5, 1, 50), True),
        (LRS[::-1], False),
        (np.full(50, 0.1), False),
        (np.linspace(0.1, 0.2, 50), False),
        (np.linspace(0, 1, 50), False),
        (LRS[:10], False),
        (np.append(LRS, np.nan), False),
        (None, False),
    ],
)
def test_what_a_sweep_is(lrs: np.ndarray | None, expected: bool) -> None:
    assert is_sweep(lrs) is expected


def test_lrs_that_are_no_sweep_are_refused() -> None:
    with pytest.raises(ValueError, match="grow by a factor of 10"):
        sweep(losses(), LRS[::-1])


def test_the_command_reads_a_sweep_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "sweep.csv", losses())
    assert cli.main(["replay", path]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "200 losses at learning rates that grow from 1e-07 to 10, 5 of them missing" in words
    assert "Your LR sweep says: peak LR 0.0" in words
    assert "with 90% probability between" in words
    assert cli.main(["replay", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sweep"]
    assert found["interval_90"][0] < found["peak_lr"] < found["interval_90"][1]
    assert cli.main(["replay", path, "--no-sweep", "--json"]) == 0
    assert "sweep" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        (2 + 0.1 * np.random.default_rng(0).random(N), "says nothing: the loss has not fallen"),
        (np.linspace(3, 1, N), "the loss was still falling at 10, where it ends. Sweep to a higher"),
        (
            np.r_[np.linspace(3, 1, N // 2), np.full(N // 2, 1.0)]
            + 0.2 * np.random.default_rng(2).standard_normal(N),
            "by 10, where it ends, the loss had not risen by more than its noise explains. Sweep to a higher",
        ),
    ],
)
def test_a_sweep_without_a_minimum_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], curve: np.ndarray, said: str
) -> None:
    assert cli.main(["replay", write(tmp_path / "sweep.csv", curve)]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_sweep_of_what_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("loss\n3\n2\n")
    assert cli.main(["replay", str(tmp_path / "x.csv"), "--sweep"]) == 2
    assert "--sweep needs 20 or more rows" in capsys.readouterr().err


def cases() -> list[what_if.Case]:
    record = Record(losses(), None)
    settings = {"max_lr": 0.5}
    outcome = replay_record(record, 400, **settings)
    return what_if.cases(outcome, lambda **changed: replay_record(record, 400, **changed), **settings)


def test_what_if_changes_one_setting_at_a_time() -> None:
    found = cases()
    varied = set(what_if.VALUES) - {"subset_size"}  # all losses are looked at
    assert {case.setting for case in found} == varied
    assert sum(case.chosen for case in found) == len(varied)
    for case in found:
        assert case.replay.config.max_lr == 0.5
        assert getattr(case.replay.config, case.setting) == case.value
    text = what_if.table(found)
    assert len(text) == 1 + len(found)
    assert sum(">" in line for line in text) == len(varied)


def test_what_if_tells_the_peak_over_the_chosen_one_and_the_cap() -> None:
    found = cases()
    chosen = next(case for case in found if case.chosen)
    other = max(found, key=lambda case: abs((case.peak_lr or 0) - (chosen.peak_lr or 0)))
    capped = replace(other, replay=replay(np.ones(100), 100))
    assert other.peak_lr
    assert chosen.peak_lr
    assert what_if.table([chosen, other])[2].endswith(f"  × {other.peak_lr / chosen.peak_lr:.2f}")
    assert what_if.table([chosen, capped])[2].endswith("  (cap)")


def test_what_if_fits_in_a_narrow_terminal() -> None:
    found = cases()
    narrow, wide = what_if.table(found, 60), what_if.table(found)
    assert max(map(len, narrow)) <= 60 < max(map(len, wide)) <= what_if.WIDTH
    names = [what_if.NAMES[name] for name in dict.fromkeys(case.setting for case in found)]
    assert [line for line in narrow if line in names] == names
    assert [line for line in narrow[1:] if line not in names] == [line[24:] for line in wide[1:]]


def test_what_if_of_the_paper_varies_the_epochs_between_tests() -> None:
    record = Record(losses(), None)
    paper = {"preset": "paper", "steps_per_epoch": 8}
    outcome = replay_record(record, 400, **paper)
    found = what_if.cases(outcome, lambda **changed: replay_record(record, 400, **changed), **paper)
    assert [case.value for case in found if case.setting == "steps_per_epoch"] == [2, 4, 8, 16, 32]


def test_the_figures_are_what_plotly_takes() -> None:
    pytest.importorskip("plotly")
    import plotly.graph_objects as go

    found = cases()
    figure = what_if_figure.figure(found)
    go.Figure(figure)
    json.dumps(figure, allow_nan=False)
    assert sum(len(trace["x"]) for trace in figure["data"]) == len(found)
    of = sweep(losses(), LRS)
    figure = sweep_figure.figure(of, losses())
    go.Figure(figure)
    json.dumps(figure, allow_nan=False)
    assert [trace["name"] for trace in figure["data"] if trace.get("showlegend", True)] == [
        "loss",
        "± 2 sd",
        "smoothed loss",
    ]
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [of.peak_lr, of.low]


@pytest.mark.parametrize(
    ("subset_size", "up_to", "said"),
    [
        (None, N, {"dashed line", "shaded range"}),
        (100, N, {"dashed line", "shaded range", "subsets"}),
        (None, 60, set()),
    ],
)
def test_the_page_explains_what_its_figure_has(subset_size: int | None, up_to: int, said: set[str]) -> None:
    of = sweep(losses()[:up_to], LRS[:up_to], subset_size=subset_size)
    words = sweep_figure.section(of, of.losses).words
    assert {each for each in ("dashed line", "shaded range", "subsets") if each in words} == said


@pytest.mark.parametrize("name", ["page.html", "picture.png", "picture.svg"])
@pytest.mark.parametrize("flags", [[], ["--what-if"], ["--no-sweep"]])
def test_what_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, flags: list[str]
) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("matplotlib")
    path = write(tmp_path / "<b>sweep.csv", losses())
    assert cli.main(["replay", path, "-o", str(tmp_path / name), *flags]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path / name}\n")
    content = (tmp_path / name).read_bytes()
    assert len(content) < 6e6
    if name.endswith("html"):
        text = content.decode()
        assert ("The learning-rate range test" in text) == ("--no-sweep" not in flags)
        assert ("What if?" in text) == ("--what-if" in flags)
        assert "AutoWU did not run here" in text
        assert "<b>sweep" not in text
    else:
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
