"""The campaign command: everything to measure on a GPU in an hour."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import options
from orchestrator.cli.apart import only_with
from orchestrator.cli.campaign_steps import Campaign, carry_out, finish, plan_of
from orchestrator.cli.kinds import Choice, Duration
from orchestrator.cli.libraries import matrix_path, take_in_libraries
from orchestrator.cli.options import Installations, Length, Selection, installations, length, own_libraries
from orchestrator.errors import INTERRUPTED, CellsFailed, SelectionError
from orchestrator.system.terminal import echo

if TYPE_CHECKING:
    from orchestrator.cell.cell import Cell
    from orchestrator.engines.protocol import Engine
    from orchestrator.plan.campaign import Part, Step, Wanted
    from orchestrator.plan.verdicts import Planned
    from orchestrator.run.budget import Fitted

LONGEST = 600


@click.command()
@click.option(
    "--budget",
    type=Duration(),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="1h, 90m, or none for no limit.",
)
@click.option("--cpu", is_flag=True, help="Measure the CPU even if there is a GPU.")
@click.option("--dry-run", is_flag=True, help="Print what would run and how long it would take; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print a JSON list of all cells.")
@options.only
@options.skip
@options.results_in("results", "Results folder; the file and the page to send in are in DIR/reports.")
@click.option("--engine", type=Choice(options.ENGINES_HERE), help="As for 'rosetta run'.")
@own_libraries
@installations
@length
@only_with("dry_run", "as_json")
def campaign(
    budget: float,
    cpu: bool,
    dry_run: bool,
    as_json: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    results: Path,
    engine: str | None,
    own: tuple[Path, ...],
    installations: Installations,
    length: Length,
) -> None:
    """Measure a GPU in an hour: one command that leaves one Parquet file and one page to send in.

    The order: a check of the machine, parity, the three single-GPU workloads in fp32, then in tf32 and bf16, scripts
    written as in 2018 for comparison (needs a checkout), more seeds, DenseNet-121, several GPUs, all other libraries.
    Whatever does not fit the budget is dropped from the end and named. Finished cells are not run again: after Ctrl-C,
    or to add another hour, type the same command. Without a GPU it measures the CPU. docs/submit.md explains how to
    send the rows in.

    \b
    examples:
      rosetta campaign --dry-run
      rosetta campaign
      rosetta campaign --budget 3h --only '{pytorch,jax}/*'
      rosetta campaign --python /opt/conda/bin/python          a machine with a GPU and no engine
      rosetta campaign --cpu --only 'pytorch/rnn/*' --data synthetic --epochs 1 --samples 640
    """
    from orchestrator.plan.campaign import Wanted

    if len(installations.python) + len(installations.image) > 1:
        raise click.UsageError("A campaign measures one installation: give a single --python or --image.")
    chosen = Selection(None, "full", only, skip, own, results, engine, None, False)
    wanted = Wanted(length.repeats or 3, only, skip, length.data, length.epochs, length.samples, cpu)
    made = campaign_of(chosen, installations, wanted)
    if dry_run:
        show_plan(made, budget, as_json)
        return
    try:
        carry_out(made, budget)
    except KeyboardInterrupt:
        echo("interrupted: finished work is kept; run the same command again to continue", err=True)
        sys.exit(INTERRUPTED)
    finally:
        finish(made)
    if bad := [one.name for one in made.told if one.bad]:
        remedy = "The page lists the failed cells; their logs are next to their results."
        raise CellsFailed(f"Some steps of the campaign failed: {', '.join(bad)}.", remedy=remedy)


def campaign_of(selection: Selection, installations: Installations, wanted: "Wanted") -> Campaign:
    """Return the campaign of this machine, or of a user's installation on it; raises whatever prevents planning it."""
    from orchestrator.cli import cells, own
    from orchestrator.plan import campaign as planning
    from orchestrator.plan.own import own_cells
    from orchestrator.run.estimates import Estimates
    from orchestrator.system.console import screen

    matrix, console = matrix_path(selection.matrix_file), screen()
    take_in_libraries(selection.own, matrix)
    asked = None
    for label, installation in own.engines(installations):
        asked = own.ask(label, installation, selection, console)
    engine: Engine = asked.engine if asked else cells.engine_of(selection)
    host = engine.machine()
    folder = asked.folder.path if asked else selection.results

    def adapt(every: "list[Cell]") -> "list[Cell]":
        return own_cells(every, asked.found, host, wanted.cpu) if asked else every

    def plan(found: "list[Cell]", step: "Step") -> "list[Planned]":
        return plan_of(engine, asked, folder, step)(found, host)

    parts = planning.parts(matrix, host, wanted, adapt, plan)
    if not any(part.planned for part in parts):
        raise nothing_to_run(parts, asked is not None and bool(host.models) and not wanted.cpu)
    estimates = Estimates(folder, published_rows(), len(os.sched_getaffinity(0)))
    command = shlex.join(["rosetta", *sys.argv[1:]])
    return Campaign(selection, engine, asked, host, parts, estimates, console, command)


