"""A real Azurite, Microsoft's emulator of Azure Blob Storage, as .ci/tools installs it."""

import base64
import os
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
)

AZURITE = Path("/opt/rosetta-tools/node_modules/.bin/azurite-blob")
SETTINGS = ("CONNECTION_STRING", "SAS_TOKEN", "KEY", "SERVICE_ENDPOINT")


@dataclass(frozen=True)
class Account:
    """A storage account of the emulator, and the user who has its key."""

    name: str
    key: str
    url: str
    said: list[str] = field(default_factory=list)
    """All that commands have printed."""

    @property
    def connection_string(self) -> str:
        return self.connection(self.key)

    def connection(self, key: str) -> str:
        return f"DefaultEndpointsProtocol=http;AccountName={self.name};AccountKey={key};BlobEndpoint={self.url}"

    def sas(self, permission: str = "rlc", minutes: int = 60) -> str:
        """A signature that allows to read, list and create."""
        return generate_account_sas(
            self.name,
            self.key,
            ResourceTypes(container=True, object=True),
            AccountSasPermissions.from_string(permission),
            expiry=datetime.now(UTC) + timedelta(minutes=minutes),
        )

    def words(self, *words: object) -> list[str]:
        return [str(Path(sys.executable).parent / "rosetta"), *map(str, words)]

    def variables(self, env: dict[str, str]) -> dict[str, str]:
        settings = {f"AZURE_STORAGE_{name}": "" for name in SETTINGS}
        settings["AZURE_STORAGE_CONNECTION_STRING"] = self.connection_string
        return {**os.environ, **settings, **env}

    def rosetta(self, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        """A command as a user types it; without other settings, with the connection string."""
        command = self.words(*words)
        done = subprocess.run(command, env=self.variables(env), capture_output=True, text=True, check=False)
        self.said.append(done.stdout + done.stderr)
        return done


@dataclass(frozen=True)
class Container:
    """A container of the account, and what is in it."""

    account: Account
    name: str
    client: ContainerClient

    @property
    def location(self) -> str:
        return f"az://{self.account.name}/{self.name}/here"

    def put(self, name: str, content: bytes) -> None:
        """As another program would: whatever is there is replaced."""
        self.client.upload_blob(f"here/{name}", content, overwrite=True)

    def put_as_it_is(self, name: str, content: bytes) -> None:
        """Under a name that clients would tidy up."""
        url = urlsplit(self.account.url)
        path = f"{url.path}/{self.name}/here/{quote(name)}?{self.account.sas('cw')}"
        connection = HTTPConnection(url.netloc)
        connection.request("PUT", path, content, {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2024-11-04"})
        assert connection.getresponse().status == 201, name
        connection.close()

    def content(self) -> dict[str, bytes]:
        names = list(self.client.list_blob_names(name_starts_with="here/"))
        return {name.removeprefix("here/"): self.client.download_blob(name).readall() for name in names}

    def count(self) -> int:
        return sum(1 for _ in self.client.list_blob_names())


@contextmanager
def emulator(folder: Path, scheme: str = "http", *options: object) -> Iterator[Account]:
    """An emulator with one account, whose key is made for this run."""
    if not AZURITE.exists():
        pytest.skip(f"Azurite is not in {AZURITE.parent}: .ci/tools installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"{scheme}://127.0.0.1:{port}/planted"
    made = Account("planted", base64.b64encode(secrets.token_bytes(64)).decode(), url)
    words = [AZURITE, "--silent", "--disableTelemetry", "--location", folder, "--blobPort", str(port), *options]
    words += ["--skipApiVersionCheck"]  # its newest release is behind the SDK's
    env = {**os.environ, "AZURITE_ACCOUNTS": f"{made.name}:{made.key}"}
    with (folder / "log").open("wb") as log, subprocess.Popen(words, env=env, stdout=log, stderr=log) as process:
        try:
            wait_for(port, process, folder / "log")
            yield made
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"Azurite did not come up: {log.read_text()}")


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The account that most tests use."""
    with emulator(tmp_path_factory.mktemp("azurite")) as made:
        yield made


@pytest.fixture
def container(account: Account) -> Iterator[Container]:
    """An empty container."""
    with BlobServiceClient.from_connection_string(account.connection_string) as service:
        name = f"test-{uuid.uuid4().hex[:12]}"
        yield Container(account, name, service.create_container(name))
