"""The pictures of docs/report.md: three pages of what is in docs/results, as a headless Chromium shows them.

usage: python docs/screenshots.py
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.browser import chromium
from orchestrator.report.site import pages

PICTURES = {"overview": "index.html", "charts": "charts.html", "stone": "stone-rnn.html#pytorch+jax"}


def main() -> None:
    """Write a PNG for each page."""
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        pages.write(ROOT / "docs" / "results", Path(name))
        page = browser.new_page(viewport={"width": 1120, "height": 720}, color_scheme="light")
        for picture, path in PICTURES.items():
            page.goto(f"{Path(name).as_uri()}/{path}")
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"{picture}.png")
            print(folder / f"{picture}.png")


if __name__ == "__main__":
    main()
