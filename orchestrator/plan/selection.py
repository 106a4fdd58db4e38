"""Which cells a person means: globs over their ids and addresses."""

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import bracex

from orchestrator.cell.cell import Cell
from orchestrator.cell.workloads import workloads
from orchestrator.compare import published_2018
from orchestrator.errors import SelectionError
from orchestrator.images.definitions import library_index
from orchestrator.plan.combinations import cells_of_file
from orchestrator.plan.matrix import HERE, read
from orchestrator.plan.models import Models
from orchestrator.system import gpus
from orchestrator.system.host import Host, described


def selector(only: Sequence[str], skip: Sequence[str]) -> Callable[[Cell], bool]:
    """Return a predicate that matches cells by globs with braces, against the id and all axes written out."""
    from wcmatch import fnmatch as globs
    from wcmatch._wcparse import PatternLimitException

    def compiled(patterns: Sequence[str]) -> Callable[[str], bool]:
        try:
            matcher = globs.compile(list(patterns), flags=globs.BRACE | globs.FORCEUNIX)
        except PatternLimitException:
            what = f"The braces of {' '.join(patterns)[:200]} expand to more than 1,000 patterns."
            raise SelectionError(what, remedy="Use * instead, or select in several runs.") from None
        return lambda text: bool(matcher.match(text))

    wanted, unwanted = compiled(only or ["*"]), compiled(skip or [])
    return lambda cell: (wanted(cell.id) or wanted(cell.address)) and not (unwanted(cell.id) or unwanted(cell.address))


def select(every: Sequence[Cell], only: Sequence[str], skip: Sequence[str]) -> list[Cell]:
    """Return the cells that the selectors keep; raises SelectionError, with similar ids, if they keep none."""
    if not only and not skip:
        return list(every)
    keep = selector(only, skip)
    chosen = [cell for cell in every if keep(cell)]
    if not chosen:
        ids = sorted({cell.id for cell in every})
        near = difflib.get_close_matches(only[0], ids, n=3, cutoff=0.3) if only else ids[:3]
        none = f"None of the {len(every):,} cells matches" if len(every) > 1 else "The only cell does not match"
        raise SelectionError(
            f"{none} --only {' '.join(only) or '*'}" + (f" --skip {' '.join(skip)}." if skip else "."),
            remedy=f"Cell ids look like: {', '.join(near or ids[:3])}. 'rosetta plan' prints all.",
        )
    return chosen


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

    @cache
    def here() -> Sequence[str]:
        return () if are_for_cpus(only) else machine().models

    known["gpu"] = Models(known["gpu"], here)

    every = cells_of_file(path, profile, known, overrides, here)
    try:
        return select(every, only, skip)
    except SelectionError as error:
        gpus_here = f"GPUs: {'; '.join(described(machine()))}." if ask_for_gpus(only, known) else ""
        keep = selector(only, skip)
        elsewhere = {
            name: found
            for name in read(path)[0].profiles
            if (found := list(filter(keep, cells_of_file(path, name, known, overrides, here))))
        }
        wrong = outside_of(profile, every, elsewhere) if elsewhere else error
        wrong.why = " ".join(filter(None, (wrong.why, gpus_here)))
        raise wrong from None


def are_for_cpus(patterns: Sequence[str]) -> bool:
    """Whether all selectors name the platform cpu, so that no card needs to be looked for."""
    return bool(patterns) and all(re.search(r"/cpu(/|$)", each) for each in expanded(patterns))


def expanded(patterns: Sequence[str]) -> list[str]:
    """Selectors with their braces written out, as far as they don't stand for too many."""
    every = []
    for pattern in patterns:
        try:
            every += bracex.expand(pattern)
        except bracex.ExpansionLimitException:
            every.append(pattern)
    return every


def ask_for_gpus(patterns: Sequence[str], known: Mapping[str, Iterable[str]] | None = None) -> bool:
    """Whether selectors name a card or a platform that needs one: ``pytorch/*/cuda12``, ``*/a100``, ``*/rtx-4090``."""
    known = known or known_words()
    if are_for_cpus(patterns):
        return False
    others = {word for axis, words in known.items() if axis not in ("platform", "gpu") for word in words}
    words = {word for pattern in expanded(patterns) for word in pattern.split("/")} - others - {"none", "cpu"}
    return any(names_gpus(word, known) for word in words)


def names_gpus(word: str, known: Mapping[str, Iterable[str]]) -> bool:
    """Whether a part of a selector names a platform with a GPU, or a card; ``*`` alone names nothing."""
    if not any(sign in word for sign in "*?[!"):
        cards = known["gpu"]
        are_named = cards.are_named_by(word) if isinstance(cards, Models) else word in cards
        return word in known["platform"] or are_named or word.startswith("cuda")
    listed = {*gpus.CUDA, *gpus.KNOWN}
    return bool(word.strip("*")) and any(fnmatch.fnmatchcase(each, word) for each in listed)


def outside_of(profile: str | None, every: Sequence[Cell], elsewhere: Mapping[str, Sequence[Cell]]) -> SelectionError:
    """Return the error for a selection that only other profiles have; ``every`` are the cells of this one."""
    first = next(iter(elsewhere.values()))[0]
    libraries = list(dict.fromkeys(cell.library for cell in every))
    if first.library not in libraries:
        why = f"Its libraries are {', '.join(libraries)}."
    else:
        why = f"It has {first.library}, but not {first.id}."
    profiles = [f"--profile {name}" for name in elsewhere]
    what = f"The profile {profile} has none of the selected cells." if profile else "No cell is selected."
    return SelectionError(what, why, f"Select them with {' or '.join(profiles)}.")
