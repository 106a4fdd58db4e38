"""Turn a location that a user types, az://… or file:///…, into a storage."""

import re
from pathlib import Path

from orchestrator.errors import StorageError
from orchestrator.storage.protocol import Storage
from orchestrator.system.extras import need

AZURE = re.compile(r"az://([a-z0-9]{3,24})/([a-z0-9](?:-?[a-z0-9]){2,62})((?:/(?!\.{1,2}(?:/|$))[\w.+=@,-]+)*)/?", re.A)
FOLDER = re.compile(r"file://(/[^?#\0]*)")


def storage_at(location: str) -> Storage:
    """Return the storage at ``az://account/container/prefix`` or ``file:///path``, without accessing it yet.

    Raises StorageError for any other text, and does not repeat it, as it may hold a secret; MissingPartError if
    Azure's packages are not installed.
    """
    if azure := AZURE.fullmatch(location):
        need("azure")
        from orchestrator.storage.blobs import Blobs

        return Blobs(azure[1], azure[2], azure[3].strip("/"))
    if folder := FOLDER.fullmatch(location):
        from orchestrator.storage.folder import Folder

        return Folder(Path(folder[1]))
    none = "The location is neither az://account/container/prefix nor file:///path."
    if set("?;@") & set(location):
        why = "It can't contain a query or credentials."
        raise StorageError(none, why, "Credentials come from the environment: see docs/storage.md.")
    raise StorageError(none, remedy="Write az://ACCOUNT/CONTAINER or file:///PATH.")
