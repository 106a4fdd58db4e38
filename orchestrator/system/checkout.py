"""The git checkout that this program runs from, or the one that it was installed from: its commit, its origin."""

import json
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.system.library_folders import PACKAGE, PACKED

ROOT: Path | None = None if PACKED.is_dir() else PACKAGE.parent
"""The checkout, with README.md, docs/ and tests/; None where the program is an installed package."""


@cache
def commit() -> tuple[str, bool] | None:
    """Return the commit of this program and whether it was changed since; None if unknown."""
    if ROOT is None:
        revision = installed_from().get("vcs_info", {}).get("commit_id")
        return (str(revision), False) if revision else None
    try:
        revision, changes = (
            subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "orchestrator", "images", "workloads"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision.strip(), bool(changes)


def origin() -> str:
    """Return the address that the checkout was cloned from if it is an https URL, without credentials; else ""."""
    try:
        url = urlsplit(installed_from().get("url", "") if ROOT is None else remote(ROOT))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return ""
    return f"https://{url.netloc.rpartition('@')[2]}{url.path}" if url.scheme == "https" else ""


def remote(checkout: Path) -> str:
    """Return the URL of the git remote origin."""
    command = ["git", "-C", str(checkout), "remote", "get-url", "origin"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def installed_from() -> dict[str, Any]:
    """Return where pip installed this package from, if not from an index: PEP 610's direct_url.json."""
    try:
        content = json.loads(distribution("rosetta-matrix").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
