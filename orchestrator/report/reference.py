"""The page of all variables and exit codes, docs/reference.md: made from here, and kept up to date by a test."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator import errors

MARKS = "<!-- begin of what the code says, by 'make golden' -->", "<!-- end of what the code says -->"

VARIABLES: Mapping[str, Mapping[str, str]] = {
    "Where things lie": {
        "ROSETTA_CACHE": "data sets, environments and kernels that are kept; default: `~/.cache/rosetta`",
        "ROSETTA_LOCKS": "locks of this machine's GPUs, for all who use them; default: `/run/lock/rosetta`",
        "ROSETTA_DATA_MIRROR": "the data sets' original files, by URL or folder: [data.md](data.md)",
    },
    "What builds use": {
        "ROSETTA_IMAGES": "archives of 'rosetta images save', for Podman and Apptainer: [podman.md](podman.md)",
        "ROSETTA_CA_BUNDLE": "the authorities to trust, in networks that inspect TLS: [offline.md](offline.md)",
        "ROSETTA_PIP_CONF": "a `pip.conf`, say with a company's own index",
        "ROSETTA_WHEELS": "a folder with wheels that need not be downloaded",
        "ROSETTA_APT_MIRROR": "a mirror of Debian, as `https://HOST/debian`",
        "ROSETTA_APT_SNAPSHOT": "take Debian's packages as of this time, such as `20260101T000000Z`",
        "ROSETTA_REGISTRY_MIRROR": "a mirror of Docker Hub for base images",
        "ROSETTA_CUDA": "a folder with the CUDA libraries of 2018: [platforms.md](platforms.md#where-cuda-comes-from)",
        "ROSETTA_CUDA_SOURCE": "where those come from without one: `nvidia-apt`, `nvidia-files`, `anaconda`",
    },
    "What a run does": {
        "ROSETTA_PROFILE": "the profile, in place of `--profile`",
        "ROSETTA_HOST": "a JSON file with a machine, to plan for GPUs that are not here: [running.md](running.md#gpus)",
    },
    "Under `docker compose`": {
        "ROSETTA_ARGS": "further options of `rosetta run`, quoted as in a shell",
        "ROSETTA_PORT": "another port than 8080 for the pages",
        "ROSETTA_USER": "the user that reads `./results` for the pages, where others may not: `$(id -u)`",
        "ROSETTA_SOCKET": "the engine's socket, where that is not `/var/run/docker.sock`",
        "ROSETTA_DATA_MIRROR_DIR": "a folder with the data sets' original files",
        "ROSETTA_BASE": "the base of the orchestrator's own image, where a local one stands in for the official one",
    },
    "A script by itself": {
        "ROSETTA_PLATFORM": "the platform of a script started by hand: `cpu`, `cuda9` …; images set it",
        "ROSETTA_RESULTS": "where it writes its document; in a container `/results`",
        "ROSETTA_DATA": "the folder of its data set; in a container `/data`",
        "ROSETTA_WEIGHTS": "the folder of `--weights`; in a container `/weights`",
        "ROSETTA_ARGUMENTS": "the command line as a JSON list, for languages other than Python",
    },
}
"""The environment variables that a user may set, by purpose."""

OF_CLICK = (
    (0, "Success"),
    (1, "An error without a code of its own"),
    (2, "The command line is invalid"),
    (130, "Interrupted by Ctrl-C"),
)
"""Exit codes that are no errors of ours, or not of one kind."""


def reference() -> str:
    """Both tables as Markdown."""
    return "\n\n".join([*(of_variables()), "## Exit codes", table(("code", "meaning"), exit_codes())])


def of_variables() -> Iterator[str]:
    """A table for each purpose."""
    yield "## Variables"
    for purpose, names in VARIABLES.items():
        yield f"**{purpose}**"
        yield table(("variable", "what it names"), [(f"`{name}`", text) for name, text in names.items()])


def exit_codes() -> Sequence[tuple[str, str]]:
    """Each code once, with the first sentence of the first error that has it."""
    found = dict(OF_CLICK)
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.RosettaError) and kind.__doc__:
            found.setdefault(kind.exit_code, kind.__doc__.split("\n")[0].rstrip("."))
    return [(str(code), text) for code, text in sorted(found.items())]


def table(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Lines as a table of Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, ["---"] * len(heading), *lines))