def nothing_to_run(parts: "Iterable[Part]", cpu_may_do: bool) -> SelectionError:
    """Return the error of a campaign without cells; ``cpu_may_do``: an installation that was to use a GPU."""
    what = "The campaign has nothing to run here."
    if why := "; ".join(dict.fromkeys(reason for part in parts for reason in part.impossible)):
        return SelectionError(what, why[:LONGEST], "Run 'rosetta plan --all' to see every reason.")
    remedy = "If the installation does not use this machine's GPUs, measure its CPU: --cpu." if cpu_may_do else ""
    return SelectionError(what, "None of its cells is selected.", remedy)


def published_rows() -> "list[dict[str, Any]]":
    """Return the published rows that a checkout contains; a wheel has none."""
    from orchestrator.results.merging import gather
    from orchestrator.system.library_folders import PROGRAM

    folders = [PROGRAM.path / "docs" / name for name in ("results", "shortened")]
    there = [folder for folder in folders if folder.is_dir()]
    return gather(there).drop_columns("started").to_pylist() if there else []


# --- What would be done ---------------------------------------------------------------------------------------------
def show_plan(made: Campaign, budget: float, as_json: bool) -> None:
    """Print each step, what it runs, how long that takes by which estimate, and what is left out."""
    from orchestrator.plan.campaign import impossible
    from orchestrator.report import campaign as report
    from orchestrator.system.host import described

    fitted = made.fitted(made.parts, budget)
    if as_json:
        import json

        every = [(one.part.step.name, one.chosen, one.left_out) for one in fitted]
        echo(json.dumps(report.as_json(every, made.estimate), indent=1))
        return
    total = sum(one.seconds for one in fitted if one.fits or one.chosen)
    echo("; ".join(described(made.host)))
    for number, one in enumerate(fitted, start=1):
        says = one.part.step.says + why_not(one)
        echo(f"{number:2} {one.part.step.name:18} {report.minutes(one.seconds):>8}  {says}")
        for line in report.step_lines(one.chosen, one.left_out, made.estimate):
            echo(f"     {line}")
    for line in report.reasons(impossible(made.parts)):
        echo(line)
    echo(f"{report.minutes(total)} of {report.minutes(budget)}; {built_before(made)}")


def why_not(fitted: "Fitted") -> str:
    """Why a step without cells is left out; empty if it is not."""
    from orchestrator.plan.campaign import Kind
    from orchestrator.run import opponents

    lacking = opponents.unavailable() if fitted.part.step.kind is Kind.OPPONENTS else ""
    late = "" if fitted.fits or fitted.part.step.workloads else "no time left"
    return "".join(f" (left out: {reason})" for reason in [lacking or late] if reason)


def built_before(made: Campaign) -> str:
    """Say what the estimates leave out."""
    if made.asked:
        return "no images need building"
    return "excluding image builds and downloads: run 'rosetta build' and 'rosetta data fetch' first"
