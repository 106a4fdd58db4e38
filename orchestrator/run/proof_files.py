"""Comparisons with the reference as files: where the proof of a cell lies, and whether a row is that proof.

A row counts if it is of the same cell, key, engine, image, driver and kind of card, and says of the model what its
own errors say: that it is the same, or is not. Other failures say nothing of the model and are not kept.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cell import quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.errors import ResultError
from orchestrator.plan.keys import key, key_in, key_of_proof
from orchestrator.plan.verdicts import Planned
from orchestrator.results.files import read_results, write_log, write_row
from orchestrator.results.paths import ResultsFolder, passing_path, superseded_path
from orchestrator.run.context import ActiveRun
from orchestrator.system.gpus import Version, text, version_of

VERDICTS = (Status.OK, Status.QUALITY)
"""The statuses that say something of the model: the same, or not. All others are passing."""

PRETENDED = " (pretended GPUs)"
"""Suffix of the host of runs on cards that a test has made up."""

RUN = re.compile(r"[0-9a-f]{32}")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """A comparison with the reference, and what it has to be of; ``key`` as `rosetta parity` has it.

    ``driver`` is that of the machines with the cell's card, ``digest`` the image's: empty where nobody knows before.
    """

    cell: Cell
    key: str
    engine: str
    image: Mapping[str, str | None]
    pretended: bool
    folder: ResultsFolder
    driver: Version = ()
    digest: str = ""

    @property
    def on_card(self) -> bool:
        """Whether it runs on a card, so that a driver matters."""
        return self.cell.gpu != "none"

    @property
    def name(self) -> str:
        """Its key among those of other drivers and builds: several machines may share a results folder."""
        return key_of_proof(self.key, text(self.driver), self.digest)

    @property
    def path(self) -> Path:
        """The path of its row."""
        return self.folder.result(self.name, self.cell.id)


def wanted(cell: Cell, planned: Planned, active: ActiveRun) -> Wanted:
    """Return the comparison that would prove a planned cell's image where it will run."""
    assert planned.image is not None
    on_card, name = cell.gpu != "none", active.engine.name
    pretended = active.host.pretended and on_card
    return Wanted(
        cell,
        key_in(planned.digest, cell) if planned.digest else key(cell, planned.image, name, pretended, planned.base),
        name,
        planned.columns,
        pretended,
        ResultsFolder(active.settings.results).parity,
        active.host.driver_of(cell.gpu) if on_card else (),
        active.builder.digests.get(planned.image.tag, ""),
    )


def found(asked: Wanted) -> Row | None:
    """The row of an earlier proof, else that of `rosetta parity`; None, too, as long as nobody knows the driver.

    A file in the proof's place that is no proof is kept under another name.
    """
    if asked.on_card and not asked.driver:
        return None
    for name in (asked.name, asked.key):
        row = row_under(name, asked)
        if row and is_verdict(row):
            return row
    if os.path.lexists(asked.path):
        asked.path.rename(superseded_path(asked.path))
    return None


def row_under(name: str, asked: Wanted) -> Row | None:
    """Return the row that lies under a key, if it is the comparison that is asked for."""
    row = read(asked.folder.result(name, asked.cell.id))
    return row if row and belongs(row, asked, name) else None


def read(path: Path) -> Row | None:
    """The row of an earlier comparison, its start in seconds; None for what is no such file: that proves nothing."""
    try:
        table = read_results(path)
        (row,) = table.drop_columns("started").to_pylist()  # to make a time of it, Arrow would import pandas
        started = table["started"].cast("int64").to_pylist()[0]
    except (ResultError, ValueError):
        return None
    return {**row, "started": started / 1e6 if started else None}


def belongs(row: Row, asked: Wanted, key: str) -> bool:
    """Whether a row is of the comparison that is asked for and has this key."""
    cell = asked.cell
    same = {"cell": cell.id, "repeat": cell.repeat, "data": cell.data, "key": key, "engine": asked.engine}
    same |= {name: asked.image[name] for name in ("image", "recipe", "framework")}
    pretended = row["host"].endswith(PRETENDED) or (row["gpu_name"] or "").startswith("pretended ")
    return (
        all(row[name] == value for name, value in same.items())
        and asked.digest in ("", row["image_digest"])
        and pretended == asked.pretended
        and (not asked.on_card or driver_in(row["driver"]) == asked.driver)
        and RUN.fullmatch(row["run"]) is not None
    )


def is_verdict(row: Row) -> bool:
    """Whether a row says something of the model, and what its errors say."""
    errors = json.loads(row["parity"] or "{}")
    said = row["status"] in VERDICTS and errors
    return bool(said) and quality.judge_parity(row["workload"], errors)[0] == row["status"]


def driver_in(said: str | None) -> Version:
    """The version of a driver as a row or a document has it; empty where that is none."""
    try:
        return version_of(said or "")
    except ValueError:
        return ()


def keep(row: Row, log: str, asked: Wanted) -> None:
    """Write row and log of a comparison; a row that says nothing of the model, or has no known driver, is passing."""
    lasting = is_verdict(row) and bool(asked.driver or not asked.on_card)
    asked.path.parent.mkdir(parents=True, exist_ok=True)
    write_log(log, asked.path)
    passing_path(asked.path).unlink(missing_ok=True)
    write_row(row, asked.path if lasting else passing_path(asked.path))
