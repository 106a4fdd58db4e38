"""How many cells of the full profile each card can run, platform by platform: the table of docs/platforms.md."""

import os

from orchestrator.plan.selection import selected_cells
from orchestrator.plan.verdicts import Verdict, plan_cells
from orchestrator.report.markdown import put_into, replaced
from orchestrator.system.checkout import ROOT
from orchestrator.system.gpus import CUDA, title_of, version_of
from orchestrator.system.host import Device, Host
from orchestrator.system.library_folders import PROGRAM
from tests.pretended_driver.machines import MACHINES, Machine
from tests.unit.plan.test_verdicts import ENGINE

DOCUMENT = ROOT / "docs" / "platforms.md"
MARKS = "<!-- begin of ready cells, by 'make golden' -->", "<!-- end of ready cells -->"
LAST_DRIVERS = {"k80": "470.256.02"}
"""NVIDIA's last driver for a card that newer ones have dropped; the others still have 580."""

ARM = ("gh200",)
"""Cards that go with NVIDIA's own processor, for which no image is built."""

SHOWN = (
    *("k80", "gtx-1080-ti", "p100", "v100", "t4", "rtx-2080-ti", "a100", "a100-slices", "a10g", "rtx-3090", "rtx-4090"),
    *("l40s", "h100", "gh200", "b200", "mixed"),
)


def host_of(name: str) -> Host:
    """A pretended machine, with the newest driver that its cards have."""
    devices = [each for gpu in MACHINES[name]["gpus"] for each in devices_of(gpu)]
    driver = version_of(LAST_DRIVERS.get(name, "580.65.06"))
    return Host(tuple(devices), driver, architecture="aarch64" if name in ARM else "x86_64")


def devices_of(gpu: Machine) -> list[Device]:
    """A card, or the slices that it is divided into after it."""
    slices = gpu.get("slices", [])
    card = Device(gpu["name"], gpu["uuid"], mig=bool(slices), capability=tuple(gpu["capability"]))
    return [card, *(Device(each["name"], each["uuid"], capability=card.capability) for each in slices)]


def ready(host: Host) -> dict[str, int]:
    """How many cells of the full profile are ready on the cards of a machine, by platform."""
    cells = selected_cells(PROGRAM.path / "matrix.yaml", "full", [], [], {}, lambda: host)
    planned = plan_cells(cells, ENGINE, ROOT / "nowhere", host)
    able = [p.cell for p in planned if p.verdict is Verdict.READY and p.cell.gpu != "none"]
    assert {cell.gpu for cell in able} <= set(host.models)
    return {platform: sum(cell.platform == platform for cell in able) for platform in CUDA}


def table() -> str:
    """The table as Markdown."""
    rows = []
    for name in SHOWN:
        host = host_of(name)
        cards = ", ".join(map(title_of, host.models))
        counts = ready(host)
        assert any(counts.values()) == (name not in ARM), name
        rows.append(f"| {cards} | {' | '.join(str(count or '–') for count in counts.values())} |")
    return "\n".join([f"| cards | {' | '.join(CUDA)} |", f"| --- |{' ---: |' * len(CUDA)}", *rows])


def test_the_document_says_how_many_cells_each_card_can_run(tmp_path, monkeypatch):
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path))  # in which there are no X-rays
    if os.environ.get("ROSETTA_GOLDEN") == "write":
        put_into(DOCUMENT, table(), *MARKS)
    old, new = replaced(DOCUMENT, table(), *MARKS)
    assert old == new, "If the counts are as meant: make golden"
