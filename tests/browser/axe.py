"""axe-core, which looks for faults that keep people out: with a screen reader, by the keyboard, in weak light."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

AXE = Path(os.environ.get("ROSETTA_AXE") or "/opt/rosetta-tools/node_modules/axe-core/axe.min.js")
"""Where .ci/tools installs it."""

SERIOUS = ("serious", "critical")


def faults(page: Page) -> list[str]:
    """The serious and critical faults of the page as it is now, a line each; skips the test where axe-core is not."""
    if not AXE.exists():
        pytest.skip(f"axe-core is not at {AXE}: .ci/tools installs it; ROSETTA_AXE can name another")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations'], preload: false})")["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {fault['nodes'][0]['html'][:200]} ({len(fault['nodes'])})"
        for fault in found
        if fault["impact"] in SERIOUS
    ]
