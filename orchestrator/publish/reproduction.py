"""Published results → the same cells, in the same images, on this machine; and whether they come out as published.

The file is all that is needed: the orchestrator that made it, and its images/ and workloads/, need not be here, as long
as the contract is the same. The file is not trusted: what it says becomes a cell only after validation.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import docker
from pydantic import ValidationError

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import AXES, Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.data.downloads import TIMEOUTS, is_url
from orchestrator.engines.client import Connection
from orchestrator.engines.docker import DockerEngine
from orchestrator.engines.isolation import odd_volumes
from orchestrator.errors import BuildError, ResultError, SelectionError
from orchestrator.images import image_names
from orchestrator.images.definitions import Framework
from orchestrator.images.image import Image
from orchestrator.images.image_names import ImageName
from orchestrator.plan.keys import key_in
from orchestrator.plan.matrix import Point
from orchestrator.plan.selection import known_words, select
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.publish import registry
from orchestrator.results.decoding import LARGEST_FILE
from orchestrator.results.merging import gather
from orchestrator.results.paths import ResultsFolder
from orchestrator.system.addresses import printable
from orchestrator.system.certificates import ca_bundle
from orchestrator.system.host import Host, machine_reason
from orchestrator.system.terminal import Say, silent

if TYPE_CHECKING:
    import pyarrow as pa

ENVIRONMENT = ("cpu", "cores", "memory", "gpu_name", "driver", "kernel", "os", "python", "numpy", "framework_version",
    "cuda", "cudnn")  # fmt: skip
"""The columns that may explain another time; those of the image can only differ if something is wrong."""

SLACK = 0.05
"""How far the quality of a shortened run may lie from the published one where params.json has no band."""


@dataclass(frozen=True)
class PublishedImage(Image):
    """An image as a row of results names it, by digest; nothing of its definition has to be here.

    The row also has the id of an image that is said to have run. It is not looked at: it could be that of any image
    that is here.
    """

    reference: ImageName
    made_by: str

    @property
    def tag(self) -> str:
        """The whole reference, which a row says ran."""
        return str(self.reference)

    @property
    def recipe(self) -> str:
        """The content hash that it was published with."""
        return self.made_by


@dataclass(frozen=True)
class PublishedRow:
    """A row that can be run again: its cell, its image, and all that it says."""

    cell: Cell
    image: PublishedImage
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """A run as published and here: quality of both, whether that is as good, and in what the machines differ."""

    cell: str
    repeat: int
    published: float
    here: float | None
    as_good: bool
    differences: tuple[str, ...]


def pulling_engine() -> DockerEngine:
    """A Docker engine whose images are pulled by digest and never built; raises EngineError."""
    return DockerEngine(pulled)


def pulled(connection: Connection, wanted: Sequence[Image], say: Say) -> dict[str, str]:
    """Pull what is missing; returns an id for each tag.

    Raises RegistryError, or BuildError for an image of another contract, or one with a place to write of its own.
    """
    ids = {}
    for image in wanted:
        assert isinstance(image, PublishedImage)
        found = registry.known(connection.api, image.reference.pullable)
        if found is None:
            say(f"{image.reference.pullable}: pulling")
            found = registry.pull(connection.api, image.reference)
        labels = found["Config"]["Labels"] or {}
        if labels.get("rosetta.contract") != str(contract.RECEIVED):
            said = str(labels.get("rosetta.contract", "none"))[:20]
            raise BuildError(
                f"{image.reference} follows contract {said}; this program knows {contract.RECEIVED}.",
                remedy="Use the release of Rosetta Matrix that published it.",
            )
        if reason := odd_volumes(found["Config"]):
            raise BuildError(f"{image.reference} {reason}.")
        ids[image.tag] = str(found["Id"])
    return ids


def waiting(rows: Sequence[PublishedRow], folder: Path) -> list[PublishedRow]:
    """Return the runs that have no result here yet."""
    return [row for row in rows if not ResultsFolder(folder).result(key_of(row), row.cell.id).exists()]


def announced(rows: Sequence[PublishedRow], api: docker.APIClient) -> Iterator[str]:
    """Yield what is about to run and from where: a line for each image, and below it one for each of its cells."""
    for image in dict.fromkeys(row.image for row in rows):
        there = registry.known(api, image.reference.pullable) is not None
        yield f"{image.reference}: {'is here' if there else 'will be pulled'}"
        yield from (f"    {row.cell.id}, repeat {row.cell.repeat}" for row in rows if row.image == image)


def read(source: str, say: Say = silent) -> "pa.Table":
    """Return published results from a file or URL; ``say`` is told what was refused. Raises ResultError."""
    if not is_url(source):
        return gather([Path(source)], say)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.parquet")
        download(source, path)
        return gather([path], say)


def download(url: str, path: Path) -> None:
    """Download a file of results, if it is no larger than one may be; raises ResultError."""
    import requests

    try:
        with requests.get(url, stream=True, timeout=TIMEOUTS, verify=ca_bundle()) as response, path.open("wb") as file:
            if not all(is_private(each.url) for each in (*response.history, response)):
                raise ResultError(f"{printable(url)} does not use TLS.", remedy="Use https, or download it yourself.")
            response.raise_for_status()
            for chunk in response.iter_content(2**16):
                file.write(chunk)
                if file.tell() > LARGEST_FILE:
                    raise ResultError(f"{printable(url)} is larger than a result may be.")
    except requests.HTTPError as error:
        raise ResultError(f"{printable(url)} can't be downloaded: HTTP status {error.response.status_code}.") from None
    except (requests.RequestException, ValueError) as error:  # the latter for a malformed proxy
        raise ResultError(f"{printable(url)} can't be downloaded: {type(error).__name__}.") from None


def is_private(url: str) -> bool:
    """Whether nobody on the way can change what is read: over TLS, or from this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def examined(table: "pa.Table") -> Iterator[tuple[str, PublishedRow | str]]:
    """Yield each run's cell with the row to run again, or why it can't be; the newest of the same runs last."""
    # Without the column itself: to make a time of it, Arrow would import pandas.
    for row in table.sort_by("started").drop_columns("started").to_pylist():
        if row["status"] != Status.INCOMPATIBLE and row["parity"] is None:
            try:
                yield row["cell"], published_row(row)
            except ResultError as error:
                yield row["cell"], error.what


