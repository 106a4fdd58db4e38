"""A site's settings for jobs: ``site.yaml``, a small file that a person writes once per cluster."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError

from orchestrator.cell.strict import Strict, in_words
from orchestrator.errors import MatrixError
from orchestrator.system import yaml_files
from orchestrator.system.words import advice

FILE = "site.yaml"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/+-]*$", max_length=200)]
OURS = (
    *("--array", "-a", "--comment", "--error", "-e", "--export", "--open-mode", "--output", "-o", "--requeue"),
    *("--test-only", "--wait", "-W", "--clusters", "-M", "--wrap"),
)
"""Options by which a job is followed, found and tried again, in this cluster."""

SWITCHES = re.compile("-[hHIkOQsuvV]+(?=[a-zA-Z])")
"""Options of one letter that take no value: another may follow in the same word, as in ``-HoFILE``."""

OPTION = "#SBATCH"
"""The prefix of a line of options; Slurm needs no blank behind it."""

OTHERS = ("#PBS", "#BSUB")
"""Prefixes of lines that ``sbatch`` translates into its own options, also below the first command."""


def is_the_sites(line: str) -> str:
    """Return a line for every job; raises ValueError for an option that is ours: --output, --out, "-oFILE"."""
    if line.startswith(OTHERS):
        raise ValueError("can't have options of another scheduler, which sbatch reads too: write them as #SBATCH")
    for word in options_in(line.removeprefix(OPTION) if line.startswith(OPTION) else ""):
        name = SWITCHES.sub("-", word, count=1).partition("=")[0] if word[:2] != "--" else word.partition("=")[0]
        meant = [each for each in OURS if name[:2] == each or (len(name) > 2 and each.startswith(name))]
        if meant:
            raise ValueError(f"can't set {meant[0]}, by which 'rosetta run' follows its jobs")
    return line


def options_in(line: str) -> Iterator[str]:
    """Yield the words of a line as ``sbatch`` divides it; raises ValueError for an open quotation mark.

    Unlike in a shell, a backslash takes the meaning of what follows also within single quotation marks.
    """
    word, mark, letters = "", "", iter(line)
    for letter in letters:
        if letter == "\\":
            word += next(letters, "")
        elif letter == mark:
            mark = ""
        elif mark:
            word += letter
        elif letter in "\"'":
            mark = letter
        elif letter == "#":
            break
        elif letter != " ":
            word += letter
        elif word:
            yield word
            word = ""
    if mark:
        raise ValueError("No closing quotation")
    if word:
        yield word


Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1000), AfterValidator(is_the_sites)]
Size = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,9}[KMGT]$")]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(-[0-9]{1,2})?(:[0-9]{2}){0,2}$")]


class Slurm(Strict):
    """How jobs are requested; what is left out is up to the cluster, or taken from its nodes' hardware.

    ``gres`` names the GPUs of a model as Slurm does (``gpu:a100``). ``cpus`` and ``memory`` are per GPU, or per cell
    without GPU. ``driver`` is NVIDIA's, for when no node can be asked. ``lines`` are added to every job: those that
    begin with #SBATCH to its options, others before the cell. At most ``most_jobs`` are queued at a time.
    """

    partitions: list[Name] = []
    account: Name | None = None
    qos: Name | None = None
    constraint: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.&|*()\[\]-]+$", max_length=500)] | None = None
    time: Duration | None = None
    cpus: Annotated[int, Field(ge=1, le=4096)] | None = None
    memory: Size | None = None
    gres: dict[Name, Name] = {}
    modules: list[Name] = []
    lines: list[Line] = []
    driver: Annotated[str, StringConstraints(pattern=r"^\d{1,5}(\.\d{1,5}){0,3}$")] | None = None
    most_jobs: Annotated[int, Field(ge=1, le=1000)] = 200


def or_empty(content: Any) -> Any:
    """Return what is below a key: nothing, as where all lines are comments, is an empty section."""
    return {} if content == "" else content


class Site(Strict):
    """The whole file."""

    slurm: Annotated[Slurm, BeforeValidator(or_empty)] = Slurm()


def read(path: Path | None) -> Site:
    """Read the named file, else the one in the current folder, else return the defaults.

    Raises MatrixError, with the nearest key.
    """
    if path is None and not Path(FILE).is_file():
        return Site()
    path = path or Path(FILE)
    content, _ = yaml_files.read(path, remedy="Name another with --site FILE.")
    try:
        return Site.model_validate(content or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        if first["type"] == "extra_forbidden":
            known = Slurm.model_fields if len(first["loc"]) > 1 else Site.model_fields
            raise MatrixError(f"{path}: {key}: unknown key.", remedy=advice(str(first["loc"][-1]), known)) from None
        what = f"{path}: {key} {in_words(first)}."
        raise MatrixError(what, remedy="docs/cluster-slurm.md explains every key.") from None
