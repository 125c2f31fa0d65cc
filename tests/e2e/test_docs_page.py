"""The page at /docs, in a real browser: it shows the document, and a request sent from it is answered."""

import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.e2e.service import Service, token

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
# Where to put a picture of the page, for somebody to look at.
SCREENSHOT = os.environ.get("TEST_SCREENSHOT")

ENTITIES = Path(__file__).parents[2] / "examples/entities.toml"
# What is sent as the page has it, and what the answer shows.
TRIED = {
    "postPostUserFavorites": "receipts",
    "getGetUserFavorites": "2017-05-02T10:45",
    "postSyncNotes": "applied",
    "getSyncNotes": "An example",
    "postSync": "duplicate",
    "getSync": "notes",
}

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver: apt-get install chromium chromium-driver"
)


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    profile = tempfile.mkdtemp(prefix="favsync-chromium-")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        "--window-size=1200,1600", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


def test_a_request_is_tried_from_the_page(dsn: str, browser: webdriver.Chrome) -> None:
    wait = WebDriverWait(browser, 30)

    def find(selector: str, within: WebElement | None = None) -> WebElement:
        return wait.until(lambda driver: (within or driver).find_element(By.CSS_SELECTOR, selector))

    with Service(database_url=dsn, config=ENTITIES) as service:
        browser.get("about:blank")
        _log(browser, "performance")  # what the browser asks for at its own start is not ours
        browser.get(f"{service.url}/docs")
        find("button.authorize").click()
        find(".auth-container input").send_keys(token("ann"))
        find(".auth-btn-wrapper button.authorize").click()
        find(".auth-btn-wrapper button.btn-done").click()
        for operation, expected in TRIED.items():
            block = find(f"[id$='{operation}']")
            find("button.opblock-summary-control", block).click()
            for field in block.find_elements(By.CSS_SELECTOR, ".parameters input[type=text]"):
                field.clear()
            find("button.execute", block).click()
            shown = find(".live-responses-table .response .response-col_description", block)
            wait.until(functools.partial(_holds, shown, expected))
            assert find(".live-responses-table .response .response-col_status", block).text.startswith("200")
        if SCREENSHOT:
            browser.save_screenshot(SCREENSHOT)
        assert service.request("GET", "/getUserFavorites").content
        assert not [message for level, message in _log(browser, "browser") if level == "SEVERE"]
        asked = [
            url for _, message in _log(browser, "performance") for url in re.findall(r'"url":"(http[^"]*)"', message)
        ]
        assert asked
        assert [url for url in asked if not url.startswith(service.url)] == [], "something came from elsewhere"


def _holds(element: WebElement, text: str, _browser: webdriver.Chrome) -> bool:
    return text in element.text


def _log(browser: webdriver.Chrome, name: str) -> list[tuple[str, str]]:
    entries = browser.get_log(name)  # type: ignore[no-untyped-call]
    return [(entry["level"], entry["message"]) for entry in entries]


def test_a_page_of_a_configured_origin_reads_the_answer(dsn: str, browser: webdriver.Chrome) -> None:
    """CORS as a browser has it: the page is another service's, on another port."""
    script = """
      const [url, token, done] = arguments;
      fetch(url + "/getUserFavorites", {headers: {Authorization: "Bearer " + token, Prefer: "x"}})
        .then(async answer => done([answer.status, await answer.json(), answer.headers.get("Sync-Cursor")]))
        .catch(error => done(String(error)));
    """
    with Service(database_url=dsn) as page, Service(database_url=dsn, cors_origins=page.url) as service:
        browser.get(f"{page.url}/healthz")
        status, content, cursor = browser.execute_async_script(script, service.url, token("ann"))
        assert (status, content, len(cursor)) == (200, [], 34)
        browser.get(f"{service.url}/healthz")
        assert "Failed to fetch" in browser.execute_async_script(script, page.url, token("ann"))
