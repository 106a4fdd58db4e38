"""A container of Azure Blob Storage, or the blobs below a prefix in it, as a storage.

Credentials come only from the environment. No text of the service or its SDK is copied into messages: either may quote
an address with its signature.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from orchestrator.errors import StorageError
from orchestrator.storage.protocol import Entry, NotThere, Taken

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.storage.blob import BlobProperties, BlobServiceClient

TRIES = 4
"""The SDK's number of retries, after pauses of about 1, 3, 5 and 9 seconds."""

BLOCK = 4 * 2**20
"""Bytes per request; no more of a file is in memory at a time."""

TAKEN = ("BlobAlreadyExists", "UnauthorizedBlobOverwrite")
"""Error codes for an existing blob; the second is for signatures that allow creating but not overwriting."""

LATEST = 2**62
"""The latest valid modification time, in nanoseconds since 1970: the year 2116."""

SCOPE = "https://storage.azure.com/.default"
"""The scope that a token must have."""

CREDENTIALS = (
    "They are taken from AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_KEY, "
    "else as azure-identity finds them ('az login', a managed identity): see docs/storage.md."
)

REFUSED = ("Azure Blob Storage refuses the credentials for {address}.", CREDENTIALS)
FORBIDDEN = ("The credentials don't allow this at {address}.", f"Ask for read, list and create there. {CREDENTIALS}")
ABSENT = ("There is no container at {address}.", "Correct its name, or create it: 'az storage container create'.")
FULL = (
    "The storage account of {address} is full, or at one of its limits.",
    "Free some space, and run the command again.",
)
PROBLEMS = {
    "AuthenticationFailed": REFUSED,
    "InvalidAuthenticationInfo": REFUSED,
    "NoAuthenticationInformation": REFUSED,
    "AuthorizationFailure": FORBIDDEN,
    "AuthorizationPermissionMismatch": FORBIDDEN,
    "AuthorizationProtocolMismatch": FORBIDDEN,
    "AuthorizationResourceTypeMismatch": FORBIDDEN,
    "AuthorizationServiceMismatch": FORBIDDEN,
    "AuthorizationSourceIPMismatch": FORBIDDEN,
    "InsufficientAccountPermissions": FORBIDDEN,
    "ContainerNotFound": ABSENT,
    "ContainerBeingDeleted": ABSENT,
    "ResourceNotFound": ABSENT,
}
"""What failed and the remedy, by the service's error code."""


