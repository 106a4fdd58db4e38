"""Comparisons as JUnit's XML, which CI systems show as tests: a cell is a test, one that became slower has failed."""

import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path

from orchestrator.compare.comparison import BAD, Compared, Verdict
from orchestrator.report.comparison import name, numbers
from orchestrator.system.terminal import plain
from orchestrator.system.text_files import write_bytes

SKIPPED = (Verdict.UNSURE, Verdict.NONE)
"""The verdicts that neither pass nor fail: there was not enough to tell by."""


def write(path: Path, every: Sequence[Compared]) -> None:
    """Write the file, whole or not at all. Raises DiskError or StorageError."""
    write_bytes(path, xml.tostring(suite(every), "utf-8", xml_declaration=True) + b"\n")


def suite(every: Sequence[Compared]) -> xml.Element:
    """All comparisons as one suite, with the counts that its readers expect."""
    made = xml.Element(
        "testsuite",
        name="rosetta",
        tests=str(len(every)),
        failures=str(sum(one.verdict in BAD for one in every)),
        errors="0",
        skipped=str(sum(one.verdict in SKIPPED for one in every)),
    )
    made.extend(map(case, every))
    return made


def case(one: Compared) -> xml.Element:
    """Return one cell as a test: library and workload are its class, by which tests are grouped; the time is ours."""
    library_and_workload = ".".join(str(plain(one.cell)).split("/")[:2])
    made = xml.Element("testcase", classname=library_and_workload, name=name(one))
    if one.seconds is not None:
        made.set("time", f"{one.seconds:.3f}")
    outcome = "failure" if one.verdict in BAD else "skipped" if one.verdict in SKIPPED else "system-out"
    told = xml.SubElement(made, outcome)
    if outcome != "system-out":
        told.set("message", headline(one))
    told.text = "\n".join([headline(one), *map(plain, one.reasons), f"baseline: {plain(one.source)}"])
    return made


def headline(one: Compared) -> str:
    """The verdict and its numbers in a line."""
    ours, baseline, ratio = numbers(one)
    return f"{one.verdict}: {ours}, the baseline {baseline}, ratio {ratio}" if ratio else str(one.verdict)
