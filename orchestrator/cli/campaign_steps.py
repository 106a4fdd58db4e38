"""What a campaign does, step after step, and the file and page that it ends with."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cell.cell import OWN
from orchestrator.cli.options import Selection
from orchestrator.errors import ResultError, RosettaError
from orchestrator.system.terminal import echo, note
from orchestrator.system.text_files import read_text, write_text
from orchestrator.system.words import counted

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from orchestrator.cli.own import Asked
    from orchestrator.engines.protocol import Engine
    from orchestrator.plan.campaign import Part, Step
    from orchestrator.plan.verdicts import Planned
    from orchestrator.report.campaign import Page, Told
    from orchestrator.report.doctor import Finding
    from orchestrator.run.budget import Fitted
    from orchestrator.run.estimates import Estimate, Estimates
    from orchestrator.system.host import Host

FILE, PAGE = "campaign.parquet", "campaign.md"
DOCTOR = 15.0
"""Estimated seconds for the doctor, which may have to ask the engine for its GPUs."""


@dataclass
class Campaign:
    """A campaign on this machine: where it runs and what it has done. ``asked`` is somebody's installation, if any."""

    selection: Selection
    engine: "Engine"
    asked: "Asked | None"
    host: "Host"
    parts: "list[Part]"
    estimates: "Estimates"
    console: "Console"
    command: str
    told: "list[Told]" = field(default_factory=list)
    findings: "list[Finding]" = field(default_factory=list)
    opponents: str = ""

    @property
    def folder(self) -> Path:
        """The folder of its results."""
        return self.asked.folder.path if self.asked else self.selection.results

    @property
    def pairs(self) -> list[str]:
        """The measured ``library/workload`` pairs that may have opponents: the leading libraries', else all."""
        from orchestrator.plan.campaign import LEADING

        cells = [one.cell for part in self.parts for one in part.planned if one.cell.workload in ("cnn", "rnn")]
        leading = [cell for cell in cells if cell.library in LEADING]
        return list(dict.fromkeys(f"{cell.library}/{cell.workload}" for cell in leading or cells))

    def estimate(self, planned: "Planned") -> tuple[float, str]:
        """Return the estimated seconds for a cell, and the estimate's source."""
        found = self.estimates.of(planned.cell)
        return found.seconds, found.source

    def fitted(self, parts: "Sequence[Part]", budget: float) -> "list[Fitted]":
        """Return what of some steps fits into ``budget`` seconds."""
        from orchestrator.plan.campaign import Kind
        from orchestrator.run import budget as time_that_is_left
        from orchestrator.run import opponents

        asked = opponents.EACH * len(self.pairs) * (not opponents.unavailable())
        others = {Kind.DOCTOR: DOCTOR, Kind.OPPONENTS: asked}

        def of(one: "Planned") -> "Estimate":
            return self.estimates.of(one.cell)

        return time_that_is_left.fitted(parts, budget, of, lambda part: others[part.step.kind])


def plan_of(engine: "Engine", asked: "Asked | None", folder: Path, step: "Step") -> "Callable[..., list[Planned]]":
    """Return the function that gives the cells of a step their verdicts."""
    from orchestrator.cli.cells import plan_of_matrix
    from orchestrator.results.paths import ResultsFolder

    place = place_of(folder, step)
    if asked is None:
        return plan_of_matrix(engine, place, False)
    return replace(asked, folder=ResultsFolder(place)).plan


def place_of(folder: Path, step: "Step") -> Path:
    """Return the results folder of a step; parity has its own."""
    from orchestrator.plan.campaign import Kind
    from orchestrator.results.paths import ResultsFolder

    return ResultsFolder(folder).parity.path if step.kind is Kind.PARITY else folder


# --- What is done ---------------------------------------------------------------------------------------------------
def carry_out(made: Campaign, budget: float) -> None:
    """Run the steps in order while there is time; a step that fails does not stop the others."""
    from orchestrator.plan.campaign import Kind
    from orchestrator.report.campaign import Told, named

    begun = time.monotonic()
    does = {Kind.DOCTOR: examine, Kind.PARITY: run_cells, Kind.CELLS: run_cells, Kind.OPPONENTS: run_opponents}
    full = False
    for part in made.parts:
        left = 0.0 if full else budget - (time.monotonic() - begun)
        made.estimates.renew()
        (fitted,) = made.fitted([part], left)
        full = not fitted.fits
        told = Told(part.step.name, part.step.says, left_out=named(fitted.left_out))
        made.told.append(told)
        if not fitted.fits and not fitted.chosen:
            if not part.step.workloads:
                told.said.append("left out for lack of time")
            echo(f"{part.step.name}: left out for lack of time")
            continue
        echo(f"{part.step.name}: {part.step.says}")
        at = time.monotonic()
        try:
            does[part.step.kind](made, fitted, told)
        except RosettaError as error:
            told.bad = told.bad or 1
            told.said.append(" ".join(filter(None, (error.what, error.why))))
            note(f"{part.step.name}: {error.what}")
        finally:
            told.seconds = time.monotonic() - at


