"""Credentials as azure-identity finds them, over TLS; a program named az stands in for the one that logs people in.

The emulator looks at what a token says and not at who has signed it.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from tests.storage.conftest import Account, emulator
from tests.storage.folders import files, result

pytestmark = pytest.mark.storage

AZ = """#!/bin/sh
echo '{{"accessToken": "{token}", "expires_on": {expires}, "subscription": "-", "tenant": "-"}}'
"""


def encoded(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def token() -> str:
    now = int(time.time())
    claims = {"iss": "https://sts.windows.net/-/", "aud": "https://storage.azure.com", "oid": "-", "tid": "-"}
    claims |= {"iat": now - 60, "nbf": now - 60, "exp": now + 3600, "ver": "1.0"}
    return f"{encoded({'alg': 'RS256', 'typ': 'JWT'})}.{encoded(claims)}.{encoded({})}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine, and a program named az that has logged somebody in."""
    folder = tmp_path_factory.mktemp("identity")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key", "-out"]
    words += [folder / "certificate", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    az = folder / "bin" / "az"
    az.parent.mkdir()
    az.write_text(AZ.format(token=token(), expires=int(time.time()) + 3600))
    az.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def account(folder: Path) -> Iterator[Account]:
    """An emulator that takes tokens."""
    options = ("--oauth", "basic", "--cert", folder / "certificate", "--key", folder / "key")
    with emulator(folder, "https", *options) as made:
        with BlobServiceClient.from_connection_string(
            made.connection_string.replace("Protocol=http;", "Protocol=https;"),
            connection_verify=str(folder / "certificate"),
        ) as service:
            service.create_container("results")
        yield made


def test_who_has_logged_in_needs_no_other_secret(account: Account, folder: Path, tmp_path: Path) -> None:
    result(tmp_path / "here", 0)
    env = {
        "AZURE_STORAGE_CONNECTION_STRING": "",
        "AZURE_STORAGE_SERVICE_ENDPOINT": account.url,
        "AZURE_TOKEN_CREDENTIALS": "dev",  # nothing waits here for a machine's identity
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "ROSETTA_CA_BUNDLE": str(folder / "certificate"),
    }
    for way, name in (("push", "here"), ("pull", "there")):
        done = account.rosetta("sync", way, "az://planted/results", "--results", tmp_path / name, **env)
        assert done.stdout.startswith("2 files copied"), done.stderr
    assert dict(files(tmp_path / "there")) == dict(files(tmp_path / "here"))
    (bearer,) = json.loads((folder / "bin" / "az").read_text().splitlines()[1].split("'")[1])["accessToken"].split()
    written = b"".join(content for _, content in files(tmp_path)).decode("latin-1")
    assert bearer not in "".join(account.said) + written

    done = account.rosetta(
        "sync", "push", "az://planted/results", "--results", tmp_path / "here", **env | {"ROSETTA_CA_BUNDLE": ""}
    )
    assert done.returncode == 13, "whose certificate nobody has vouched for gets no token"
