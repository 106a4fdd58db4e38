"""What tests of pages need: a headless Chromium, and pages that may not misbehave."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from benchmarks.browser import CHROMIUM, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; ROSETTA_CHROMIUM can name one")
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser, request) -> Iterator[Page]:
    """A page that says nothing on its console and asks nobody but the place that it comes from."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda asking: asked.append(asking.url))
    yield opened
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:///", "http://127.0.0.1:", "data:"))] == []
