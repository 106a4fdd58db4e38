"""Where what lies in a results folder."""

from pathlib import Path


def result_path(folder: Path, key: str, cell: str) -> Path:
    """Where the result of a cell, named by its id, lies: ``cells/<key>/pytorch/rnn/cpu.parquet``."""
    return folder / key / f"{cell}.parquet"


def passing_path(path: Path) -> Path:
    """Where, beside a result, a row lies that is none: the cell stays ready, since what went wrong was not its own."""
    return path.with_suffix(".passing.parquet")
