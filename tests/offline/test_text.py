"""A replay in words: what was read, what was decided and why."""

import re
from pathlib import Path

import numpy as np
import pytest
from tests.controller.endings import ENDINGS
from tests.offline.curves import printed, v_shaped, words, write

import autowu
from autowu.offline import text
from autowu.offline.logs import Record


def test_the_summary_of_a_detection(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    outcome = autowu.replay(v_shaped(), 500)
    assert outcome.t_star is not None
    text = words(printed(capsys, v_curve, "--total-steps", "500"))
    assert "v.csv: 300 of 500 updates; no losses missing or not finite. Preset default." in text
    assert f"At step {outcome.switch_step} the minimum of the loss was detected (3 tests in a row)." in text
    (at, least), lr = (outcome.t_star, outcome.tests[-1].t_star), f"{outcome.peak_lr:.3g}"
    assert least is not None
    assert at < least - 1
    flat = f"at the end of a flat part of the loss (within 5% of its fall), whose middle is step {at:.1f}"
    assert f"It lay at step {least:.1f}, {flat}, where the learning rate was {lr}." in text
    assert "The decay (linear) begins with that, and with the weights of step" in text


def test_the_summary_of_the_paper(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    paper = ["--total-steps", "500", "--preset", "paper", "--steps-per-epoch", "10"]
    text = words(printed(capsys, v_curve, *paper, "--patience", "1"))
    assert "Preset paper, 10 updates in an epoch." in text
    assert "detected (1 test)" in text
    assert "The decay (cosine) begins with that. " in text  # and nothing is said of weights


def test_the_summary_of_a_run_without_a_known_end(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    text = words(printed(capsys, v_curve, "--total-steps", "inf"))
    assert "updates of a run without a known end" in text
    assert "The stable phase begins with that, and with the weights of step" in text


def test_only_the_last_tests_are_listed(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    outcome = autowu.replay(v_shaped(), 500)
    text = printed(capsys, v_curve, "--total-steps", "500")
    assert f"The last 10 of {len(outcome.tests)} tests (a P_min above 0.95 says" in text
    rows = re.findall(r"(?m)^ +(\d+) +\S+ +\d\.\d{3} +(yes|no) +[\d.]+ +(\d)$", text)
    past = [
        (str(test.step), "yes" if test.detected else "no", str(test.streak)) for test in outcome.tests[-10:]
    ]
    assert rows == past
    assert {"yes", "no"} <= {row[1] for row in rows}


def test_subsets_are_listed_by_their_votes(capsys: pytest.CaptureFixture[str], v_curve: str) -> None:
    outcome = autowu.replay(v_shaped(), 500, preset="paper", steps_per_epoch=10)
    text = printed(capsys, v_curve, "--total-steps", "500", "--preset", "paper", "--steps-per-epoch", "10")
    votes = [f"{test.votes(0.95)} of 5" for test in outcome.tests[-10:]]
    assert re.findall(r"\d of 5\b", text) == votes


CURVES: dict[str, list[float | str]] = {
    "falling": np.linspace(3, 1, 100).tolist(),
    "noise": (2 + 0.1 * np.random.default_rng(0).random(300)).tolist(),
    "flat": [1.0] * 40,
    "dead": [*np.linspace(3, 1, 200).tolist(), *[""] * 100],
    "dead at once": [1.0, *[""] * 100],
    "few": (2.3 * 0.7 ** np.arange(1, 17)).tolist(),
    "one": [2.0],
    "short": (3 - 0.1 * np.arange(22)).tolist(),
    "exploding": [  # in the fast growth, and again in the slow one, three decades lower
        value + 0.01 * float(noise)
        for value, noise in zip(
            [2.3] * 30 + [8.0] * 4 + [2.3] * 150 + [8.0] * 116,
            np.random.default_rng(0).standard_normal(300),
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
        pytest.param(
            "falling", [], "came to its cap of 50 updates and had found no minimum of the loss", id="capped"
        ),
        pytest.param(
            "falling",
            [],
            "The smoothed loss was least at step 50.0, at the end of a",
            id="capped: from where",
        ),
        pytest.param(
            "noise", [], "had not fallen, and no learning rate is known to be good", id="no lift-off"
        ),
        pytest.param("rising", ["--total-steps", "1000"], "the loss had not fallen, and no", id="no fall"),
        pytest.param(
            "exploding",
            ["--total-steps", "1000"],
            "the loss had risen for good without having fallen",
            id="rises",
        ),
        pytest.param(
            "exploding",
            ["--total-steps", "1000"],
            ", a tenth of that at which it had risen or less.",
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
            "and had found no minimum of the loss",
            id="few, but enough for the paper",
        ),
        pytest.param(
            "one",
            PAPER,
            "and had found no minimum of the loss: there were too few losses (1, of at least 2)",
            id="one",
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
        pytest.param(
            "noise",
            ["--total-steps", "9999"],
            "without one, warm-up takes 1,160 updates, or more if the loss rises.",
            id="waiting: how long",
        ),
        pytest.param(
            "falling", ["--total-steps", "900"], "warm-up takes 378 updates.", id="waiting since lift-off"
        ),
        pytest.param(
            "falling",
            ["--total-steps", "900"],
            "to 1, or more if the loss still falls, in at most 378 updates.",
            id="premise",
        ),
        pytest.param(
            "noise",
            [],
            "loss still falls, in at most 150 updates. The record is taken for the",
            id="premise, at the cap",
        ),
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


# --- each way in which warm-up can end ----------------------------------------------------------------


DEAD = "no loss was recorded any more, or none that is finite (3 checks in a row)"
SAID = {
    "a minimum": "the minimum of the loss was detected (3 tests in a row). It lay at step",
    "a minimum, paper": "(3 tests in a row). It lay at step 100.3, where the learning rate was 0.00322.",
    "a fall at its end": "its cap of 397 updates and had found no minimum of the loss. The smoothed loss was",
    "two rises": "the loss had risen for good without having fallen. The decay (linear) begins with",
    "a rise, by the cap": "its cap of 500 updates and had found no minimum; the loss had not fallen, and no",
    "neither": "its cap of 451 updates and had found no minimum; the loss had not fallen, and no",
    "a fall to the cap": "its cap of 500 updates and had found no minimum of the loss. The smoothed loss "
    "was least at step 500.0, at the end of a flat part of the loss",
    "a fall to the cap, bounded": "its cap of 398 updates and had found no minimum of the loss. The smoothed "
    "loss was least at step 398.0, at the end of a flat part of the loss",
    "a fall to the cap, paper": "its cap of 200 updates and had found no minimum of the loss. The decay",
    "lift-off at the cap": "its cap of 11 updates before a test could tell where the minimum of the loss is.",
    "dead": f"{DEAD}. The last learning rate known to be good was that of step 259.0. The decay (linear) "
    "begins with 0.045, half of it. At step 311 most losses were not finite: the learning rate would have "
    "been cut to a third. At step 351 most",
    "dead, paper": f"{DEAD}. The last learning rate known to be good was that of step 89.0. The decay "
    "(cosine) begins with 0.00168.",
    "dead before lift-off": f"{DEAD}. The decay (linear) begins with learning rate 1e-05.",
    "never alive": f"{DEAD}, and too few before to tell anything (0, of at least 10). The decay",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_end_of_warm_up_is_told(name: str) -> None:
    outcome = ENDINGS[name].replay()
    words = text.decision(Record(ENDINGS[name].losses, None), outcome)
    assert words.startswith(f"At step {outcome.switch_step} ")
    assert SAID[name] in words


def test_one_is_not_told_as_several(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = words(printed(capsys, write(tmp_path / "one.csv", [2.0])))
    assert "1 update, the whole run; no losses" in text
    assert " 1 updates" not in text
    assert "1 update in an epoch" in words(
        printed(capsys, str(tmp_path / "one.csv"), "--preset", "paper", "--steps-per-epoch", "1")
    )


def test_the_headings_of_tables_fit_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], v_curve: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    lines = printed(capsys, v_curve, "--total-steps", "500", "--what-if").splitlines()
    for heading in ("The last 10 of", "The same losses with"):
        (at,) = (i for i, line in enumerate(lines) if line.startswith(heading))
        title = lines[at : next(i for i in range(at, len(lines)) if lines[i].endswith(":")) + 1]
        assert len(title) > 1
        assert max(map(len, title)) <= 20
