"""The options that several commands share."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from orchestrator.cli import completion
from orchestrator.cli.kinds import Choice, Glob, Number, OutputFile, Whole

Command = Callable[..., None]
Option = Callable[[Command], Command]

ENGINES_HERE = ("docker", "podman", "apptainer", "process")
ENGINES_OF_CLUSTERS = ("ray",)
ENGINES = (*ENGINES_HERE, *ENGINES_OF_CLUSTERS)
"""Where cells can run, as it is typed."""

ON_ANY_MACHINE = ENGINES_HERE[-1]
"""The engine that needs nothing to be installed."""

SCHEDULERS = ("slurm",)
FORMS = (ENGINES_HERE[0], *SCHEDULERS)
"""How 'rosetta run --print' can print a cell: as a container to start, or as a job to submit."""


@dataclass(frozen=True)
class Selection:
    """Which cells, where they run, and where their results lie."""

    matrix_file: Path | None
    profile: str
    only: tuple[str, ...]
    skip: tuple[str, ...]
    own: tuple[Path, ...]
    results: Path = Path("results")
    engine: str | None = None
    address: str | None = None
    unverified: bool = False
    scheduler: str | None = None
    site: Path | None = None

    @property
    def on_cluster(self) -> bool:
        """Whether cells run on other machines than this one."""
        return self.scheduler is not None or self.engine in ENGINES_OF_CLUSTERS


@dataclass(frozen=True)
class Length:
    """Overrides of the matrix file; None leaves a value as it is."""

    data: str | None = None
    epochs: int | None = None
    samples: int | None = None
    repeats: int | None = None


@dataclass(frozen=True)
class Running:
    """How to run; ``deadline`` and ``build_deadline`` in seconds; ``proof`` as in a run's settings."""

    jobs: int
    deadline: float
    build_deadline: float
    rerun: str | None
    as_json: bool
    proof: bool | None = None


@dataclass(frozen=True)
class Steadiness:
    """How often to run; ``until_stable`` in percent, None for no extra rounds."""

    until_stable: float | None
    max_repeats: int


@dataclass(frozen=True)
class Judging:
    """What counts as slower, in percent, and how to say it."""

    threshold: float
    as_json: bool
    as_markdown: bool = False
    junit: Path | None = None

    @property
    def for_programs(self) -> bool:
        """Whether the standard output is a document, so that all else goes to the standard error."""
        return self.as_json or self.as_markdown


@dataclass(frozen=True)
class Installations:
    """The user's interpreters and images to measure in place of our own images: ``[NAME=]WHERE``."""

    python: tuple[str, ...]
    image: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.python or self.image)


def grouped(name: str, kind: type[Any], *options: Option) -> Callable[[Command], Command]:
    """Combine options into one decorator; the command gets their values as one argument, a ``kind``, of this name.

    ``kind`` has a field for each option, and may have more for options that not every command has. ``--help`` lists
    them in this order.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_group(**given: Any) -> None:
            group = kind(**{field.name: given.pop(field.name) for field in fields(kind) if field.name in given})
            command(**given, **{name: group})

        made: Command = with_group
        for option in reversed(options):
            made = option(made)
        return made

    return decorate


def longest(name: str, default: float, text: str) -> Option:
    """An option for a deadline in seconds, after which something is stopped."""
    return click.option(name, type=Number(min=1), default=default, metavar="SECONDS", help=text)


def results_in(default: str, text: str) -> Option:
    """The option for the folder of results."""
    kind = click.Path(path_type=Path, readable=False, file_okay=False)
    return click.option("--results", type=kind, metavar="DIR", default=default, show_default=True, help=text)


results_folder = results_in("results", "Results folder.")


def globs(name: str, text: str) -> Option:
    """A repeatable option for globs over cells."""
    words = f"{text} Repeatable."
    return click.option(name, multiple=True, type=Glob(), shell_complete=completion.cells, metavar="GLOB", help=words)


only = globs("--only", "Only cells that match: 'pytorch/rnn/*'.")

skip = globs("--skip", "Leave out cells that match.")

threshold = click.option(
    "--threshold",
    type=Number(min=0),
    default=10.0,
    show_default=True,
    metavar="PERCENT",
    help="How much slower is too slow.",
)

own_weights = click.option(
    "--weights",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Start from your own weights (.npz); see docs/parity.md.",
)

own_libraries = click.option(
    "--with",
    "own",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Libraries of your own: DIR/images and DIR/workloads. Repeatable.",
)

on_scheduler = click.option(
    "--on",
    "scheduler",
    type=Choice(SCHEDULERS),
    help="Submit cells as Slurm jobs from this login node; see docs/cluster-slurm.md.",
)

site = click.option(
    "--site",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The cluster's job settings.  [default: site.yaml here, if there is one]",
)

WHICH_CELLS = (
    click.option(
        "--matrix",
        "matrix_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Default: matrix.yaml here, else the program's.",
    ),
    own_libraries,
    click.option(
        "--profile",
        shell_complete=completion.profiles,
        metavar="NAME",
        envvar="ROSETTA_PROFILE",
        default="full",
        show_default=True,
        help="A profile of the matrix file: quick, try, precisions, tuned, resized-crop, scaling, workers, full.",
    ),
    only,
    skip,
)

unverified = click.option("--unverified", is_flag=True, help="Include CPU images and variants nobody has verified yet.")

selection = grouped(
    "selection",
    Selection,
    *WHICH_CELLS,
    results_folder,
    click.option(
        "--engine",
        type=Choice(ENGINES),
        help="Default: docker if an engine answers, else process. ray: a cluster, see docs/clusters.md.",
    ),
    click.option(
        "--address", metavar="HOST:PORT", help="Address of the Ray head node.  [default: RAY_ADDRESS, else this host]"
    ),
    on_scheduler,
    site,
    unverified,
)
"""For plan, build, run and parity: which cells, where they run, and where their results lie."""

selection_of_images = grouped("selection", Selection, *WHICH_CELLS, unverified)
"""For images save: the cells whose images are meant. Nothing runs, and the images are always Docker's."""

