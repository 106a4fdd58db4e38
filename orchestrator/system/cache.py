"""The cache folder for what this program has fetched and made."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for everything downloaded: ``ROSETTA_CACHE``, else ``~/.cache/rosetta``; absolute.

    Cells start elsewhere: a relative path would be another folder there.
    """
    return Path(os.environ.get("ROSETTA_CACHE") or "~/.cache/rosetta").expanduser().absolute()
