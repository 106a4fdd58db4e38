"""Cells that keep running although no orchestrator follows them: the next run takes them over."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engines.slurm.folders import JobFolders


@dataclass(frozen=True)
class Unattended:
    """A cell's id, where it runs, and since when, in seconds since 1970."""

    cell: str
    where: str
    since: float


def unattended(results: Path, identity: str, followed: Collection[str]) -> list[Unattended]:
    """Return the cells submitted for claims of this ``identity`` and not yet fetched, except ``followed`` keys."""
    folders = JobFolders(results)
    keys = sorted(path.name for path in folders.path.iterdir()) if folders.path.is_dir() else []
    orders = [order for key in keys for order in folders.orders(key)]
    return [
        Unattended(order.cell, f"Slurm's job {order.job}" if order.job else "Slurm", order.submitted)
        for order in orders
        for of, _, key in [order.claim.rpartition("/")]
        if of == identity and key not in followed
    ]
