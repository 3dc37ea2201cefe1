"""A real Chromium without a window, for tests of the page as readers see it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

import limits

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextmanager
def chromium(width: int = 1280, height: int = 900, *, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser; the test is skipped where there is none, or none that a driver can be had for."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs Chromium and its driver (on Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=Service(driver))
    try:
        session.set_page_load_timeout(limits.HANG)
        session.set_script_timeout(limits.HANG)
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
        session.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        session.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield session
    finally:
        session.quit()


def until(session: webdriver.Chrome, condition: Callable[[], Any]) -> Any:
    """Wait until ``condition()`` holds; what it gave."""
    return WebDriverWait(session, limits.HANG, poll_frequency=0.05).until(lambda _: condition())


def drawn(session: webdriver.Chrome) -> None:
    """Wait until every figure has been drawn that is not folded away."""
    script = """
        const places = [...document.querySelectorAll('.figure')].filter((place) => !place.closest('details'));
        return places.length > 0 && places.every((place) => place.querySelector('.main-svg'));
    """
    until(session, lambda: session.execute_script(script))


def complaints(session: webdriver.Chrome) -> list[str]:
    """What the browser's console has to say: errors, and what the content-security policy has stopped."""
    return [entry["message"] for entry in session.get_log("browser") if entry["level"] != "INFO"]
