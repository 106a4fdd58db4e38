"""Installations that are not ours: asked, measured by our scripts, and compared."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.libraries import matrix_path, take_in_libraries
from orchestrator.cli.options import Installations, Judging, Length, Running, Selection
from orchestrator.errors import CellsFailed, InstallationError
from orchestrator.system.terminal import note

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from orchestrator.cell.cell import Cell
    from orchestrator.compare.comparison import Compared
    from orchestrator.compare.own import Source
    from orchestrator.engines.own import OwnEngine
    from orchestrator.images.installation import Facts, Installed
    from orchestrator.plan.own import Found
    from orchestrator.plan.verdicts import Planned
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.run.rounds import Target
    from orchestrator.system.host import Host

RunCells = Callable[..., None]
"""``cells.run_cells``, passed as an argument because its module calls this one."""

A_DAY = 24 * 3600.0
USUAL = Running(jobs=1, deadline=A_DAY, build_deadline=A_DAY, rerun=None, as_json=False)

NAMED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)=(?P<place>.+)", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """An installation with what it reported about itself; ``folder`` holds its results."""

    label: str
    engine: "OwnEngine"
    installed: "Installed"
    facts: "dict[str, Facts]"
    found: "list[Found]"
    folder: "ResultsFolder"

    def plan(self, cells: "list[Cell]", host: "Host") -> "list[Planned]":
        """The verdicts of its cells."""
        from orchestrator.plan import own

        return own.planned(cells, self.found, self.installed, self.label, self.engine.name, self.folder.path, host)


def run(
    installations: Installations,
    selection: Selection,
    length: Length,
    running: Running,
    target: "Target | None",
    run_cells: RunCells,
) -> None:
    """Ask installations, measure one after the other, and show their columns; raises CellsFailed at the end."""
    from orchestrator.report import screen
    from orchestrator.results.files import read_results
    from orchestrator.results.merging import merge
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.system.console import screen as console_on

    console, failed = console_on(stderr=running.as_json), None
    for asked in [ask(label, engine, selection, console) for label, engine in engines(installations)]:
        try:
            measure(asked, selection, length, running, console, run_cells, target)
        except CellsFailed as error:
            failed = error
    merged = ResultsFolder(selection.results).merged
    merge([selection.results], merged, note)
    if not running.as_json:
        screen.show(read_results(merged), console)
    if failed:
        raise failed


def verify(
    installations: Installations,
    selection: Selection,
    length: Length,
    against: Path | None,
    judging: Judging,
    run_cells: RunCells,
) -> "tuple[list[Compared], str]":
    """Measure installations and compare each; returns the comparisons, and the baseline's name for people."""
    from contextlib import suppress

    from orchestrator.compare import comparison, own
    from orchestrator.results.merging import gather
    from orchestrator.system.console import screen as console_on

    console = console_on(stderr=judging.for_programs)
    sources, compared = list(sources_of(selection, against)), []
    for asked in [ask(label, engine, selection, console) for label, engine in engines(installations)]:
        with suppress(CellsFailed):  # a cell that failed is a verdict, as is one that is slower
            measure(asked, selection, length, USUAL, console, run_cells)
        results = chosen(gather([asked.folder.path], note), asked, selection, length)
        find = own.baselines(sources, asked.engine.machine().models)
        found = comparison.verify(results, find, judging.threshold / 100)
        compared += found
        said = {reason for one in found for reason in one.reasons}
        warnings = [line for line in dict.fromkeys(own.warnings(results)) if line not in said]
        for line in (*warnings, *own.beside(results)):
            console.print(f"{asked.label}: {line}", style="dim", markup=False, highlight=False, soft_wrap=True)
    return compared, " or ".join(source.name for source in sources) or "the figures of 2018"


def sources_of(selection: Selection, against: Path | None) -> "Iterator[Source]":
    """Yield the sources of baselines: the named one, else our own rows of this machine, then published ones."""
    from orchestrator.compare.own import source_of
    from orchestrator.results.files import read_results
    from orchestrator.results.merging import gather
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.system.library_folders import PROGRAM

    if against:
        yield source_of(str(against), gather([against], note), anywhere=True)
        return
    merged = ResultsFolder(selection.results).merged
    if merged.is_file():
        yield source_of(str(merged), read_results(merged))
    published = PROGRAM.path / "docs" / "results"  # not in a wheel
    if published.is_dir():
        yield source_of("published results", gather([published], note))


def engines(installations: Installations) -> "list[tuple[str, OwnEngine]]":
    """An engine for each installation, by its name; raises MatrixError for a name twice or none, InstallationError."""
    from orchestrator.errors import MatrixError
    from orchestrator.images.installation import checked_name

    named = [(*split(text, name_of_python), "python") for text in installations.python]
    named += [(*split(text, name_of_image), "image") for text in installations.image]
    names = [checked_name(name) for name, _, _ in named]
    if twice := next((name for name in names if names.count(name) > 1), None):
        remedy = f"Give them names: --python {twice}-a=… --python {twice}-b=…"
        raise MatrixError(f"Two installations have the name {twice}.", remedy=remedy)
    return [(name, engine_of(place, kind)) for name, place, kind in named]


