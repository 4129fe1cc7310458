"""The first page in a real browser: values move, the chip tells when they do not, and nothing leaves this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from server_under_test import Server, instances, produce, server

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
A = "is.iceland.iot4cps-wp5-WeatherService.Stations"
NAME = "Station_1.Air Temperature"
ROW = f'[data-key="{A}.int:{A}.{NAME}"]'
SLOW_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator[object]:
    context = browser.new_context()
    page = context.new_page()
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.hosts = set()
    page.on("request", lambda request: page.hosts.add(request.url.split("/")[2]))
    yield page
    context.close()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("browser") / "data") as running:
        register(running)
        produce(running, A, NAME, [1.5])
        yield running


def register(on: Server) -> None:
    on.post(f"/api/v1/systems/{A}/instances", {"client": "c", "instances": instances()}, status=200)


def shows(page, selector: str, text: str) -> None:
    page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.textContent.trim() === t", arg=[selector, text], timeout=SLOW_MS
    )


def open_page(page, url: str) -> None:
    """Until it is live and shows the row (a first value may still be on its way to the page)."""
    page.goto(url)
    for _ in range(50):
        if page.locator(ROW).count():
            break
        page.wait_for_timeout(200)
        page.reload()
    shows(page, "#chip", "Live")


def test_values_change_without_a_reload(up: Server, page) -> None:
    open_page(page, up.url)
    produce(up, A, NAME, [2.25])
    shows(page, f"{ROW} .value", "2.25")
    assert page.locator(f"{ROW} td").nth(1).text_content() == "°C"
    assert "ago" in page.locator(f"{ROW} time").text_content()
    assert page.problems == []
    assert page.hosts == {f"localhost:{up.port}"}


def test_a_new_datastream_waits_behind_a_link(up: Server, page) -> None:
    open_page(page, up.url)
    produce(up, A, "Station_1.Road Temperature", [0.5])
    shows(page, "#new a", "1 new Datastream: show")
    page.locator("#new a").click()
    page.wait_for_selector(f'[data-key="{A}.int:{A}.Station_1.Road Temperature"]', timeout=SLOW_MS)


def test_eight_tabs_share_one_stream(up: Server, browser) -> None:
    """HTTP/1.1 browsers allow six connections to a server: with a stream per tab the seventh would hang."""
    context = browser.new_context()
    tabs = [context.new_page() for _ in range(8)]
    for tab in tabs:
        open_page(tab, up.url)
    produce(up, A, NAME, [12.5])
    shows(tabs[0], f"{ROW} .value", "12.5")
    shows(tabs[7], f"{ROW} .value", "12.5")
    context.close()


def test_pause_stops_what_moves(up: Server, page) -> None:
    open_page(page, up.url)
    page.get_by_role("button", name="Pause").click()
    assert page.locator("#chip").text_content().startswith("Paused, values as of ")
    before = page.locator(f"{ROW} .value").text_content()
    produce(up, A, NAME, [77.0])
    page.wait_for_timeout(1500)
    assert page.locator(f"{ROW} .value").text_content() == before
    page.get_by_role("button", name="Resume").click()
    shows(page, f"{ROW} .value", "77")


def test_without_script_everything_is_there(up: Server, browser) -> None:
    produce(up, A, NAME, [3.0])
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(up.url)
    for _ in range(50):
        if page.locator(f"{ROW} .value").text_content() == "3":
            break
        page.wait_for_timeout(200)
        page.reload()
    assert page.locator(f"{ROW} .value").text_content() == "3"
    assert page.locator("#chip").text_content().startswith("Values as of ")
    assert not page.locator("#pause").is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages_do_not_scroll_sideways(up: Server, browser, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page = context.new_page()
    page.goto(up.url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    context.close()


def test_a_stopped_server_is_said_within_seconds_and_comes_back(tmp_path: Path, page) -> None:
    with server(tmp_path / "data") as first:
        register(first)
        produce(first, A, NAME, [1.0])
        open_page(page, first.url)
        first.stop()
        page.wait_for_function(
            "() => document.getElementById('chip').textContent.startsWith('Reconnecting, values as of ')", timeout=5_000
        )
        assert page.evaluate("document.body.classList.contains('stale')")
    with server(tmp_path / "data", port=first.port) as second:
        shows(page, "#chip", "Live")
        produce(second, A, NAME, [4.0])
        shows(page, f"{ROW} .value", "4")