selection_of_published = grouped("selection", Selection, *WHICH_CELLS, results_folder, unverified)
"""For publish: the same, and where the results of these cells lie."""

DATA_AND_LENGTH = (
    click.option("--data", type=Choice(["real", "synthetic"]), help="Override the axis 'data'."),
    click.option("--epochs", type=Whole(1), metavar="N", help="Shorten: train N epochs."),
    click.option("--samples", type=Whole(64), metavar="N", help="Shorten: train on the first N samples."),
)

length_of_a_round = grouped("length", Length, *DATA_AND_LENGTH)
"""For compare, which itself decides how many rounds there are."""

length = grouped(
    "length",
    Length,
    *DATA_AND_LENGTH,
    click.option("--repeats", type=Whole(1, 10_000), metavar="N", help="Run N rounds, with seeds 0 to N-1."),
)
"""For plan, build and run: overrides of the matrix file."""

running = grouped(
    "running",
    Running,
    click.option(
        "--jobs",
        type=Whole(1),
        default=1,
        show_default=True,
        metavar="N",
        help="CPU cells at a time; several share the cores. Each GPU runs one cell at a time.",
    ),
    longest("--deadline", 24 * 3600.0, "Stop a cell that takes longer.  [default: a day]"),
    longest("--build-deadline", 3 * 3600.0, "Stop a build that takes longer.  [default: three hours]"),
    click.option(
        "--rerun",
        type=Glob(),
        metavar="failed|all|GLOB",
        help="Run again: what failed, everything selected, or what matches.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON object per status change instead of the table."),
)
"""For run and parity: how to run."""

steadiness = grouped(
    "steadiness",
    Steadiness,
    click.option(
        "--until-stable",
        type=Number(min=0, min_open=True),
        is_flag=False,
        flag_value=5.0,
        metavar="[PERCENT]",
        help="Run four rounds, and more of cells whose quartiles lie further apart.  [5 if no number is given]",
    ),
    click.option(
        "--max-repeats",
        type=Whole(4),
        default=10,
        show_default=True,
        metavar="N",
        help="The most rounds of a cell under --until-stable.",
    ),
)
"""For run: how often."""

installations = grouped(
    "installations",
    Installations,
    click.option(
        "--python",
        multiple=True,
        metavar="[NAME=]PATH",
        help="Measure what this interpreter can import instead of our own images; see docs/verify.md. Repeatable.",
    ),
    click.option(
        "--image",
        multiple=True,
        metavar="[NAME=]IMAGE",
        help="The same for somebody else's image, pulled beforehand. Repeatable.",
    ),
)
"""For run and verify: installations that are not ours."""

judging = grouped(
    "judging",
    Judging,
    threshold,
    click.option("--json", "as_json", is_flag=True, help="Print a JSON list."),
    click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown, for a job summary or a comment."),
    click.option(
        "--junit",
        type=OutputFile(),
        metavar="FILE",
        help="Also write JUnit XML, which CI systems show as tests.",
    ),
)
"""For verify and diff: what counts as slower, and how to say it."""
