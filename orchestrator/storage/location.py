"""From what a user types, az://… or file:///…, to a storage."""

import re
from pathlib import Path

from orchestrator.errors import StorageError
from orchestrator.storage.protocol import Storage
from orchestrator.system.extras import need

AZURE = re.compile(r"az://([a-z0-9]{3,24})/([a-z0-9](?:-?[a-z0-9]){2,62})((?:/(?!\.{1,2}(?:/|$))[\w.+=@,-]+)*)/?", re.A)
FOLDER = re.compile(r"file://(/[^?#\0]*)")


def storage_at(location: str) -> Storage:
    """The storage at ``az://account/container/prefix`` or ``file:///path``; it is not looked at yet.

    Raises StorageError for any other text, which it does not repeat: somebody may have put a secret into it; and
    MissingPartError where Azure's packages are not installed.
    """
    if azure := AZURE.fullmatch(location):
        need("azure")
        from orchestrator.storage.blobs import Blobs

        return Blobs(azure[1], azure[2], azure[3].strip("/"))
    if folder := FOLDER.fullmatch(location):
        from orchestrator.storage.folder import Folder

        return Folder(Path(folder[1]))
    raise StorageError(
        "The location is neither az://account/container/prefix nor file:///path.",
        "It can't have a query, and no credentials in it." if set("?;@") & set(location) else "",
        "Credentials come from the environment: see docs/storage.md.",
    )
