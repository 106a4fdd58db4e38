"""Which matrix file a command reads, and which folders with libraries it takes in."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.system.library_folders import PROGRAM, take_in

HERE = Path("matrix.yaml")


def matrix_path(given: Path | None = None) -> Path:
    """The matrix file that was named, else the one in this folder, else the program's."""
    return given or (HERE if HERE.exists() else PROGRAM.path / "matrix.yaml")


def take_in_libraries(own: Sequence[Path], matrix_file: Path | None = None) -> None:
    """Take in the library folders of --with and of the matrix file; raises MatrixError."""
    from orchestrator.cell.scripts import check_names
    from orchestrator.images.definitions import library_index
    from orchestrator.plan import matrix

    path = matrix_path(matrix_file)
    folders = [*own, *matrix.read(path)[0].own_folders(path.parent)]
    take_in(folders)
    if folders:
        library_index()
        check_names()