def chosen(table: "pa.Table", only: Sequence[str], skip: Sequence[str]) -> list[PublishedRow]:
    """The runs to repeat, each once; raises SelectionError if there are none, with the reasons."""
    every = list(examined(table))
    rows = {row.cell: row for _, row in every if isinstance(row, PublishedRow)}
    if not rows:
        reasons = dict.fromkeys(why for _, why in every if isinstance(why, str))
        raise SelectionError("Nothing in this file can be run again.", " ".join(list(reasons)[:3]))
    return [rows[cell] for cell in select(list(rows), only, skip)]


def refused(table: "pa.Table", only: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names of cells that can't be run again, and why; names from others may not be cells at all."""
    from wcmatch import fnmatch

    globs, flags = list(only) or ["*"], fnmatch.BRACE | fnmatch.FORCEUNIX | fnmatch.DOTMATCH
    said = {(name[:100], why) for name, why in examined(table) if isinstance(why, str)}
    return sorted(pair for pair in said if fnmatch.fnmatch(pair[0], globs, flags=flags))


def published_row(row: Mapping[str, Any]) -> PublishedRow:
    """Turn a row into something to run; raises ResultError that says what is wrong with it."""
    if row["contract"] not in contract.UNDERSTOOD:
        raise ResultError(f"It follows contract {row['contract']}; this program knows {contract.KNOWN}.")
    if row["status"] != Status.OK or row["quality"] is None or row["seconds"] is None:
        raise ResultError(f"It ended {row['status']} when it was published.")
    reference = image_names.parse(row["image"])
    cell = cell_of(row)
    framework = Framework.model_construct(framework=row["framework"][:40], libraries={}, platforms={})
    return PublishedRow(cell, PublishedImage(framework, cell.platform, reference, row["recipe"]), row)


def cell_of(row: Mapping[str, Any]) -> Cell:
    """Return the cell of a row, with the length that was run; raises ResultError.

    A full run is asked for without numbers, as it was: with them a container calls it shortened.
    """
    try:
        several = {"n_gpus": row["workers"] or 1}  # the column n_gpus has 0 on a CPU
        point = Point.model_validate({axis: row[axis] for axis in (*AXES, "epochs", "samples")} | several)
        full = {} if row["shortened"] else {"epochs": None, "samples": None}
        cell = Cell(**point.model_dump() | full)
    except (ValidationError, TypeError):
        raise ResultError("Its cell is not possible in the matrix.") from None
    known = {"workload": parameters(), **known_words()}
    for axis in ("workload", "platform", "gpu", "precision", "data"):
        if getattr(cell, axis) not in known[axis]:
            raise ResultError(f"This program does not know the {axis} {getattr(cell, axis)!r}.")
    if cell.id != row["cell"] or (row["n_gpus"] or 0) != (cell.n_gpus if cell.gpu != "none" else 0):
        raise ResultError("Its cell's name or its number of GPUs does not match its axes.")
    return cell


def plan(rows: Sequence[PublishedRow], folder: Path, host: Host) -> list[Planned]:
    """Plan what to run here: what this machine has the GPU for, and has not run already."""
    planned = []
    for row in rows:
        cell, key = row.cell, key_of(row)
        reason = machine_reason(cell.platform, cell.gpu, host, cell.n_gpus)
        done = ResultsFolder(folder).result(key, cell.id).exists()
        verdict = Verdict.INCOMPATIBLE if reason else Verdict.DONE if done else Verdict.READY
        base, digest = row.row.get("base") or "", row.image.reference.digest
        planned.append(Planned(cell, verdict, reason or "", row.image, key, base=base, digest=digest))
    return planned


def key_of(row: PublishedRow) -> str:
    """The content hash of a run in a published image: the image has everything that is not in the cell."""
    return key_in(row.image.reference.digest, row.cell)


def results_of(rows: Sequence[PublishedRow], folder: Path, say: Say = silent) -> "pa.Table":
    """Return the results of the runs, this time or before; ``say`` is told what is refused."""
    paths = [ResultsFolder(folder).result(key_of(row), row.cell.id) for row in rows]
    return gather([path for path in paths if path.exists()], say)


def pairs(rows: Sequence[PublishedRow], mine: "pa.Table") -> list[Pair]:
    """Pair each repeated run with the published one."""
    published = {key_of(row): row.row for row in rows}
    found = []
    for row in mine.drop_columns("started").to_pylist():
        theirs = published[row["key"]]
        good = row["status"] == Status.OK and is_as_good(row, theirs)
        differences = tuple(
            f"{name}: {theirs[name]} → {row[name]}" for name in ENVIRONMENT if theirs[name] != row[name]
        )
        found.append(Pair(row["cell"], row["repeat"], theirs["quality"], row["quality"], good, differences))
    return found


def is_as_good(row: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two good runs agree: full ones lie in the same band; others are no further apart than that is wide."""
    if not row["shortened"]:
        return True
    band = quality.band_of(row["workload"], "real")
    width = float(band["high"] - band["low"]) if band else SLACK
    return bool(abs(row["quality"] - theirs["quality"]) <= width)
