"""The checkout of this program: where it lies, its commit, its origin."""

import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: matrix.yaml, images/ and workloads/ lie here."""


@cache
def commit() -> tuple[str, bool] | None:
    """The commit that this orchestrator was checked out at, and whether it was changed since; None without git."""
    try:
        revision, changes = (
            subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "orchestrator", "images", "workloads"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision.strip(), bool(changes)


def origin() -> str:
    """The address that the checkout was cloned from, if it is a web address; without what logs in to it."""
    command = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
    try:
        url = urlsplit(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return ""
    return f"https://{url.netloc.rpartition('@')[2]}{url.path}" if url.scheme == "https" else ""