def examine(made: Campaign, fitted: "Fitted", told: "Told") -> None:
    """Record what the machine has and print what it lacks; cells that can run still run."""
    from orchestrator.report.doctor import State
    from orchestrator.report.doctor import examine as look

    for finding in look(made.engine, made.selection.results):
        made.findings.append(finding)
        if finding.state is not State.OK:
            echo(f"  {finding.state}: {finding.about}: {finding.said}")


def run_cells(made: Campaign, fitted: "Fitted", told: "Told") -> None:
    """Run the cells of a step that fit; raises CellsFailed if one does not end ok."""
    from orchestrator.cli import cells
    from orchestrator.cli.own import USUAL

    chosen = [one.cell for one in fitted.chosen]
    if not chosen:
        return
    folder = place_of(made.folder, fitted.part.step)
    plan = plan_of(made.engine, made.asked, made.folder, fitted.part.step)

    def show(results: "pa.Table", console: "Console") -> None:
        """Print nothing: the page shows everything at the end."""

    try:
        cells.run_cells(chosen, made.engine, folder, plan, show, USUAL, console=made.console)
    finally:
        told.done, told.bad = good_and_bad(folder, plan(chosen, made.host))


def good_and_bad(folder: Path, planned: "Sequence[Planned]") -> tuple[int, int]:
    """Count the cells that ended ok and those that ended otherwise; unfinished ones count as neither."""
    from orchestrator.cell.contract import Status
    from orchestrator.results.files import read_results
    from orchestrator.results.paths import ResultsFolder

    place, statuses = ResultsFolder(folder), []
    for one in planned:
        with suppress(RosettaError):
            statuses += read_results(place.result(one.key, one.cell.id))["status"].to_pylist()
    good = statuses.count(Status.OK)
    return good, len(statuses) - good


def run_opponents(made: Campaign, fitted: "Fitted", told: "Told") -> None:
    """Time our scripts, in the same hour, against scripts written like the notebooks of 2018."""
    from orchestrator.report.campaign import indented
    from orchestrator.run import opponents

    if lacking := opponents.unavailable():
        told.said.append(lacking)
        return
    if not made.pairs:
        return
    kept = opponents.kept(made.folder)
    if kept.is_file():
        made.opponents = read_text(kept, ResultError)
        return
    python = getattr(made.asked.engine, "python", None) if made.asked else None
    if made.asked and not python:
        told.said.append("can't run in a third-party image")
        return
    cells = [one.cell for part in made.parts for one in part.planned]
    on_card = any(cell.gpu != "none" for cell in cells)
    words = opponents.command(made.pairs, str(python or ""), (cell.platform for cell in cells), on_card)
    made.opponents = opponents.run(made.folder, words)
    echo(indented(made.opponents))


# --- What is sent in ------------------------------------------------------------------------------------------------
def finish(made: Campaign) -> None:
    """Write the file and the page from whatever is done; write nothing if nothing was measured."""
    import pyarrow.compute as pc

    from orchestrator.report import campaign as report
    from orchestrator.results.files import write_results
    from orchestrator.results.merging import gather
    from orchestrator.results.paths import ResultsFolder

    folder = ResultsFolder(made.folder)
    if not any(folder.results()):
        echo("nothing was measured, so there is no page")
        return
    rows = gather([made.folder])
    if not made.asked:  # installations have folders within this one
        rows = rows.filter(pc.not_equal(rows["platform"], OWN))
    keys = {one.key for part in made.parts for one in part.planned}
    rows = rows.filter(pc.or_(pc.is_valid(rows["parity"]), pc.is_in(rows["key"], pa_array(keys))))
    write_results(rows, folder.reports / FILE)
    write_text(folder.reports / PAGE, report.page(page_of(made, rows), rows))
    many = counted(rows.num_rows, "row")
    echo(f"to submit: {folder.reports / FILE} ({many}) and {folder.reports / PAGE}; see docs/submit.md")


def pa_array(words: "set[str]") -> "pa.Array[Any]":
    """Return words as a sorted Arrow array."""
    import pyarrow as pa

    return pa.array(sorted(words), pa.string())


def page_of(made: Campaign, rows: "pa.Table") -> "Page":
    """Return what the page says besides the rows."""
    from orchestrator.cli.auditing import look
    from orchestrator.plan.campaign import impossible
    from orchestrator.report.campaign import Page
    from orchestrator.system.checkout import commit
    from orchestrator.system.host import described

    found = commit()
    program = (
        f"commit {found[0][:12]}{', with uncommitted changes' if found[1] else ''}" if found else "an installed package"
    )
    audit = [f"{one.cell}: {one.what}" for one in look(rows)]
    on_card = any(one.cell.gpu != "none" for part in made.parts for one in part.planned)
    machine = described(made.host) if on_card else ["a CPU"]
    return Page(
        machine, program, made.command, made.told, made.findings, made.opponents, audit, FILE, impossible(made.parts)
    )
