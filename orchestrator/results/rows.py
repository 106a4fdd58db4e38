"""Outcomes and documents → rows of the schema."""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import AXES, Cell
from orchestrator.cell.contract import Card, Document, Outcome, Status
from orchestrator.cell.workloads import start_of
from orchestrator.errors import ResultError
from orchestrator.results import checking
from orchestrator.results.schema import COLUMNS, PHASES, SCHEMA_VERSION
from orchestrator.system.checkout import commit
from orchestrator.system.gpus import model_of
from orchestrator.system.regular_files import open_regular

Row = Mapping[str, Any]

LONGEST_REASON = 4000
LOG_TAIL = 2000
"""Characters of the log that are kept in the row; all of it lies beside the file."""


def row_of(
    cell: Cell, outcome: Outcome, *, key: str, run: str, engine: str, image: Mapping[str, str | None], host: str
) -> dict[str, Any]:
    """The row of an attempt at a cell, judged: a document of another run, or that does not add up, is not ok.

    ``key`` is the cell's content hash, ``run`` unique to the attempt, ``host`` the machine's name. ``image`` are the
    columns that tell the image: its tag (``image``), ``recipe``, ``framework`` and what it was built on (``base``).
    """
    document, status, reason = outcome.document, outcome.status, outcome.reason
    if status is Status.OK and document is None:
        status, reason = Status.FAILED, "left no result"
    if status is Status.OK and document is not None:
        wrong = quality.mismatch(cell, document)
        status, reason = (Status.FAILED, f"the result is of another run: {wrong}") if wrong else quality.judge(document)
        document = None if wrong else document
    row = {
        **unfilled_row(cell),
        **(document_columns(document) if document else {}),
        **checkout_columns(),
        "status": str(status),
        "reason": reason.encode(errors="replace").decode()[:LONGEST_REASON],
        "wall_seconds": outcome.wall_seconds,
        "engine": engine,
        **image,
        "image_digest": outcome.image_digest,
        "limits": outcome.limits or None,
        "host": host,
        "started": outcome.started,
        "key": key,
        "run": run,
        "log_tail": outcome.log[-LOG_TAIL:],
    }
    said = checking.wrong(row) if document else None
    if said is None:
        return row
    failed = replace(outcome, status=Status.FAILED, reason=f"the result is impossible: {said}", document=None)
    return row_of(cell, failed, key=key, run=run, engine=engine, image=image, host=host)


def checkout_columns() -> dict[str, Any]:
    """Return the columns that identify this orchestrator."""
    revision, dirty = commit() or (None, None)
    return {"commit": revision, "dirty": dirty}


def incompatible_row(cell: Cell, reason: str, engine: str) -> dict[str, Any]:
    """The row of a cell that can't run; all machines give it the same ``run``, so a merge keeps one."""
    run = uuid.uuid5(uuid.NAMESPACE_OID, f"{cell.id} {cell.repeat} {cell.data}").hex
    return {**unfilled_row(cell), "status": str(Status.INCOMPATIBLE), "reason": reason, "engine": engine, "run": run}


def row_by_hand(path: Path) -> dict[str, Any]:
    """The row of a document that a container run by hand has left; raises ResultError."""
    try:
        with open_regular(path) as file:
            raw = file.read(contract.LARGEST_DOCUMENT + 1)
            written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    except OSError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}.") from None
    document = contract.parse(raw, str(path))
    if wrong := quality.contradictions(document):
        raise ResultError(f"{path} contradicts itself: {', '.join(wrong)}.")
    status, reason = quality.judge(document)
    return {
        **unfilled_row(cell_of(document)),
        **document_columns(document),
        "status": str(status),
        "reason": reason,
        "engine": "by hand",
        "started": written,  # in truth its end: a document has no start time
        "run": uuid.uuid5(uuid.NAMESPACE_OID, document.model_dump_json()).hex,
    }


