"""`autowu replay`: the JSON contract, the settings, and recorded curves."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.offline.curves import as_json, printed, v_shaped, words, write

import autowu
from autowu import cli

KEYS = ["switched", "capped", "switch_step", "t_star", "peak_lr", "tests"]
TEST_KEYS = ["step", "p_min", "detected", "argmin", "streak", "no_evidence"]


# --- JSON ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [[], ["--preset", "paper", "--steps-per-epoch", "10"]])
def test_json_says_what_replay_says(
    capsys: pytest.CaptureFixture[str], v_curve: str, preset: list[str]
) -> None:
    got = as_json(capsys, v_curve, "--total-steps", "500", "--seed", "3", *preset)
    settings: dict[str, Any] = {"preset": "paper", "steps_per_epoch": 10} if preset else {}
    expected = autowu.replay(v_shaped(), 500, seed=3, **settings)
    assert got == expected.to_json()
    assert list(got) == KEYS + ([] if preset else ["cuts"])
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
    got = as_json(capsys, v_curve, "--total-steps", "10000000", "--warmup-limit", "20000")
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


# --- settings -----------------------------------------------------------------------------------------


def test_flags_are_settings(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    argv = ["--min-lr", "1e-4", "--max-lr", "0.5", "--warmup-fraction", "0.7", "--confidence", "0.8"]
    argv += ["--warmup-limit", "200"]
    got = as_json(capsys, v_curve, "--total-steps", "400", *argv, "--patience", "2", "--decay", "1-sqrt")
    expected = autowu.replay(
        v_shaped(),
        400,
        min_lr=1e-4,
        max_lr=0.5,
        warmup_fraction=0.7,
        warmup_limit=200,
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
        ("--total-steps 1.5", "argument --total-steps: must be an integer ≥ 1, or inf, not '1.5'"),
        ("--total-steps many", "argument --total-steps: must be an integer ≥ 1, or inf, not 'many'"),
        ("--total-steps 299", "line 301: step 299 is beyond --total-steps 299"),
        ("--steps-per-epoch 0", "--steps-per-epoch must be an integer ≥ 1, not 0"),
        ("--preset paper", "--steps-per-epoch is missing"),
        ("--preset papers", "argument --preset: invalid choice: 'papers'"),
        ("--seed -1", "--seed must be an integer ≥ 0, not -1"),
        ("--min-lr 0", "--min-lr must be in (0, inf), not 0.0"),
        ("--max-lr 1e-6", "--max-lr must be in (1e-05, inf), not 1e-06"),
        ("--max-lr inf", "--max-lr must be in (1e-05, inf), not inf"),
        ("--warmup-limit 0", "--warmup-limit must be an integer ≥ 1, not 0"),
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


# --- recorded curves ----------------------------------------------------------------------------------


CAPS = {
    "cifar10-cnn-sgd": 467,
    "fashion-mlp-bn-sgd": 467,
    "fashion-mlp-ln-adamw-long": 703,
    "fashion-mlp-plain-sgd-nan": 538,
    "text-gpt-adamp-long": 589,
}
"""Of records of a slower growth, whose minimum comes later than warm-up may last."""


@pytest.mark.parametrize("curve", sorted((Path(__file__).parents[1] / "data" / "curves").glob("*.csv")))
def test_recorded_curves(capsys: pytest.CaptureFixture[str], curve: Path) -> None:
    """Recorded in real runs, each of which goes on through the minimum."""
    about = json.loads((curve.parent / "curves.json").read_text(encoding="utf-8"))[curve.stem]
    argv = [str(curve), "--total-steps", str(about["total_steps"]), "--max-lr", str(about["max_lr"])]
    text = words(printed(capsys, *argv))
    if curve.stem in CAPS:
        cap = CAPS[curve.stem]
        assert f"At step {cap} warm-up came to its cap of {cap} updates and had found no minimum" in text
        return
    assert re.search(r"At step [\d,]+ the minimum of the loss was detected .* It lay at step \d+", text)