class Blobs:
    """The blobs of a container whose names begin with ``prefix/``; all of them where there is no prefix."""

    def __init__(self, account: str, container: str, prefix: str) -> None:
        self.address = "/".join(filter(None, ("az:/", account, container, prefix)))
        self._prefix = prefix and f"{prefix}/"
        with translated(self.address):
            self._client = service(account)
            self._container = self._client.get_container_client(container)

    def entries(self) -> Iterator[Entry]:
        """Yield all blobs: one request per 5,000 of them."""
        with translated(self.address):
            for blob in self._container.list_blobs(name_starts_with=self._prefix or None, include=["metadata"]):
                md5 = bytes(blob.content_settings.content_md5 or b"").hex()
                yield Entry(blob.name.removeprefix(self._prefix), blob.size, modified(blob), md5)

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a blob from ``start`` on; the SDK ensures that all are of the same version."""
        from azure.core.exceptions import HttpResponseError

        with translated(self.address):
            try:
                yield from self._container.download_blob(self._prefix + name, offset=start or None).chunks()
            except HttpResponseError as error:
                if code_of(error) == "BlobNotFound":
                    raise NotThere(f"{self.address}/{name} does not exist") from None
                if code_of(error) != "InvalidRange":  # a start at or beyond the end: there are no bytes
                    raise

    def add(self, entry: Entry, content: IO[bytes]) -> None:
        """Upload a blob if there is none of its name; it appears atomically, with its MD5, or not at all."""
        from azure.core.exceptions import HttpResponseError
        from azure.storage.blob import ContentSettings

        with translated(self.address):
            try:
                self._container.upload_blob(
                    self._prefix + entry.name,
                    content,
                    length=entry.size,
                    overwrite=False,  # the SDK sends 'If-None-Match: *'
                    validate_content=True,  # the service compares what has arrived with its MD5
                    content_settings=ContentSettings(content_md5=bytearray.fromhex(entry.md5)),
                    metadata={"modified": str(entry.modified)},
                )
            except HttpResponseError as error:
                if code_of(error) in TAKEN:
                    raise Taken from None
                raise

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def service(account: str) -> "BlobServiceClient":
    """The client of a storage account, with the first credentials that the environment has."""
    from azure.core.credentials import AzureSasCredential
    from azure.storage.blob import BlobServiceClient, ExponentialRetry

    from orchestrator.system.certificates import ca_bundle

    logging.getLogger("azure").propagate = False  # it logs addresses
    logging.getLogger("azure").addHandler(logging.NullHandler())
    options: dict[str, Any] = {
        "retry_policy": ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=TRIES),
        "connection_verify": ca_bundle(),
        **dict.fromkeys(("max_single_put_size", "max_block_size", "max_single_get_size", "max_chunk_get_size"), BLOCK),
    }
    if text := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        client = BlobServiceClient.from_connection_string(text, **options)
        if client.account_name not in (account, None):
            raise StorageError(
                f"AZURE_STORAGE_CONNECTION_STRING is not for the account {account!r}.",
                f"It is for {client.account_name!r}.",
                "Correct the location, or unset the variable.",
            )
        return client
    credential: Any
    if token := os.environ.get("AZURE_STORAGE_SAS_TOKEN"):
        credential = AzureSasCredential(token)
    elif key := os.environ.get("AZURE_STORAGE_KEY"):
        credential = {"account_name": account, "account_key": key}
    else:
        from azure.identity import DefaultAzureCredential

        credential = DefaultAzureCredential(connection_verify=options["connection_verify"])
        credential.get_token(SCOPE)  # once, here: in a request, the SDK would retry what can't succeed
    endpoint = os.environ.get("AZURE_STORAGE_SERVICE_ENDPOINT") or f"https://{account}.blob.core.windows.net"
    return BlobServiceClient(endpoint, credential=credential, **options)


def modified(blob: "BlobProperties") -> int:
    """Return when the uploaded file was last modified, else when it was uploaded, in nanoseconds since 1970."""
    told = (blob.metadata or {}).get("modified", "")
    if told.isdecimal() and len(told) <= len(str(LATEST)) and int(told) <= LATEST:
        return int(told)
    return int(blob.last_modified.timestamp()) * 10**9


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Turn the SDK's errors into a StorageError that quotes nothing from them."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise problem(address, error) from None
    except (ValueError, TypeError):  # by the SDK, of settings or answers that it can't read, which it may quote
        what = f"The credentials or the endpoint for {address} are malformed, or another service answers there."
        raise StorageError(what, remedy=CREDENTIALS) from None


def problem(address: str, error: "AzureError") -> StorageError:
    """Return an error by the service's error code, or by the kind of error if the service did not answer."""
    from azure.core.exceptions import ClientAuthenticationError

    status, code = getattr(error, "status_code", None), code_of(error)
    if status is None:
        if isinstance(error, ClientAuthenticationError):
            return StorageError(f"There are no usable credentials for {address}.", remedy=CREDENTIALS)
        why = "The connection was refused, broke off, or took too long."
        return StorageError(f"{address} can't be reached.", why, "Run the command again: it goes on where it stopped.")
    unknown = (f"{{address}} answered HTTP {status}.", "Run the command again: it goes on where it stopped.")
    full = status == 507 or re.search("Quota|LimitExceeded|CapacityExceeded", code)
    denied = REFUSED if status == 401 else FORBIDDEN if status == 403 else unknown
    what, remedy = FULL if full else PROBLEMS.get(code, denied)
    return StorageError(what.format(address=address), f"{code or 'No error code'} (HTTP {status}).", remedy)


def code_of(error: "AzureError") -> str:
    """Return the service's error code; empty for anything else that a server may send in its place."""
    told = getattr(error, "error_code", None)
    code = str(getattr(told, "value", told or ""))  # an enumeration, where the SDK knows it
    return code if re.fullmatch("[A-Za-z0-9]{1,60}", code) else ""
