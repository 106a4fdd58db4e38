"""The pictures of README and docs/report.md: pages of what is in docs/results, as a headless Chromium shows them.

usage: python docs/pictures/make.py

``made-from`` beside them names the results that they show, so that a test can tell when they are out of date.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
RESULTS = ROOT / "docs" / "results"
MADE_FROM = FOLDER / "made-from"

PAGES = {"overview": "index.html", "charts": "charts.html", "stone": "stone-rnn.html#pytorch+jax"}
FIGURES = {"gru": ("charts.html", "GRU on IMDB: CPU, Intel Xeon Processor, 1 core")}
"""A single chart of a page, by its title."""


def digest_of_results() -> str:
    """The SHA-256 of all files in docs/results, with their names."""
    digest = hashlib.sha256()
    for path in sorted(RESULTS.glob("*.parquet")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def main() -> None:
    """Write a PNG for each page and chart."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.browser import chromium
    from orchestrator.report.site import pages

    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        pages.write(RESULTS, Path(name))
        page = browser.new_page(viewport={"width": 1120, "height": 720}, color_scheme="light")

        def open_page(path: str) -> None:
            page.goto(f"{Path(name).as_uri()}/{path}")
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(500)  # charts are drawn after the page has loaded

        for picture, path in PAGES.items():
            open_page(path)
            page.screenshot(path=FOLDER / f"{picture}.png")
        for picture, (path, title) in FIGURES.items():
            open_page(path)
            page.locator("figure", has=page.get_by_role("heading", name=title, exact=True)).screenshot(
                path=FOLDER / f"{picture}.png"
            )
    MADE_FROM.write_text(digest_of_results() + "\n")


if __name__ == "__main__":
    main()