def cell_of(document: Document) -> Cell:
    """The cell that a document answers; its GPU by the name that the driver gives it."""
    gpus = document.environment.gpus if document.n_gpus else []
    axes = {axis: getattr(document, axis) for axis in AXES if axis in Document.model_fields}
    axes["n_gpus"] = document.workers
    return Cell(**axes, gpu=model_of(gpus[0].name) if gpus else "none", repeat=document.seed)


def unfilled_row(cell: Cell) -> dict[str, Any]:
    """A row that says which cell it is about and how long it was to run, and nothing else."""
    length = quality.asked(cell)
    return {
        **{name: None if kind[-1] == "?" else "" for name, kind in COLUMNS.items()},
        **{axis: getattr(cell, axis) for axis in AXES},
        "cell": cell.id,
        "n_gpus": cell.n_gpus if cell.gpu != "none" else 0,
        "workers": cell.n_gpus,
        "parity": "{}" if cell.parity else None,
        "epochs": length[0],
        "samples": length[1] or None,  # none, if fewer were asked for than a batch has
        "shortened": quality.is_shorter(cell.workload, length, cell.n_gpus),
        "contract": contract.CONTRACT,
        "schema": SCHEMA_VERSION,
    }


def document_columns(document: Document) -> dict[str, Any]:
    """The columns that a document fills, the axes aside."""
    environment, versions = document.environment, document.versions
    gpu = environment.gpus[0] if environment.gpus and document.n_gpus else None
    same = [name for name in COLUMNS if name in Document.model_fields and name not in AXES]
    return {
        **{name: getattr(document, name) for name in same},
        "findings": json.dumps(document.findings, sort_keys=True) if document.findings is not None else None,
        "parity": json.dumps(document.parity, sort_keys=True) if document.parity is not None else None,
        "checks": document.checks.model_dump_json() if document.checks is not None else None,
        "shortened": document.shortened
        or quality.is_shorter(document.workload, (document.epochs, document.samples), document.workers),
        **{f"{phase}_seconds": document.phases.get(phase) for phase in PHASES},
        **{name: getattr(environment, name) for name in ("os", "kernel", "python", "numpy", "cpu", "cores", "memory")},
        "start": start_of(document.workload, document.pretrained),
        "framework_version": versions.framework,
        "cuda": versions.cuda,
        "cudnn": versions.cudnn,
        "packages": json.dumps(versions.packages, sort_keys=True),
        "gpu_name": gpu.name if gpu else None,
        "driver": gpu.driver if gpu else None,
        **of_cards(document),
    }


def of_cards(document: Document) -> dict[str, Any]:
    """The columns about the GPUs of a run, as they were read inside its cell; energy in joules, memory in bytes."""
    cards = document.gpus or []
    first = cards[0] if cards else None
    energies = [card.energy for card in cards]
    peaks = [card.peak_memory for card in cards if card.peak_memory is not None]
    others = [card.others for card in cards if card.others is not None]
    return {
        "gpus_before": states(cards, "start"),
        "gpus_during": states(cards, "middle"),
        "gpus_after": states(cards, "end"),
        "energy": sum(e for e in energies if e is not None) if cards and None not in energies else None,
        "gpu_uuids": ",".join(card.uuid for card in cards) or None,
        "capability": ".".join(map(str, first.capability)) if first and first.capability else None,
        "gpu_peak_memory": max(peaks, default=None),
        "gpu_others": sum(others) if others else None,
        "device": document.versions.device,
    }


def states(cards: Sequence[Card], moment: str) -> str | None:
    """The cards at a moment of their cell, as a JSON list."""
    every = [
        {"uuid": card.uuid, "power_limit": card.power_limit, **getattr(card, moment).model_dump(mode="json")}
        for card in cards
    ]
    return json.dumps(every) if every else None


def identity(row: Row) -> tuple[Any, ...]:
    """Return what rows about the same cell have in common."""
    return row["cell"], row["repeat"], row["data"]
