"""Results: the declared Parquet schema, one file per cell run, and the merge of many into one table."""

from orchestrator.results.files import MERGED, forget, holds, read, table_of, write, write_incompatible, write_row
from orchestrator.results.merging import Folder, gather, merge
from orchestrator.results.rows import LOG_TAIL, Row, empty, identity, incompatible_row, row
from orchestrator.results.schema import COLUMNS, SCHEMA_VERSION, VERSION_KEY, schema

__all__ = [
    "COLUMNS",
    "LOG_TAIL",
    "MERGED",
    "SCHEMA_VERSION",
    "VERSION_KEY",
    "Folder",
    "Row",
    "empty",
    "forget",
    "gather",
    "holds",
    "identity",
    "incompatible_row",
    "merge",
    "read",
    "row",
    "schema",
    "table_of",
    "write",
    "write_incompatible",
    "write_row",
]
