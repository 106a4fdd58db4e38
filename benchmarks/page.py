"""How long the page of all cells takes to open with many rows, in a headless Chromium, from the disk.

From the start of the navigation until the page was drawn with all of its rows; a new browser context each time, the
page's files in the system's cache. Rows as real cells leave them, from benchmarks/merge.py, of cells on seven kinds of
hardware in two precisions and many rounds.

usage: python benchmarks/page.py [--rows 10000] [--rounds 5]
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import merge
from benchmarks.agreeing import agreeing
from benchmarks.browser import chromium
from orchestrator.cell.cell import Cell
from orchestrator.compare import published_2018
from orchestrator.report.site import pages
from orchestrator.results.files import table_of, write_results
from orchestrator.results.rows import unfilled_row

DRAWN = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"
"""Milliseconds from the navigation's start until after the frame that is drawn next."""

HARDWARE = (
    *(("cpu", "none"), ("cuda8", "k80"), ("cuda9", "p100"), ("cuda9", "v100")),
    *(("cuda12", "v100"), ("cuda12", "h200"), ("cuda13", "h200")),
)


def main() -> None:
    """Write the pages, open three of them in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rosetta-page-") as name:
        folder = Path(name)
        write_results(table_of(list(rows(arguments.rows))), folder / "all.parquet")
        started = time.perf_counter()
        count = pages.write(folder / "all.parquet", folder / "site")
        print(f"{count:,} pages of {arguments.rows:,} rows written in {time.perf_counter() - started:.1f} s")
        opened_pages = ("cells.html", "index.html", "charts.html")
        opened: dict[str, list[float]] = {page: [] for page in opened_pages}
        with chromium() as browser:
            for number in range(arguments.rounds + 1):
                for page in opened_pages:
                    seconds = open_page(browser, folder / "site" / page, arguments.rows if page == "cells.html" else 0)
                    if number:
                        opened[page].append(seconds)
        for page, times in opened.items():
            size = (folder / "site" / page).stat().st_size / 1e6
            each = ", ".join(f"{seconds:.2f}" for seconds in times)
            print(f"{page:12} {size:5.1f} MB  median {statistics.median(times):.2f} s  ({each})")


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows of the published length, round after round over the same cells."""
    points = itertools.product(range(count), published_2018.LIBRARIES, ("cnn", "rnn"), HARDWARE, ("fp32", "amp-fp16"))
    for row, (repeat, library, workload, (platform, gpu), precision) in zip(merge.rows(count), points, strict=False):
        cell = Cell(library, workload, platform, gpu, precision=precision, repeat=repeat)
        fixed = ("cell", "library", "workload", "platform", "gpu", "precision", "repeat", "epochs", "samples")
        own = {**unfilled_row(cell), "n_gpus": int(gpu != "none"), "cores": 8}
        yield agreeing({**row, **{name: own[name] for name in (*fixed, "n_gpus", "workers", "cores")}})


def open_page(browser: Browser, path: Path, rows: int) -> float:
    """Seconds until a page is drawn; all of its ``rows`` are there then."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="load")
    seconds = page.evaluate(DRAWN) / 1000
    assert page.locator("tbody tr").count() >= rows
    context.close()
    return float(seconds)


if __name__ == "__main__":
    main()
