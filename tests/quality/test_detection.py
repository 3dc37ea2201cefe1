"""The rates of the detector's mistakes: the remedies that are tried, the judge, and the tables."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from autowu.config import Config
from autowu.controller import ending
from autowu.detector.detect import detect

sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.importorskip("benchmarks", reason="an archive of the sources leaves them out")

from benchmarks.quality.detection import rates, remedies, simulated, tables
from benchmarks.quality.detection.variants import VARIANTS, Variant

DEFAULT, PAPER = VARIANTS[:2]


# --- remedies -----------------------------------------------------------------------------------------


def v_then(rise: float) -> np.ndarray:
    """A V with its minimum at 200 of 320, the last five of which leap up."""
    steps = np.arange(320)
    losses = 1 + abs(steps - 200) / np.where(steps > 200, 400, 200)
    losses += 0.02 * np.random.default_rng(0).standard_normal(320)
    losses[-5:] += rise * np.exp(np.linspace(-6, 0, 5))
    return losses


def test_a_leap_is_waited_after_and_a_rise_is_not() -> None:
    config = Config(total_steps=1000)
    for apart, counts in ((5, False), (19, False), (21, True)):
        losses = np.r_[np.linspace(2, 1, 150), np.full(apart, 1.8)]
        losses += 0.01 * np.random.default_rng(1).standard_normal(len(losses))
        assert detect(config, losses, 0)[0].detected
        assert remedies.waiting(config, losses, 0)[0].detected == counts
    assert remedies.waiting(config, v_then(0), 0)[0].detected


def test_a_remedy_is_there_while_its_variant_runs_and_no_longer() -> None:
    for name in remedies.REMEDIES:
        before = ending.detect
        with remedies.applied(name):
            assert ending.detect != before
        assert ending.detect == before


# --- judgements and counts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "word"),
    [
        (1e-4, "false alarm"), (0.099, "false alarm"), (0.101, "early"), (0.249, "early"),
        (0.251, "right"), (1, "right"), (3.99, "right"), (4.01, "late"), (1e4, "late"),
    ],
)  # fmt: skip
def test_a_factor_from_the_best_is_judged(factor: float, word: str) -> None:
    assert rates.judge(math.log10(factor)) == word


@pytest.mark.parametrize(("count", "of"), [(0, 37), (1, 37), (5, 1050), (37, 37)])
def test_the_interval_is_wilsons(count: int, of: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    interval = stats.binomtest(count, of).proportion_ci(method="wilson")
    assert rates.wilson(count, of) == pytest.approx((interval.low, interval.high), abs=1e-7)


def tiny(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One family of 40 runs, whose outcome is its seed; the seeds asked for."""
    asked = []

    def outcome(variant: Variant, seed: int) -> rates.Outcome:
        asked.append(seed)
        return rates.Outcome(seed / 100, capped=False, lost=0.0)

    monkeypatch.setattr(rates, "families", lambda: {"tiny": rates.Family(outcome, 40)})
    return asked


def test_what_is_counted_is_not_counted_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, path = tiny(monkeypatch), tmp_path / "results.jsonl"
    rates.run([DEFAULT], end=rates.CHUNK, path=path)
    assert asked == list(range(35))
    rates.run([DEFAULT, PAPER], path=path)
    assert asked == [*range(35), *range(35), *range(35, 40), *range(35, 40)]
    rates.run([DEFAULT, PAPER], path=path)
    assert len(asked) == 80
    rates.run([Variant("default", {"patience": 2})], path=path)  # the same name for something else
    assert len(asked) == 120
    rows = rates.rows(path)
    assert [row["variant"] for row in rows] == ["default", "paper", "default", "paper", "default", "default"]
    assert rows[2]["ratio"] == [0.35, 0.36, 0.37, 0.38, 0.39]


def test_variants_of_growth_are_not_replayed() -> None:
    left = {v.name for name, _, v in rates.todo(VARIANTS, [], 1) if name == "recorded"}
    assert {"default", "paper", "patience 1"} < left
    assert not [name for name in left if name.startswith(("growth", "sweep_fraction", "warmup_fraction"))]


# --- tables -------------------------------------------------------------------------------------------


def row(variant: str, family: str, ratio: list[float], lost: list[float]) -> dict[str, object]:
    capped = [int(value > 1) for value in ratio]
    about = {"variant": variant, "settings": {}, "family": family, "first": 0}
    return about | {"ratio": ratio, "capped": capped, "lost": lost}


ROWS = [
    row("default", "valley", [0.0, 0.1, -0.7, -1.5], [0.0, 0.0, 0.06, 0.9]),
    row("default", "static", [0.2, 0.7], [0.0, 0.0]),
    row("paper", "valley", [0.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]),
    row("paper", "recorded", [3.0], [1.0]),
]


def test_a_summary_counts_each_mistake_once_and_false_alarms_as_early_too() -> None:
    summary = tables.Summary.of(tables.pick(tables.runs(ROWS)["default"], ["valley", "static"]).values())
    assert (summary.n, summary.false_alarms, summary.early, summary.late) == (6, 1, 2, 1)
    assert (summary.capped, summary.costly) == (0, 2)
    assert summary.distance == pytest.approx(0.45)  # of 0, .1, .2, .7, .7, 1.5
    assert summary.lost == pytest.approx(0.96 / 6)


def test_variants_are_compared_on_the_same_runs() -> None:
    found = tables.runs(ROWS)
    assert tables.paired(found["paper"], found["default"]) == "+1 −2"


def test_tables_say_what_the_lines_say() -> None:
    text = tables.tables(ROWS)
    assert "| default | 6 | 16.7% (3.0–56.4) | 33.3% (9.7–70.0) | 16.7% (3.0–56.4) |" in text
    assert "| paper | 4 | 0.0% (0.0–49.0) |" in text
    assert "| recorded | paper | 1 |" in text
    assert "| recorded | default |" not in text


def test_the_page_has_the_tables_of_the_results() -> None:
    assert tables.tables(rates.rows()) in tables.PAGE.read_text(encoding="utf-8")


def test_the_results_are_the_simulations_of_today() -> None:
    """One run of each preset and simulated family again, a short one."""
    counted = tables.runs(rates.rows())
    for variant in (DEFAULT, PAPER):
        for family in ("static", "quadratic", "valley"):
            seed = (
                0
                if family == "static"
                else min(range(10), key=lambda s: simulated.task(family, s).total_steps)
            )
            outcome, known = (
                rates.families()[family].outcome(variant, seed),
                counted[variant.name][family, seed],
            )
            assert outcome.ratio == pytest.approx(known.ratio, abs=0.01)
            assert outcome.capped == known.capped
            assert outcome.lost == pytest.approx(known.lost, abs=0.01)


def test_a_page_keeps_its_prose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, results = tmp_path / "page.md", tmp_path / "results.jsonl"
    page.write_text(f"# Title\n\n{tables.BEGIN}\nold\n{tables.END}\n\nThe end.\n", encoding="utf-8")
    results.write_text("".join(json.dumps(line) + "\n" for line in ROWS), encoding="utf-8")
    monkeypatch.setattr(tables, "PAGE", page)
    monkeypatch.setattr(tables, "PICTURE", tmp_path / "images" / "rates.svg")
    monkeypatch.setattr(rates, "rows", lambda: [json.loads(x) for x in results.read_text().splitlines()])
    for _ in range(2):
        tables.write()
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# Title\n\n{tables.BEGIN}\n\n### Simulated")
        assert text.endswith(f"{tables.END}\n\nThe end.\n")
        assert "old" not in text
    assert tables.PICTURE.read_text(encoding="utf-8").count("<path") > 20