def engine_of(place: str, kind: str) -> "OwnEngine":
    """The engine of a Python or an image; raises InstallationError if it is not there."""
    from orchestrator.engines.own import OwnPython

    if kind == "python":
        return OwnPython(Path(place))
    from orchestrator.engines.own_image import OwnImage

    return OwnImage(place)


def split(text: str, usual: "type[str] | object") -> tuple[str, str]:
    """Name and place in ``NAME=PLACE``, or the usual name for a place alone; raises InstallationError for odd names."""
    found = NAMED.fullmatch(text)
    if found:
        return found["name"], found["place"]
    name, named, place = text.partition("=")
    if named and "/" not in name and "/" in place:
        remedy = f"Call it {as_name(name)}={place}."
        raise InstallationError(f"{name!r} is no name: it may have letters, digits and '.', '_', '-'.", remedy=remedy)
    assert callable(usual)
    return str(usual(text)), text


def name_of_python(path: str) -> str:
    """Return the default name of an interpreter: its environment's folder, else its file."""
    place = Path(path).expanduser()
    folder = place.parent.parent.name if place.parent.name == "bin" else ""
    return as_name(folder if folder not in ("", "usr", "local") else place.name)


def name_of_image(image: str) -> str:
    """Return the default name of an image: ``nvcr.io/nvidia/pytorch:26.10-py3`` → ``pytorch-26.10-py3``."""
    return as_name(image.rpartition("/")[2].partition("@")[0])


def as_name(text: str) -> str:
    """Turn a text into a valid name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:40] or "own"


def ask(label: str, engine: "OwnEngine", selection: Selection, console: "Console") -> Asked:
    """Ask an installation what it has, and print it; raises InstallationError if it can't say, or has nothing."""
    from orchestrator.plan import own
    from orchestrator.report import installation as report
    from orchestrator.results.paths import ResultsFolder

    take_in_libraries(selection.own, matrix_path(selection.matrix_file))
    installed = engine.installed()
    facts = {module: engine.facts(module) for module in own.MODULES if module in installed.modules}
    found, cards = own.found_in(installed, facts), len(engine.machine().devices)
    for line in report.lines(label, installed, facts, found, cards):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if all(entry.reason for entry in found):
        reasons = "; ".join(dict.fromkeys(entry.reason for entry in found))
        why = reasons or f"It has none of {', '.join(own.MODULES)}."
        raise InstallationError(f"Nothing in {engine.source} can be measured.", why)
    return Asked(label, engine, installed, facts, found, ResultsFolder(selection.results).own(label))


def cells_of(asked: Asked, selection: Selection, length: Length) -> "list[Cell]":
    """The selected cells that an installation has; raises SelectionError if there is none."""
    from orchestrator.plan.own import own_cells
    from orchestrator.plan.selection import select, selected_cells

    overrides = {
        "data": [length.data] if length.data else None,
        "repeat": list(range(length.repeats)) if length.repeats else None,
        "epochs": length.epochs,
        "samples": length.samples,
    }
    machine = asked.engine.machine
    every = selected_cells(matrix_path(selection.matrix_file), selection.profile, (), (), overrides, machine)
    return select(own_cells(every, asked.found, machine()), selection.only, selection.skip)


def measure(
    asked: Asked,
    selection: Selection,
    length: Length,
    running: Running,
    console: "Console",
    run_cells: RunCells,
    target: "Target | None" = None,
) -> None:
    """Run the cells that an installation can run; print why others can't. Raises CellsFailed, InstallationError."""
    from orchestrator.plan.verdicts import Verdict

    cells, host = cells_of(asked, selection, length), asked.engine.machine()
    every = asked.plan(cells, host)
    reasons: dict[str, list[str]] = {}
    for one in every:
        if one.verdict is Verdict.INCOMPATIBLE:
            reasons.setdefault(one.reason, []).append(one.cell.id)
    for reason, ids in reasons.items():
        console.print(
            f"{asked.label}: left out, {reason}: {', '.join(ids)}", style="dim", markup=False, highlight=False
        )
    ready = [one.cell for one in every if one.verdict is not Verdict.INCOMPATIBLE]
    if not ready:
        raise InstallationError(f"None of the selected cells can run in {asked.engine.source}.", "; ".join(reasons))

    def show(results: "pa.Table", console: "Console") -> None:
        """Print nothing: the caller shows more than this installation alone."""

    run_cells(ready, asked.engine, asked.folder.path, asked.plan, show, running, target, console=console)


def chosen(results: "pa.Table", asked: Asked, selection: Selection, length: Length) -> "pa.Table":
    """Return the selected cells' rows, without those measured under this name with other packages."""
    import pyarrow as pa

    keys = {one.key for one in asked.plan(cells_of(asked, selection, length), asked.engine.machine())}
    return results.filter(pa.array([key in keys for key in results["key"].to_pylist()], pa.bool_()))
