"""Where this program keeps what it has fetched and made."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where everything downloaded is kept: ``ROSETTA_CACHE``, else ``~/.cache/rosetta``."""
    return Path(os.environ.get("ROSETTA_CACHE") or "~/.cache/rosetta").expanduser()
