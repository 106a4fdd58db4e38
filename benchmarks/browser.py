"""A headless Chromium for tests, benchmarks and pictures of pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = os.environ.get("ROSETTA_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
"""The browser's program; None where there is none."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that ends with the context."""
    root = ["--no-sandbox"] if os.getuid() == 0 else []  # as root, Chromium has no sandbox
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=root)
        yield browser
        browser.close()
