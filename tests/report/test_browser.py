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
    assert session.execute_script(f"return {FIGURE}.length") == 5
    legends = session.find_elements(By.CSS_SELECTOR, ".figure:first-of-type .legendtext")
    assert {"autowu", "baseline"} <= {legend.text for legend in legends}
    assert len(session.find_elements(By.CSS_SELECTOR, ".runs tbody tr")) == 2
    assert complaints(session) == []


def test_the_slider_moves_through_the_tests(
    session: webdriver.Chrome, autowu_run: Path, tmp_path: Path
) -> None:
    session.get(page([autowu_run], tmp_path / "page.html"))
    drawn(session)
    rail = session.find_elements(By.CSS_SELECTOR, ".figure")[1].find_element(
        By.CSS_SELECTOR, ".slider-rail-rect"
    )
    before = session.execute_script(f"return {FIGURE}[1].data[3].x.slice(-1)[0]")
    ActionChains(session).move_to_element(rail).click().perform()
    until(session, lambda: session.execute_script(f"return {FIGURE}[1].data[3].x.slice(-1)[0]") < before)
    words = session.execute_script(f"return {FIGURE}[1].layout.annotations[0].text")
    assert "of 5 subsets" in words


def test_hovering_tells_the_values(session: webdriver.Chrome, autowu_run: Path, tmp_path: Path) -> None:
    session.get(page([autowu_run], tmp_path / "page.html"))
    drawn(session)
    plot = session.find_element(By.CSS_SELECTOR, ".figure .nsewdrag")
    ActionChains(session).move_to_element(plot).perform()
    label = until(session, lambda: session.find_elements(By.CSS_SELECTOR, ".figure .hoverlayer .legend text"))
    assert any("autowu" in text.text for text in label)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
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
    rail = session.find_elements(By.CSS_SELECTOR, ".figure")[1].find_element(
        By.CSS_SELECTOR, ".slider-rail-rect"
    )
    ActionChains(session).move_to_element(rail).click().perform()
    chosen = f"const s = {FIGURE}[1].layout.sliders[0]; return s.steps[s.active].label"
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
