"""What a reader has to be able to see: no words over a curve, a tick or each other, and numbers in line."""

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plotly")
pytest.importorskip("selenium")

from autowu import replay
from autowu.offline import what_if
from autowu.report import figures, output, page, what_if_figure
from autowu.runlog.run import Run, read
from report import simulated
from report.browser import chromium, drawn

# Headings of the figures in which two ticks of an axis, or a name and the buttons in the corner, overlap.
CLASHES = """
    const boxes = (place, which) => [...place.querySelectorAll(which)].map((e) => e.getBoundingClientRect());
    const beside = (a, b) => a.right < b.left || b.right < a.left;
    const over = (a, b) => !beside(a, b) && a.top < b.bottom - 3 && b.top < a.bottom - 3;
    const among = (all) => all.some((a, i) => all.slice(i + 1).some((b) => over(a, b)));
    const bad = (place) =>
        [".xtick text", ".ytick text", ".y2tick text"].some((ticks) => among(boxes(place, ticks))) ||
        boxes(place, ".legendtext").some((a) => boxes(place, ".modebar-btn").some((b) => over(a, b)));
    const drawn = [...document.querySelectorAll(".figure")].filter((place) => place.data);
    return drawn.filter(bad).map((place) => place.getAttribute("aria-label"));
"""


def runs(folder: Path, many: int) -> list[Run]:
    return [read(simulated.autowu(folder / f"run{i}")) for i in range(many)]


@pytest.mark.parametrize("many", [1, 2, 3])
def test_words_at_the_top_stand_above_the_curve_of_the_learning_rate(tmp_path: Path, many: int) -> None:
    found = runs(tmp_path, many)
    low, high = figures.learning_rate_and_loss(found)["layout"]["yaxis"]["range"]
    highest = max(math.log10(run.lrs.max()) for run in found)
    assert (high - highest) / (high - low) * 255 >= figures.ROW * many


def test_only_words_are_aligned_to_the_left(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, 1)
    run.config.pop("optimizer")  # so that the third column is one of numbers
    text = page.page([run], "var Plotly = {};")
    assert '<td class="words" data-name="schedule">' in text
    assert '<td data-name="peak LR">' in text


def cases() -> list[what_if.Case]:
    """Of a loss whose minimum some settings do not find, so that the peaks span decades."""
    x, rng = np.arange(600) / 600, np.random.default_rng(0)
    course = np.interp(x, [0, 0.08, 0.2, 0.25, 0.3, 0.32, 1], [2.3, 2.3, 0.5, 0.4, 0.8, 0.3, 0.05])
    losses = course * rng.normal(1, 0.05, 600)
    return what_if.cases(replay(losses), lambda **changed: replay(losses, **changed))


def test_a_cap_is_told_in_the_table_too() -> None:
    found = cases()
    capped = sum(bool(case.replay.capped) for case in found)
    assert 0 < capped < len(found)
    assert what_if_figure.section(found).html.count("(cap)") == capped


@pytest.mark.parametrize("width", [1280, 390])
def test_no_ticks_or_names_are_written_over_each_other(tmp_path: Path, width: int) -> None:
    path = tmp_path / "page.html"
    output.write_page(path, lambda: runs(tmp_path, 6), [what_if_figure.section(cases())])
    with chromium(width) as session:
        session.get(path.as_uri())
        drawn(session)
        assert session.execute_script(CLASHES) == []


def test_a_linear_axis_of_learning_rates_leaves_no_more_room_than_words_need(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    output.write_page(path, lambda: runs(tmp_path, 1))
    with chromium() as session:
        session.get(path.as_uri())
        drawn(session)
        script = """
            const choice = document.querySelector("[data-control='lr']");
            choice.value = "linear";
            choice.dispatchEvent(new Event("change", { bubbles: true }));
            const figure = document.querySelector(".figure");
            return Math.max(...figure.data[0].y) / figure._fullLayout.yaxis.range[1];
        """
        assert 0.75 < session.execute_script(script) < 0.92
