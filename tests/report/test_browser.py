"""The page in a real browser: sliders, hover, several runs, colours, widths, the live view, a long log."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("selenium")
pytest.importorskip("plotly")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from autowu import report
from autowu.report import output, watch
from report import simulated
from report.browser import chromium, complaints, drawn, until

FIGURE = "document.querySelectorAll('.figure')"


def page(folders: list[Path], output_path: Path) -> str:
    output.write_page(output_path, lambda: report.read(folders))
    return output_path.as_uri()


@pytest.fixture
def session() -> Iterator[webdriver.Chrome]:
    with chromium() as browser:
        yield browser


def test_several_runs_are_drawn_and_nothing_complains(
    session: webdriver.Chrome, autowu_run: Path, baseline_run: Path, tmp_path: Path
) -> None:
    session.get(page([autowu_run, baseline_run], tmp_path / "page.html"))
    drawn(session)
    assert session.execute_script(f"return {FIGURE}.length") == 6
    legends = session.find_elements(By.CSS_SELECTOR, ".figure:first-of-type .legendtext")
    assert {"autowu", "baseline"} <= {legend.text for legend in legends}
    assert len(session.find_elements(By.CSS_SELECTOR, ".runs tbody tr")) == 2
    assert complaints(session) == []


def test_the_slider_moves_through_the_tests(
    session: webdriver.Chrome, autowu_run: Path, tmp_path: Path
) -> None:
    session.get(page([autowu_run], tmp_path / "page.html"))
    drawn(session)
    rail = session.find_elements(By.CSS_SELECTOR, ".figure")[2].find_element(
        By.CSS_SELECTOR, ".slider-rail-rect"
    )
    before = session.execute_script(f"return {FIGURE}[2].data[3].x.slice(-1)[0]")
    ActionChains(session).move_to_element(rail).click().perform()
    until(session, lambda: session.execute_script(f"return {FIGURE}[2].data[3].x.slice(-1)[0]") < before)
    words = session.execute_script(f"return {FIGURE}[2].layout.annotations[0].text")
    assert "of 5 subsets" in words


def test_hovering_tells_the_values(session: webdriver.Chrome, autowu_run: Path, tmp_path: Path) -> None:
    session.get(page([autowu_run], tmp_path / "page.html"))
    drawn(session)
    plot = session.find_element(By.CSS_SELECTOR, ".figure .nsewdrag")
    ActionChains(session).move_to_element(plot).perform()
    label = until(session, lambda: session.find_elements(By.CSS_SELECTOR, ".figure .hoverlayer .legend text"))
    assert any("autowu" in text.text for text in label)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_fits_and_follows_the_colour_scheme(
    autowu_run: Path, baseline_run: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    with chromium(width, dark=dark) as session:
        session.get(page([autowu_run, baseline_run], tmp_path / "page.html"))
        drawn(session)
        assert session.execute_script("return document.documentElement.scrollWidth") <= width
        background = session.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
        assert session.execute_script(f"return {FIGURE}[0]._fullLayout.paper_bgcolor") == (
            "#15181c" if dark else "#ffffff"
        )
        session.find_element(By.CSS_SELECTOR, "summary").click()
        assert session.execute_script("return document.documentElement.scrollWidth") <= width


def choose(session: webdriver.Chrome, control: str, value: str) -> None:
    session.find_element(By.CSS_SELECTOR, f"[data-control={control}] option[value={value}]").click()


def test_the_reader_chooses_axes_and_smoothing(
    session: webdriver.Chrome, autowu_run: Path, baseline_run: Path, tmp_path: Path
) -> None:
    session.get(page([autowu_run, baseline_run], tmp_path / "page.html"))
    drawn(session)
    ends = f"const f = {FIGURE}[0]; return [f.data[0].x.at(-1), f.layout.shapes[0].x1]"
    assert session.execute_script(ends) == [1000, 400]
    choose(session, "x", "epoch")
    assert session.execute_script(ends) == [40, 16]
    assert session.execute_script(f"return {FIGURE}[0].layout.xaxis.title.text") == "epoch"
    choose(session, "x", "time")
    assert session.execute_script(ends) == pytest.approx([1000 * 64 / 9e3, 400 * 64 / 9e3], rel=1e-3)
    assert session.execute_script(f"return {FIGURE}[0].layout.xaxis.title.text") == "seconds"
    choose(session, "x", "step")
    assert session.execute_script(ends) == [1000, 400]

    axis = f"const a = {FIGURE}[0]._fullLayout.yaxis2; return [a.type, a.range[0], a.range[1]]"
    before = session.execute_script(axis)
    assert before[0] == "log"
    choose(session, "loss", "linear")
    assert session.execute_script(axis) == ["linear", 0, pytest.approx(10 ** before[2])]
    choose(session, "lr", "linear")
    assert session.execute_script(f"return {FIGURE}[0]._fullLayout.yaxis.type") == "linear"

    kinds = f"return {FIGURE}[0].data.filter((t) => t.visible !== false).map((t) => t.meta.kind)"
    assert "smooth" in session.execute_script(kinds)
    rough = (
        f"const y = {FIGURE}[0].data[1].y; return y.slice(1).reduce((s, v, i) => s + Math.abs(v - y[i]), 0)"
    )
    usual = session.execute_script(rough)
    choose(session, "smoothing", "strong")
    assert session.execute_script(rough) < usual
    choose(session, "smoothing", "none")
    assert "smooth" not in session.execute_script(kinds)
    assert complaints(session) == []


def test_many_runs_are_sorted_and_filtered_and_their_decisions_open_by_the_contents(
    session: webdriver.Chrome, tmp_path: Path
) -> None:
    folders = [
        simulated.autowu(tmp_path / f"run{i}", optimizer=o) for i, o in enumerate(["sgd", "adamp"] * 2)
    ]
    folders.append(simulated.baseline(tmp_path / "run10", optimizer="sgd"))
    session.get(page(folders, tmp_path / "page.html"))
    drawn(session)
    folded = f"return [...{FIGURE}].filter((p) => !p.data).length"
    assert session.execute_script(folded) == 8

    rows = "return [...document.querySelectorAll('.runs tbody tr')].filter((r) => !r.hidden)"
    names = f"{rows}.map((r) => r.cells[0].textContent)"
    by = session.find_elements(By.CSS_SELECTOR, ".runs th button")
    by[3].click()  # peak LR
    assert session.execute_script(names)[0] == "run10"
    by[3].click()
    assert session.execute_script(names)[-1] == "run10"
    by[0].click()
    assert session.execute_script(names) == ["run0", "run1", "run2", "run3", "run10"]

    session.find_element(By.ID, "filter").send_keys("sgd")
    assert session.execute_script(names) == ["run0", "run2", "run10"]
    assert session.find_element(By.ID, "matching").text == "3 of 5"
    shown = f"return [...new Set({FIGURE}[0].data.filter((t) => t.visible !== false).map((t) => t.meta.run))]"
    assert session.execute_script(shown) == [0, 2, 4]
    session.find_element(By.CSS_SELECTOR, "nav a[data-run='2']").click()
    until(session, lambda: session.execute_script(folded) == 7)
    assert complaints(session) == []


def test_zoomed_to_the_minimum_the_slider_takes_the_picture_along(
    session: webdriver.Chrome, autowu_run: Path, tmp_path: Path
) -> None:
    session.get(page([autowu_run], tmp_path / "page.html"))
    drawn(session)
    figure = session.find_elements(By.CSS_SELECTOR, ".figure")[2]
    figure.find_elements(By.CSS_SELECTOR, ".updatemenu-button")[1].click()
    ends = f"return {FIGURE}[2]._fullLayout.yaxis.range"
    near = (
        f"const f = {FIGURE}[2]; return f.layout.meta.near[f.layout.sliders[0].active] ?? f.layout.meta.whole"
    )
    until(session, lambda: session.execute_script(ends) == session.execute_script(near))
    last = session.execute_script(ends)
    ActionChains(session).move_to_element(
        figure.find_element(By.CSS_SELECTOR, ".slider-rail-rect")
    ).click().perform()
    until(session, lambda: session.execute_script(ends) != last)
    until(session, lambda: session.execute_script(ends) == session.execute_script(near))


def test_no_words_are_cut_on_a_phone(autowu_run: Path, tmp_path: Path) -> None:
    late = simulated.autowu(tmp_path / "a-run-with-a-long-name", switch=560, t_star=500)
    with chromium(390) as session:
        session.get(page([autowu_run, late], tmp_path / "page.html"))
        drawn(session)
        cut = f"""
            return [...{FIGURE}].flatMap((place) => {{
                const edge = place.getBoundingClientRect();
                return [...place.querySelectorAll(".annotation")].filter((note) => {{
                    const box = note.getBoundingClientRect();
                    return box.width && (box.right > edge.right + 1 || box.left < edge.left - 1);
                }}).map((note) => note.textContent);
            }})
        """
        until(session, lambda: session.execute_script(cut) == [])


HOSTILE = [
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<a href='javascript:window.pwned=1'>x</a>",
    "\"'><svg onload=window.pwned=1>",
    "{{constructor.constructor('window.pwned=1')()}}",
]


def test_hostile_names_make_no_element_and_run_nothing(session: webdriver.Chrome, tmp_path: Path) -> None:
    folders = [
        simulated.autowu(tmp_path / f"run{i}", optimizer=name, data=name, **{name: name})
        for i, name in enumerate(HOSTILE)
    ]
    for folder, name in zip(folders, HOSTILE, strict=True):
        log = folder / "log.jsonl"
        log.write_text(log.read_text().replace("the loss has not lifted off", json.dumps(name)[1:-1]))
    runs = [report.runlog.read(folder, name) for folder, name in zip(folders, HOSTILE, strict=True)]
    output.write_page(tmp_path / "page.html", lambda: runs)
    session.get((tmp_path / "page.html").as_uri())
    drawn(session)
    session.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    until(session, lambda: session.execute_script(f"return [...{FIGURE}].every((place) => place.data)"))
    assert session.execute_script("return window.pwned") is None
    assert (
        session.execute_script(
            "return document.querySelectorAll('main img, main a[href^=javascript]').length"
        )
        == 0
    )
    assert session.execute_script("return document.scripts.length") == 3
    assert complaints(session) == []


# --- the live view ------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A run in warm-up and the address of its live page."""
    whole = simulated.autowu(tmp_path / "whole", status="running")
    folder = tmp_path / "live"
    folder.mkdir()
    (folder / "run.json").write_text((whole / "run.json").read_text())
    lines = (whole / "log.jsonl").read_text().splitlines(keepends=True)
    (folder / "log.jsonl").write_text("".join(lines[:300]))
    with watch.Server(watch.Source([folder]), output.plotly_source(), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield folder, f"http://{watch.LOOPBACK}:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_live_page_takes_in_new_data_and_keeps_the_zoom_and_the_chosen_test(
    session: webdriver.Chrome, server: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = server
    session.get(address)
    drawn(session)
    last = f"return {FIGURE}[0].data[0].x.slice(-1)[0]"
    before = session.execute_script(last)

    plot = session.find_element(By.CSS_SELECTOR, ".figure .nsewdrag")
    drag = ActionChains(session).move_to_element_with_offset(plot, -200, -40)
    drag.click_and_hold().move_by_offset(150, 80).release().perform()
    until(session, lambda: session.execute_script(f"return {FIGURE}[0]._fullLayout.xaxis.range[0]") > 1)
    zoom = session.execute_script(f"return {FIGURE}[0]._fullLayout.xaxis.range")
    rail = session.find_elements(By.CSS_SELECTOR, ".figure")[2].find_element(
        By.CSS_SELECTOR, ".slider-rail-rect"
    )
    ActionChains(session).move_to_element(rail).click().perform()
    chosen = f"const s = {FIGURE}[2].layout.sliders[0]; return s.steps[s.active].label"
    test = session.execute_script(chosen)

    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines(keepends=True)
    with (folder / "log.jsonl").open("a") as log:
        log.write("".join(lines[300:]))
    until(session, lambda: session.execute_script(last) > before)
    assert session.execute_script(f"return {FIGURE}[0]._fullLayout.xaxis.range") == zoom
    assert session.execute_script(chosen) == test
    assert "went back to the learning rate" in session.find_element(By.ID, "head").text
    assert session.find_element(By.ID, "live").text.startswith("Live: as of")
    assert complaints(session) == []


def test_the_live_page_says_when_the_run_cannot_be_read(
    session: webdriver.Chrome, server: tuple[Path, str]
) -> None:
    folder, address = server
    session.get(address)
    drawn(session)
    (folder / "log.jsonl").unlink()
    live = session.find_element(By.ID, "live")
    until(session, lambda: live.text.startswith("Not live:"))
    assert "log.jsonl" in live.text


# --- size ---------------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_log_of_a_million_updates_opens_within_three_seconds(
    session: webdriver.Chrome, tmp_path: Path
) -> None:
    folder = simulated.autowu(tmp_path / "run", total=1_000_000, switch=190_000, t_star=170_000, every=5_000)
    address = page([folder], tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 6e6
    session.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})  # not what others use
    session.get(address)
    drawn(session)
    metrics = session.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    assert {metric["name"]: metric["value"] for metric in metrics}["TaskDuration"] < 3
