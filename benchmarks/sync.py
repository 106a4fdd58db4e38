"""What 'rosetta sync' costs: push and pull of thousands of small files against a plain loop over Azure's SDK.

Both copy the same results to and from the same emulator (Azurite, as .ci/tools installs it), in turn. The loop uploads
and downloads one file after the other and checks nothing; ours lists, compares, validates each result as a merge does,
has its MD5 checked by the service, and creates without replacing. Azurite runs on the same cores as both.

usage: python benchmarks/sync.py [--results 1000] [--rounds 3]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from azure.storage.blob import BlobServiceClient, ContainerClient

from orchestrator.results import sync
from orchestrator.storage.location import storage_at
from orchestrator.system.signals import Interruption
from tests.storage.conftest import emulator
from tests.storage.folders import files, result


def upload(folder: Path, container: ContainerClient) -> None:
    """Push as one would without a tool."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                container.upload_blob(path.relative_to(folder).as_posix(), file)


def download(folder: Path, container: ContainerClient) -> None:
    """Pull as one would without a tool."""
    for name in container.list_blob_names():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            container.download_blob(name).readinto(file)


def seconds(work: Callable[[], None]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure both in turn; print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="rosetta-sync-bench-") as name:
        folder = Path(name)
        (folder / "azurite").mkdir()
        for number in range(arguments.results):
            result(folder / "here", number)
        with emulator(folder / "azurite") as account:
            os.environ["AZURE_STORAGE_CONNECTION_STRING"] = account.connection_string
            with BlobServiceClient.from_connection_string(account.connection_string) as service:
                for number in range(arguments.rounds + 1):  # the first warms up
                    for what, taken in one_round(folder, service).items():
                        times.setdefault(what, []).extend([taken] if number else [])
    middle = {what: statistics.median(each) for what, each in times.items()}
    print(f"{arguments.results:,} results and their logs, {arguments.rounds} rounds in turn, {os.cpu_count()} cores")
    for what, each in times.items():
        print(f"{what:16} median {middle[what]:6.2f} s  ({', '.join(f'{one:.1f}' for one in each)})")
    for way in ("push", "pull"):
        print(f"{way} ratio {middle[f'rosetta {way}'] / middle[f'loop {way}']:.2f}")


def one_round(folder: Path, service: BlobServiceClient) -> dict[str, float]:
    """Seconds of each way, both directions, into containers and folders of their own."""
    here, ours, theirs = folder / "here", *(f"round-{uuid.uuid4().hex[:12]}" for _ in range(2))
    said: list[str] = []
    container = service.create_container(theirs)
    service.create_container(ours)
    with closing(storage_at(f"az://planted/{ours}")) as place:
        taken = {
            "rosetta push": seconds(lambda: sync.push(here, place, said.append, Interruption())),
            "loop push": seconds(lambda: upload(here, container)),
            "push again": seconds(lambda: sync.push(here, place, said.append, Interruption())),
            "rosetta pull": seconds(lambda: sync.pull(folder / ours, place, said.append, Interruption())),
            "loop pull": seconds(lambda: download(folder / theirs, container)),
        }
    assert dict(files(here)) == dict(files(folder / ours)) == dict(files(folder / theirs))
    return taken


if __name__ == "__main__":
    main()
