"""`autowu replay`: the JSON contract, the summary in words, the plot, and the settings."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.offline.curves import v_shaped, write

import autowu
from autowu import cli

KEYS = ["switched", "capped", "switch_step", "t_star", "peak_lr", "tests"]
TEST_KEYS = ["step", "p_min", "p_stall", "detected", "argmin", "streak", "no_evidence"]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def v_curve(tmp_path: Path) -> str:
    return write(tmp_path / "v.csv", v_shaped(), range(300))


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(["replay", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def as_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(printed(capsys, *argv, "--json"), parse_constant=refuse)


def words(text: str) -> str:
    return " ".join(text.split())


# --- JSON ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [[], ["--preset", "paper", "--steps-per-epoch", "10"]])
def test_json_says_what_replay_says(
    capsys: pytest.CaptureFixture[str], v_curve: str, preset: list[str]
) -> None:
    got = as_json(capsys, v_curve, "--total-steps", "500", "--seed", "3", *preset)
    settings: dict[str, Any] = {"preset": "paper", "steps_per_epoch": 10} if preset else {}
    expected = autowu.replay(v_shaped(), 500, seed=3, **settings)
    assert got == expected.to_json()
    assert list(got) == KEYS
    assert got["switched"] is True
    assert got["capped"] is False
    assert 0 < got["t_star"] < got["switch_step"] <= 250
    assert got["tests"]
    for test in got["tests"]:
        assert list(test) == TEST_KEYS
    assert [test["streak"] for test in got["tests"][-3:]] == [1, 2, 3]


def test_json_where_the_record_ends_before_the_switch(
    capsys: pytest.CaptureFixture[str], v_curve: str
) -> None:
    got = as_json(capsys, v_curve, "--total-steps", "100000")
    assert got["switched"] is False
    assert [got[key] for key in KEYS[1:-1]] == [None] * 4


def test_json_with_missing_losses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    losses = v_shaped()
    losses[[3, 50, 51, 52, 200]] = np.nan
    cells = ["" if np.isnan(loss) else loss for loss in losses]
    kept = np.flatnonzero(np.isfinite(losses))
    empty = as_json(capsys, write(tmp_path / "empty.csv", cells), "--total-steps", "500")
    gaps = as_json(capsys, write(tmp_path / "gaps.csv", losses[kept], kept), "--total-steps", "500")
    assert empty == gaps == autowu.replay(losses, 500).to_json()


def test_json_with_no_evidence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path / "flat.csv", [1.0] * 40)
    got = as_json(capsys, path, "--preset", "paper", "--steps-per-epoch", "10")
    assert got["capped"] is True
    assert {test["no_evidence"] for test in got["tests"]} == {"all losses are equal"}
    assert got["tests"][0]["p_min"] == []


# --- words --------------------------------------------------------------------------------------------


def test_the_summary_of_a_detection(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    outcome = autowu.replay(v_shaped(), 500)
    assert outcome.t_star is not None
    text = words(printed(capsys, v_curve, "--total-steps", "500"))
    assert "v.csv: 300 of 500 updates; no losses missing or not finite. Preset default." in text
    how = ", by the end of the fall" if any(test.stalled(0.95) for test in outcome.tests[-3:]) else ""
    said = f"the minimum of the loss was detected (3 tests in a row{how})."
    assert f"At step {outcome.switch_step} {said}" in text
    assert f"It lay at step {outcome.t_star:.1f}, where the learning rate was {outcome.peak_lr:.3g}." in text
    assert "The decay (linear) begins with that, and with the weights of step" in text


def test_the_summary_of_the_paper(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    paper = ["--total-steps", "500", "--preset", "paper", "--steps-per-epoch", "10"]
    text = words(printed(capsys, v_curve, *paper, "--patience", "1"))
    assert "Preset paper, 10 updates in an epoch." in text
    assert "detected (1 test)" in text
    assert "The decay (cosine) begins with that. " in text  # and nothing is said of weights


def test_only_the_last_tests_are_listed(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    outcome = autowu.replay(v_shaped(), 500)
    text = printed(capsys, v_curve, "--total-steps", "500")
    assert f"The last 10 of {len(outcome.tests)} tests (a P_min above 0.95 votes" in text
    rows = re.findall(r"(?m)^ +(\d+) +\S+ +\d\.\d{3} +\d\.\d{3} +\d of 5 +[\d.]+ +(\d)$", text)
    assert rows == [(str(test.step), str(test.streak)) for test in outcome.tests[-10:]]


CURVES: dict[str, list[float | str]] = {
    "falling": np.linspace(3, 1, 100).tolist(),
    "noise": (2 + 0.1 * np.random.default_rng(0).random(300)).tolist(),
    "flat": [1.0] * 40,
    "dead": [*np.linspace(3, 1, 200).tolist(), *[""] * 100],
    "dead at once": [1.0, *[""] * 100],
    "spikes": [*v_shaped(), 1e30, 1e31],
    "few": (2.3 * 0.7 ** np.arange(1, 17)).tolist(),
    "one": [2.0],
    "short": (3 - 0.1 * np.arange(22)).tolist(),
    "exploding": [  # in the fast growth, and again in the slow one, two decades lower
        value + 0.01 * float(noise)
        for value, noise in zip(
            [2.3] * 30 + [8.0] * 4 + [2.3] * 150 + [8.0] * 66,
            np.random.default_rng(0).standard_normal(250),
            strict=True,
        )
    ],
    "rising": (
        2.3
        + 0.05 * np.random.default_rng(1).standard_normal(600)
        - 0.05 * np.exp(-(((np.arange(600) - 420) / 30) ** 2))
        + 0.004 * np.maximum(np.arange(600) - 440, 0)
    ).tolist(),
}
PAPER = ["--preset", "paper", "--steps-per-epoch", "10"]


@pytest.mark.parametrize(
    ("curve", "argv", "said"),
    [
        pytest.param("falling", [], "came to its cap of 50 updates without a minimum detected", id="capped"),
        pytest.param("falling", [], "The decay (linear) begins with learning rate", id="capped: from there"),
        pytest.param(
            "noise", [], "had not fallen, and no learning rate is known to be good", id="no lift-off"
        ),
        pytest.param("rising", ["--total-steps", "1000"], "the loss had not fallen, and no", id="no fall"),
        pytest.param(
            "exploding",
            ["--total-steps", "1000"],
            "the loss had risen twice without having fallen",
            id="rises",
        ),
        pytest.param(
            "exploding",
            ["--total-steps", "1000"],
            ", a tenth of the last one or less.",
            id="rises: from where",
        ),
        pytest.param("short", [], "to its cap of 11 updates before a test could tell where", id="short"),
        pytest.param(
            "short",
            [],
            "Lift-off, the first fall of the loss beyond noise, was at step 11, where the learning rate",
            id="short: what is known",
        ),
        pytest.param("few", [], "too few losses to tell whether it fell (8, of at least 10)", id="few"),
        pytest.param(
            "few",
            ["--preset", "paper", "--steps-per-epoch", "1"],
            "without a minimum detected",
            id="few, but enough for the paper",
        ),
        pytest.param(
            "one", PAPER, "without a minimum detected: there were too few losses (1, of at least 2)", id="one"
        ),
        pytest.param(
            "one", ["--total-steps", "99"], "There are too few losses yet to tell of a minimum (1,", id="wait"
        ),
        pytest.param("flat", PAPER, "no evidence: all losses are equal", id="no evidence, at the cap"),
        pytest.param(
            "dead",
            ["--total-steps", "600"],
            "no loss was recorded any more, or none that is finite (3 checks in a row). The",
            id="dead",
        ),
        pytest.param(
            "dead",
            ["--total-steps", "600"],
            "The last learning rate known to be good was that of step",
            id="dead: where",
        ),
        pytest.param(
            "dead at once",
            ["--total-steps", "400"],
            "finite (3 checks in a row), and too few before to tell anything (1, of at least 10).",
            id="never alive",
        ),
        pytest.param(
            "noise", ["--total-steps", "9999"], "The loss has not fallen by more than", id="waiting"
        ),
        pytest.param("falling", ["--total-steps", "900"], "goes on to step 450.", id="waiting: how long"),
        pytest.param("flat", ["--total-steps", "900", *PAPER], "had no evidence (all losses", id="nothing"),
        pytest.param("flat", ["--total-steps", "900", *PAPER[:3], "99"], "No test was due yet", id="no test"),
        pytest.param(
            "falling",
            ["--total-steps", "900", *PAPER],
            "The last of 10 tests did not detect the minimum",
            id="falling",
        ),
        pytest.param("noise", ["--total-steps", "9999"], "No tests.", id="an empty table"),
    ],
)
def test_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, curve: str, argv: list[str], said: str
) -> None:
    text = words(printed(capsys, write(tmp_path / "curve.csv", CURVES[curve]), *argv))
    assert said in text
    assert ("No switch within the record." in text) != ("At step" in text)


def test_a_streak_that_the_record_cuts_off(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    switch_step = autowu.replay(v_shaped(), 500).switch_step
    path = write(tmp_path / "short.csv", v_shaped()[: (switch_step or 0) - 1])
    text = words(printed(capsys, path, "--total-steps", "500"))
    assert "The last 2 tests detected the minimum of the loss, of the 3 in a row that are needed" in text


@pytest.mark.parametrize("argv", [[], ["--total-steps", "5000"]])
def test_six_losses_are_too_few_and_not_the_end_of_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    path = write(tmp_path / "six.csv", [2, 1.5, 1.2, 1, 0.9, 0.8], range(50, 301, 50))
    text = words(printed(capsys, path, *argv))
    assert "; a loss for every 50 updates; no losses missing or not finite." in text
    assert "too few losses" in text
    assert f"({6 if argv else 3}, of at least 10)" in text
    assert "finite (" not in text
    assert "had not fallen" not in text


def test_missing_losses_are_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path / "gaps.csv", [3, "", "nan", "inf", 2])
    assert "5 updates, the whole run; 3 losses missing or not finite" in words(printed(capsys, path))
    path = write(tmp_path / "gap.csv", [3, 2], [0, 2])
    assert "3 updates, the whole run; 1 loss missing or not finite" in words(printed(capsys, path))


# --- plot ---------------------------------------------------------------------------------------------


def test_the_plot_is_plain_where_the_output_is_no_terminal(
    capsys: pytest.CaptureFixture[str], v_curve: str
) -> None:
    pytest.importorskip("plotext")
    text = printed(capsys, v_curve, "--total-steps", "500")
    assert text.isascii()
    assert "\x1b" not in text
    assert text.endswith(" . loss   # smoothed   : minimum   | switch\n")
    assert max(map(len, text.splitlines())) == 80


@pytest.mark.parametrize(
    ("environment", "color"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_the_plot_in_a_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    v_curve: str,
    environment: dict[str, str],
    color: bool,
) -> None:
    pytest.importorskip("plotext")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = printed(capsys, v_curve, "--total-steps", "500")
    assert "┌──" in text
    assert ("\x1b[38" in text) == color
    assert "\x1b[48" not in text  # the terminal's own background stays


@pytest.mark.parametrize("width", [50, 66, 300])
def test_the_plot_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, v_curve: str, width: int
) -> None:
    pytest.importorskip("plotext")
    monkeypatch.setenv("COLUMNS", str(width))
    frame = [line for line in printed(capsys, v_curve).splitlines() if line.endswith("--+")]
    assert [len(line) for line in frame] == [min(width, 100)]


def test_a_few_spikes_do_not_flatten_the_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("plotext")
    text = printed(capsys, write(tmp_path / "spikes.csv", CURVES["spikes"]))
    assert "(2 off the plot)" in text
    assert "e+3" not in text


@pytest.mark.parametrize(
    "losses",
    [
        [1.0],
        [0.0] * 30,
        [2.0] * 30,
        [1e308, 1e-308, 3.0],
        [5e-324, 1e-323],
        [-1e9, 1e9] * 20,
        [1e-9, 1e9] * 20,
    ],
)
def test_every_range_can_be_plotted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, losses: list[float]
) -> None:
    pytest.importorskip("plotext")
    text = printed(capsys, write(tmp_path / "range.csv", losses))
    assert " . loss" in text.splitlines()[-1]
    assert "plotext" not in text


def test_without_plotext_a_line_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, v_curve: str
) -> None:
    monkeypatch.setitem(sys.modules, "plotext", None)
    assert printed(capsys, v_curve).endswith("\nFor a plot of it: pip install 'autowu[report]'\n")


# --- settings -----------------------------------------------------------------------------------------


def test_flags_are_settings(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    argv = ["--min-lr", "1e-4", "--max-lr", "0.5", "--warmup-fraction", "0.7", "--confidence", "0.8"]
    got = as_json(capsys, v_curve, "--total-steps", "400", *argv, "--patience", "2", "--decay", "1-sqrt")
    expected = autowu.replay(
        v_shaped(),
        400,
        min_lr=1e-4,
        max_lr=0.5,
        warmup_fraction=0.7,
        confidence=0.8,
        patience=2,
        decay="1-sqrt",
    )
    assert got == expected.to_json()
    assert got != autowu.replay(v_shaped(), 400).to_json()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--total-steps 0", "--total-steps must be an integer ≥ 1, not 0"),
        ("--total-steps -5", "--total-steps must be an integer ≥ 1, not -5"),
        ("--total-steps 1.5", "argument --total-steps: invalid int value: '1.5'"),
        ("--total-steps many", "argument --total-steps: invalid int value: 'many'"),
        ("--total-steps 299", "line 301: step 299 is beyond --total-steps 299"),
        ("--steps-per-epoch 0", "--steps-per-epoch must be an integer ≥ 1, not 0"),
        ("--preset paper", "--steps-per-epoch is missing"),
        ("--preset papers", "argument --preset: invalid choice: 'papers'"),
        ("--seed -1", "--seed must be an integer ≥ 0, not -1"),
        ("--min-lr 0", "--min-lr must be in (0, inf), not 0.0"),
        ("--max-lr 1e-6", "--max-lr must be in (1e-05, inf), not 1e-06"),
        ("--max-lr inf", "--max-lr must be in (1e-05, inf), not inf"),
        ("--warmup-fraction 1", "--warmup-fraction must be in (0, 1), not 1.0"),
        ("--confidence nan", "--confidence must be in (0, 1), not nan"),
        ("--patience 0", "--patience must be an integer ≥ 1, not 0"),
        ("--decay step", "argument --decay: invalid choice: 'step'"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_bad_settings(
    capsys: pytest.CaptureFixture[str], v_curve: str, argv: str, message: str, form: list[str]
) -> None:
    assert cli.main(["replay", v_curve, *argv.split(), *form]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("autowu: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_output_of_no_known_form_is_refused_before_the_file_is_read(
    capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    assert cli.main(["replay", "missing.csv", "-o", "x.pdf", *form]) == 2
    assert capsys.readouterr() == (
        "",
        "autowu: error: -o x.pdf: the suffix must be .html, .png or .svg, not .pdf\n",
    )


def test_settings_are_checked_before_the_file_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", "missing.csv", "--patience", "0"]) == 2
    assert "--patience" in capsys.readouterr().err


@pytest.mark.parametrize("curve", sorted((Path(__file__).parents[1] / "data" / "curves").glob("*.csv")))
def test_recorded_curves(capsys: pytest.CaptureFixture[str], curve: Path) -> None:
    """Recorded in real runs, each of which goes on through the minimum."""
    about = json.loads((curve.parent / "curves.json").read_text(encoding="utf-8"))[curve.stem]
    argv = [str(curve), "--total-steps", str(about["total_steps"]), "--max-lr", str(about["max_lr"])]
    text = words(printed(capsys, *argv))
    assert re.search(r"At step [\d,]+ the minimum of the loss was detected .* It lay at step \d+", text)
