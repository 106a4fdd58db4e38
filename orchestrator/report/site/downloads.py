"""The results that pages show, as files beside them: Parquet with everything, CSV and JSON without the logs."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.report.formats import harmless
from orchestrator.results.files import write_parquet
from orchestrator.system.terminal import plain

if TYPE_CHECKING:
    import pyarrow as pa

LEFT_OUT = "log_tail"


def downloads(results: "pa.Table") -> Mapping[str, Callable[[], bytes]]:
    """Return the functions that make the files, by file name."""
    return {
        "results.parquet": lambda: as_parquet(results),
        "results.csv": lambda: as_csv(results),
        "results.json": lambda: as_json(results),
    }


def as_parquet(results: "pa.Table") -> bytes:
    """The rows as 'rosetta merge' writes them, which every command reads."""
    file = io.BytesIO()
    write_parquet(results, file)
    return file.getvalue()


def as_csv(results: "pa.Table") -> bytes:
    """A line for each row; lists as JSON, times in ISO 8601."""
    file = io.StringIO()
    table = results.drop_columns([LEFT_OUT])
    writer = csv.writer(file)
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        writer.writerow([harmless(in_csv(value)) for value in row.values()])
    return file.getvalue().encode(errors="replace")


def as_json(results: "pa.Table") -> bytes:
    """A list of objects, one for each row."""
    rows = results.drop_columns([LEFT_OUT]).to_pylist()
    return json.dumps(rows, default=str, indent=0).encode()


def in_csv(value: Any) -> Any:
    """A value as one field."""
    return json.dumps(value) if isinstance(value, list) else plain(value)
