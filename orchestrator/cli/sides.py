"""The sides of a comparison: how a user names one, and the cells and engines that the words stand for."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.options import Length, Selection
from orchestrator.errors import SelectionError
from orchestrator.system.words import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cell.cell import Cell
    from orchestrator.engines.protocol import Engine
    from orchestrator.plan.verdicts import Planned
    from orchestrator.run.pairs import Contest, Side
    from orchestrator.system.host import Host

    Plan = Callable[[list[Cell], Host, Path], list[Planned]]

WORD = re.compile(r",(?![^{]*\})")
"""The separator between the words of a side; a comma within the braces of a glob does not count."""

SETTINGS: Mapping[str, type] = {
    **dict.fromkeys(("library", "platform", "gpu", "precision", "variant", "data"), str),
    "n_gpus": int,
}
"""The axes of a cell that a side may set."""


@dataclass(frozen=True)
class Words:
    """A side as typed: which cells, the axes set on each, how many cores, and where it runs: ``("python", PATH)``."""

    text: str
    cells: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    cores: int | None = None
    place: tuple[str, str] = ("", "")


def words_of(text: str) -> Words:
    """Parse a side such as ``pytorch/rnn/cpu,variant=highapi``; raises SelectionError for an unknown word."""
    words = Words(text)
    for word in filter(None, WORD.split(text)):
        name, equals, value = word.partition("=")
        if not equals or "/" in name or "*" in name:
            words = replace(words, cells=word)
        elif name in SETTINGS or name == "cores":
            number = SETTINGS.get(name, int)
            if number is int and not (value.isdecimal() and int(value)):
                raise SelectionError(f"{word}: {name} must be a number, 1 or more.")
            set_to = {"cores": int(value)} if name == "cores" else {"settings": {**words.settings, name: number(value)}}
            words = replace(words, **set_to)
        elif name in PLACES and value:
            words = replace(words, place=(name, value))
        else:
            known = ", ".join(f"{one}=…" for one in (*SETTINGS, "cores", *filter(None, PLACES)))
            near = did_you_mean(name, (*SETTINGS, "cores", *PLACES)) if equals else ""
            remedy = f"{near} A side consists of cells and {known}.".strip()
            raise SelectionError(f"{word} is not part of a side.", remedy=remedy)
    return words


@dataclass(frozen=True)
class Place:
    """Where a side runs: its engine, the cells that a selection has there, and how they are planned."""

    engine: "Engine"
    cells: "Callable[[Selection, Length], list[Cell]]"
    plan: "Plan"
    inside: Callable[[], AbstractContextManager[None]] = nullcontext


def ours(value: str, selection: Selection, console: "Console") -> Place:
    """Return the place for our own images with this checkout's scripts."""
    from orchestrator.cli import cells
    from orchestrator.plan.verdicts import plan_cells

    engine = cells.engine_of(selection)

    def plan(wanted: "list[Cell]", host: "Host", folder: Path) -> "list[Planned]":
        return plan_cells(wanted, engine, folder, host, selection.unverified)

    return Place(engine, lambda chosen, length: cells.cells_of(chosen, engine, length), plan)


def of_checkout(value: str, selection: Selection, console: "Console") -> Place:
    """Return the place for the images and scripts of another checkout."""
    from orchestrator.system import library_folders

    def inside() -> AbstractContextManager[None]:
        return library_folders.of_checkout(Path(value).expanduser())

    return replace(ours(value, selection, console), inside=inside)


def installation(kind: str) -> "Callable[[str, Selection, Console], Place]":
    """Return the function that makes places for a user's interpreters or images."""

    def place(value: str, selection: Selection, console: "Console") -> Place:
        from orchestrator.cli import own
        from orchestrator.cli.options import Installations
        from orchestrator.results.paths import ResultsFolder

        given = {"python": (), "image": (), kind: (value,)}
        ((label, engine),) = own.engines(Installations(**given))
        asked = own.ask(label, engine, selection, console)

        def plan(wanted: "list[Cell]", host: "Host", folder: Path) -> "list[Planned]":
            return replace(asked, folder=ResultsFolder(folder)).plan(wanted, host)

        return Place(engine, lambda chosen, length: own.cells_of(asked, chosen, length), plan)

    return place


