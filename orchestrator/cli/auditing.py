"""Results before they are published: audit."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.errors import ResultError
from orchestrator.system.terminal import echo, note
from orchestrator.system.words import counted, part_of

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.compare.audit import Finding


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False), metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def audit(paths: tuple[Path, ...], as_json: bool) -> None:
    """Find rows that contradict themselves, prove nothing, or are faster than their machine can be. Exit code 8 if any.

    FILE can also be a results folder. docs/verify.md lists the checks.

    \b
    examples:
      rosetta audit results/merged.parquet
      rosetta audit docs/results --json
    """
    from dataclasses import asdict

    from orchestrator.compare.audit import Finding
    from orchestrator.results.merging import collect

    gathered = collect(paths)
    rows, lost = gathered.tell(note), gathered.lost
    if not rows.num_rows and not lost:
        raise ResultError("There is nothing to audit.", "No rows were found.", "Name a results folder or its files.")
    refused = [Finding("", "", " ".join(filter(None, (one.error.what, one.error.why)))) for one in lost]
    found = look(rows)
    if as_json:
        import json

        echo(json.dumps([asdict(one) for one in (*refused, *found)], indent=1))
    else:
        for one in found:
            echo(f"{one.cell}, run {one.run[:12]}: {one.what}".replace("\n", " "))
        echo(f"{counted(rows.num_rows, 'row')}, {counted(len(found) + len(refused), 'finding')}")
    bad = [part_of(len({one.run for one in found}), rows.num_rows, "row")] if found else []
    bad += [counted(len(refused), "refusal")] if refused else []
    if bad:
        raise ResultError(f"{' and '.join(bad)} failed the audit.")


def look(table: "pa.Table") -> "list[Finding]":
    """Return the audit's findings about a table of results, as of now."""
    import time

    import pyarrow as pa

    from orchestrator.compare.audit import audit

    started = table["started"].cast(pa.int64()).to_pylist()
    rows = table.drop_columns("started").to_pylist()
    now = int(time.time() * 1e6)
    return audit([{**row, "started_us": begun, "now_us": now} for row, begun in zip(rows, started, strict=True)])
