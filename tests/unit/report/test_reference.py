"""The page of variables and exit codes says what the code does."""

import os
import re

from orchestrator.report.markdown import put_into, replaced
from orchestrator.report.reference import MARKS, VARIABLES, exit_codes, reference
from orchestrator.system.checkout import ROOT

DOCUMENT = ROOT / "docs" / "reference.md"

INTERNAL = {
    *("ROSETTA_BUILD_PROXIES", "ROSETTA_CLAIM", "ROSETTA_COMPLETE", "ROSETTA_STARTED"),
    *("ROSETTA_SHARED_BY", "ROSETTA_RANK", "ROSETTA_PIPE", "ROSETTA_MEETING"),
    *("ROSETTA_KERNELS_SECONDS", "ROSETTA_GPUS_AT_START", "ROSETTA_FILLING_KERNELS"),
}
"""By which the program's own processes tell each other something."""


def used() -> set[str]:
    """Every variable of ours that the program, its images and its compose file read."""
    places = [ROOT / "docker-compose.yml"]
    for folder in ("orchestrator", "workloads", "images"):
        places += [
            path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".j2", ".sh", ".yaml", ".R", ".jl")
        ]
        places += (ROOT / folder).rglob("Dockerfile")
    own = ROOT / "orchestrator" / "report" / "reference.py"
    return {name for path in places if path != own for name in re.findall(r"ROSETTA_[A-Z_]+[A-Z]", path.read_text())}


def test_every_variable_is_on_the_page_or_is_our_own():
    listed = [name for names in VARIABLES.values() for name in names]
    assert len(listed) == len(set(listed))
    assert used() == set(listed) | INTERNAL


def test_every_error_has_its_code():
    codes = [int(code) for code, _ in exit_codes()]
    assert codes == [*range(23), 130]


def test_the_document_says_so():
    if os.environ.get("ROSETTA_GOLDEN") == "write":
        put_into(DOCUMENT, reference(), *MARKS)
    old, new = replaced(DOCUMENT, reference(), *MARKS)
    assert old == new, "If that is as meant: make golden"