PLACES: "Mapping[str, Callable[[str, Selection, Console], Place]]" = {
    "": ours,
    "checkout": of_checkout,
    "python": installation("python"),
    "image": installation("image"),
}
"""Where a side may run, by the word that says so."""


def contests(texts: tuple[str, str], selection: Selection, length: Length, console: "Console") -> "list[Contest]":
    """Return the comparisons of two sides; raises SelectionError if there are none, or the pairing is ambiguous."""
    made: dict[tuple[str, str], Place] = {}
    sides: list[list[Side]] = []
    for words in map(words_of, texts):
        place = made.get(words.place) or PLACES[words.place[0]](words.place[1], selection, console)
        made[words.place] = place
        sides.append(sides_of(words, place, selection, length))
    return [contest(a, b, selection.results) for a, b in paired(*sides)]


def sides_of(words: Words, place: Place, selection: Selection, length: Length) -> "list[Side]":
    """Return the cells of one side, each with where and how it runs."""
    from orchestrator.cli.cells import machine_of
    from orchestrator.run.pairs import Side

    only = (words.cells,) if words.cells else selection.only
    if not only:
        raise SelectionError(f"{words.text} names no cells.", remedy="Name them: --only 'pytorch/rnn/*'.")
    with place.inside():
        cells = place.cells(replace(selection, only=only), length)
    cells = list(dict.fromkeys(replace(cell, repeat=0, **words.settings) for cell in cells))
    host = machine_of(cells, place.engine)
    return [Side(words.text, cell, place.engine, host, place.plan, place.inside, words.cores) for cell in cells]


def paired(ours: "Sequence[Side]", theirs: "Sequence[Side]") -> "list[tuple[Side, Side]]":
    """Pair the cells to compare: those of one workload that agree on every axis on which both sides share a value."""
    from orchestrator.cell.cell import AXES

    def has(sides: "Sequence[Side]", axis: str) -> set[Any]:
        return {getattr(side.cell, axis) for side in sides}

    shared = [axis for axis in AXES if axis == "workload" or has(ours, axis) & has(theirs, axis)]

    def question(side: "Side") -> tuple[Any, ...]:
        return tuple(getattr(side.cell, axis) for axis in shared)

    by_question = {question(side): side for side in theirs}
    if len(by_question) < len(theirs) or len({question(side) for side in ours}) < len(ours):
        what = "It is unclear which cells to compare with each other."
        raise SelectionError(what, remedy="Choose fewer with --only, or one cell on each side.")
    found = [(side, by_question[question(side)]) for side in ours if question(side) in by_question]
    if not found:
        raise SelectionError("The two sides have no cell in common.", remedy="'rosetta plan' prints all cells.")
    return found


def contest(a: "Side", b: "Side", results: Path) -> "Contest":
    """Return two sides with the folder of their rows, named by a checksum of all that may change a result of either.

    Raises SelectionError if one can't run here, or if both are the same.
    """
    import hashlib

    from orchestrator.plan.verdicts import Verdict, hopeless
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.run.pairs import Contest

    first = [side.planned(0, results) for side in (a, b)]
    impossible = [planned for planned in first if planned.verdict is Verdict.INCOMPATIBLE]
    if impossible:
        raise hopeless(f"{impossible[0].cell.id} can't run here.", [planned.reason for planned in impossible])
    keys = [f"{planned.key} {side.cores or ''}" for planned, side in zip(first, (a, b), strict=True)]
    if keys[0] == keys[1]:
        what = f"Both sides of {a.cell.id} are the same: same scripts, image and settings."
        raise SelectionError(what, remedy="Make them differ; see the examples in 'rosetta compare --help'.")
    name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    return Contest(title(a, b), (a, b), ResultsFolder(results).comparison(name))


def title(a: "Side", b: "Side") -> str:
    """Return the name of a comparison: its cell, or both cells if they differ."""
    return a.cell.id if a.cell.id == b.cell.id else f"{a.cell.id} – {b.cell.id}"
