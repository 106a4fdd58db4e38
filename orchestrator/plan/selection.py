"""Which cells a person means: globs over their ids and addresses."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import Cell
from orchestrator.cell.workloads import workloads
from orchestrator.compare import published_2018
from orchestrator.errors import SelectionError
from orchestrator.images.definitions import library_index
from orchestrator.plan.combinations import cells_of_file
from orchestrator.plan.matrix import HERE, read
from orchestrator.system import gpus
from orchestrator.system.host import Host, described


def selector(only: Sequence[str], skip: Sequence[str]) -> Callable[[Cell], bool]:
    """A test of cells by globs with braces, against the id and against all axes written out."""
    from wcmatch import fnmatch

    def compiled(patterns: Sequence[str]) -> Callable[[str], bool]:
        matcher = fnmatch.compile(list(patterns), flags=fnmatch.BRACE | fnmatch.FORCEUNIX)
        return lambda text: bool(matcher.match(text))

    wanted, unwanted = compiled(only or ["*"]), compiled(skip or [])
    return lambda cell: (wanted(cell.id) or wanted(cell.address)) and not (unwanted(cell.id) or unwanted(cell.address))


def select(every: Sequence[Cell], only: Sequence[str], skip: Sequence[str]) -> list[Cell]:
    """The cells that the selectors leave; raises SelectionError, with ids that are near, where they leave none."""
    if not only and not skip:
        return list(every)
    keep = selector(only, skip)
    chosen = [cell for cell in every if keep(cell)]
    if not chosen:
        ids = sorted({cell.id for cell in every})
        near = difflib.get_close_matches(only[0], ids, n=3, cutoff=0.3) if only else ids[:3]
        raise SelectionError(
            f"No cell of {len(every):,} matches --only {' '.join(only) or '*'}"
            + (f" --skip {' '.join(skip)}." if skip else "."),
            remedy=f"Cell ids look like: {', '.join(near or ids[:3])}. 'rosetta plan' prints all.",
        )
    return chosen


class Models(tuple[str, ...]):
    """The words for GPUs that anybody may know; beside them, one with a digit or hyphen may be any card's: titan-v."""

    __slots__ = ()

    def __contains__(self, word: object) -> bool:
        return super().__contains__(word) or any(letter.isdigit() or letter == "-" for letter in str(word))


def known_words() -> dict[str, Iterable[str]]:
    """The valid words of each axis of matrix.yaml."""
    return {
        "library": sorted({*published_2018.LIBRARIES, *library_index()}),
        "workload": tuple(workloads()),
        "platform": gpus.PLATFORMS,
        "gpu": Models(("none", HERE, *gpus.KNOWN)),
        "precision": gpus.PRECISIONS,
        "data": ("real", "synthetic"),
    }


def selected_cells(
    path: Path,
    profile: str | None,
    only: Sequence[str],
    skip: Sequence[str],
    overrides: Mapping[str, Any],
    machine: Callable[[], Host] = Host,
) -> list[Cell]:
    """The selected cells of a matrix file, with the words that images/ and the tables know.

    ``machine`` tells what GPUs are there, where that matters. Raises MatrixError, and SelectionError where the
    selectors leave none.
    """
    known = known_words()

    def here() -> Sequence[str]:
        return machine().models

    every = cells_of_file(path, profile, known, overrides, here)
    try:
        return select(every, only, skip)
    except SelectionError as error:
        if any("cuda" in pattern for pattern in only):
            error.why = f"GPUs: {'; '.join(described(machine()))}."
        keep = selector(only, skip)
        elsewhere = {
            name: found
            for name in read(path)[0].profiles
            if (found := list(filter(keep, cells_of_file(path, name, known, overrides, here))))
        }
        raise outside_of(profile, every, elsewhere) if elsewhere else error from None


def outside_of(profile: str | None, every: Sequence[Cell], elsewhere: Mapping[str, Sequence[Cell]]) -> SelectionError:
    """The error for a selection of cells that other profiles have, of which ``every`` cell of this one is none."""
    first = next(iter(elsewhere.values()))[0]
    libraries = list(dict.fromkeys(cell.library for cell in every))
    if first.library not in libraries:
        why = f"Its libraries are {', '.join(libraries)}."
    else:
        why = f"It has {first.library}, but not {first.id}."
    profiles = [f"--profile {name}" for name in elsewhere]
    what = f"The profile {profile} has none of the selected cells." if profile else "No cell is selected."
    return SelectionError(what, why, f"They are in {' and '.join(profiles)}.")
