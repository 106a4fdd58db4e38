"""From the matrix file to results: plan, build, run, parity."""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import by_hand
from orchestrator.cli.apart import never_with, only_with
from orchestrator.cli.kinds import Choice, Whole
from orchestrator.cli.libraries import matrix_path, take_in_libraries
from orchestrator.cli.options import (
    FORMS,
    ON_ANY_MACHINE,
    SCHEDULERS,
    Installations,
    Length,
    Running,
    Selection,
    Steadiness,
    installations,
    length,
    own_weights,
    running,
    selection,
    steadiness,
)
from orchestrator.errors import INTERRUPTED, CellsFailed, SelectionError
from orchestrator.system.terminal import echo, note
from orchestrator.system.words import counted, part_of

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from orchestrator.cell.cell import Cell
    from orchestrator.engines.protocol import Engine
    from orchestrator.plan.verdicts import Planned
    from orchestrator.run.context import Tally
    from orchestrator.run.rounds import Target
    from orchestrator.system.host import Host

    Show = Callable[[pa.Table, Console], None]
    Plan = Callable[[list[Cell], Host], list[Planned]]


def cells_of(selection: Selection, engine: "Engine", length: Length | None = None) -> "list[Cell]":
    """Return the selected cells; the engine is asked for this machine's GPUs if the matrix file refers to them."""
    from orchestrator.plan.selection import selected_cells
    from orchestrator.report import scripts

    length = length or Length()
    path = matrix_path(selection.matrix_file)
    take_in_libraries(selection.own, path)
    overrides = {
        "data": [length.data] if length.data else None,
        "repeat": list(range(length.repeats)) if length.repeats else None,
        "epochs": length.epochs,
        "samples": length.samples,
    }
    for said in scripts.left_out():
        note(said)
    return selected_cells(path, selection.profile, selection.only, selection.skip, overrides, engine.machine)


def engine_of(selection: Selection) -> "Engine":
    """Return the requested engine, else the best one that answers."""
    from orchestrator.engines.choice import choose_engine, slurm_engine

    if selection.scheduler:
        return slurm_engine(selection.engine, selection.results, selection.site, note)
    return choose_engine(selection.engine, note, selection.address)


def plan_of_matrix(engine: "Engine", folder: Path, unverified: bool) -> "Plan":
    """Return the function that gives the matrix's cells their verdicts, by images, engine and results folder."""
    from orchestrator.plan.verdicts import plan_cells

    return lambda cells, host: plan_cells(cells, engine, folder, host, unverified)


@click.command()
@selection
@length
@click.option("--all", "every", is_flag=True, help="List every cell that can't run on its own line.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def plan(selection: Selection, length: Length, as_json: bool, every: bool) -> None:
    """Print what would run, what can't and why, and the GPUs found.

    \b
    examples:
      rosetta plan --profile quick
      rosetta plan --all
      rosetta plan --only '{pytorch,jax}/*' --json
    """
    from orchestrator.plan import verdicts as planning
    from orchestrator.plan.selection import are_for_cpus
    from orchestrator.report import plan_screen

    engine = engine_of(selection)
    cells = cells_of(selection, engine, length)
    planned = planning.plan_cells(cells, engine, selection.results, unverified=selection.unverified)
    if as_json:
        import json

        echo(json.dumps([p.as_json() for p in planned], indent=1))
        return
    host = None if are_for_cpus(selection.only) else engine.machine()
    for lead, text in plan_screen.lines(planned, host, every):
        echo(text, lead=lead)


@click.command()
@selection
@length
@click.option("--print", "show", is_flag=True, help="Print the Dockerfiles and the bake file; needs no engine.")
def build(selection: Selection, length: Length, show: bool) -> None:
    """Build the images that the selected cells need, in parallel. Building GPU images needs no GPU.

    \b
    examples:
      rosetta build --only 'pytorch/*/cpu'
      rosetta build --only 'jax/*/cuda13/*'
      rosetta build --only 'cntk/*' --print
    """
    from orchestrator.images.bakefile import printed
    from orchestrator.plan import verdicts as planning

    engine = engine_of(replace(selection, engine=ON_ANY_MACHINE) if show else selection)
    cells = cells_of(selection, engine, length)
    if show:
        echo(printed(planning.images_that_exist(cells)))
        return
    wanted = planning.images_of(cells, engine, selection.unverified)
    for tag, digest in engine.prepare(wanted, echo).items():
        echo(f"{tag}  {digest}")


@click.command()
@selection
@length
@running
@steadiness
@click.option(
    "--print",
    "show",
    is_flag=False,
    flag_value=FORMS[0],
    type=Choice(FORMS),
    metavar="[docker|slurm]",
    help="Run nothing; print a 'docker run' for each cell, or write a batch script and print its 'sbatch'.",
)
@click.option(
    "--proof/--no-proof",
    default=None,
    help="Prove parity before an image's first CPU cell. Default: for full runs on real data, which may be ranked.",
)
@own_weights
@installations
@never_with("show", "rerun", "jobs", "as_json", "until_stable", "proof", "python", "image")
@never_with("python", "weights", "scheduler")
@never_with("image", "weights", "scheduler")
@only_with("until_stable", "max_repeats")
def run(
    selection: Selection,
    length: Length,
    running: Running,
    steadiness: Steadiness,
    weights: Path | None,
    installations: Installations,
    show: str | None,
) -> None:
    """Run every ready cell, merge the results, print the table. Finished cells are not run again.

    Ctrl-C stops the running cells. With --on slurm it asks first when in a terminal: jobs that are not cancelled go on,
    and the next run picks them up.

    \b
    examples:
      rosetta run --profile quick
      rosetta run --only 'pytorch/cnn/cpu' --samples 5000 --epochs 5
      rosetta run --only '*/rnn/cpu/*' --repeats 3
      rosetta run --only '*/rnn/cpu/*' --until-stable 2 --max-repeats 20
      rosetta run --rerun '*/resnet50/*'
      rosetta run --only pytorch/rnn/cpu --data synthetic --epochs 2 --samples 1280 --print
      rosetta run --on slurm --only '*/rnn/cuda12/*'
      rosetta run --print slurm --only pytorch/rnn/cpu
      rosetta run --python nightly=/opt/venv/bin/python --only '*/rnn/*'
    """
    from orchestrator.report import screen
    from orchestrator.run.rounds import Target

    percent = steadiness.until_stable
    target = Target(percent / 100, steadiness.max_repeats) if percent else None
    if installations:
        from orchestrator.cli import own

        own.run(installations, selection, length, running, target, run_cells)
        return
    engine = engine_of(replace(selection, scheduler=show) if show in SCHEDULERS else selection)
    cells = with_weights(cells_of(selection, engine, length), weights, engine)
    if show:
        return by_hand.print_commands(cells, machine_of(cells, engine), engine, selection, running.deadline, show)
    tell_of_gpus(selection, cells, machine_of(cells, engine))
    plan = plan_of_matrix(engine, selection.results, selection.unverified)
    run_cells(cells, engine, selection.results, plan, screen.show, running, target, weights)


def machine_of(cells: "list[Cell]", engine: "Engine") -> "Host":
    """Return the engine's host; if no cell is for a GPU, the engine is not asked."""
    from orchestrator.system.host import Host

    return engine.machine() if any(cell.platform != "cpu" for cell in cells) else Host()


def tell_of_gpus(selection: Selection, cells: "list[Cell]", host: "Host") -> None:
    """Warn before a run about what prevents the requested GPU cells, and about other users of the cards."""
    from orchestrator.plan.selection import ask_for_gpus
    from orchestrator.system.host import Kind, found_on

    found = found_on(host)
    asked = ask_for_gpus(selection.only) and any(cell.platform != "cpu" for cell in cells)
    if asked and not host.models:
        note(f"GPU cells were requested, but none can run: {found[0].line}")
        note("GPUs need NVIDIA's driver, and its Container Toolkit or a CDI device list for the engine")
        note("run 'rosetta doctor' to see what is missing and how to fix it")
    for each in found if asked or host.devices else []:
        if each.kind is Kind.BUSY:
            note(f"{each.line}: times may be longer than on an idle GPU")
        elif each.kind in (Kind.UNREADABLE, Kind.BOARDS, Kind.DIVIDED) and (host.models or each is not found[0]):
            note(each.line)


def with_weights(cells: "list[Cell]", weights: Path | None, engine: "Engine") -> "list[Cell]":
    """Return the cells with the checksum of their weights file, if any; raises SelectionError if they can't use it."""
    if weights is None:
        return cells
    if len({cell.workload for cell in cells}) > 1:
        raise SelectionError("--weights works with one workload only.", remedy="Choose one: --only '*/rnn/cpu'.")
    if not engine.takes_weights:
        raise SelectionError("--weights does not work on a cluster.", remedy="Run it on one machine.")
    if not weights.is_file():
        raise SelectionError(f"{weights} is not a regular file.", remedy="Name a file of numpy's, such as weights.npz.")
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [replace(cell, weights=digest) for cell in cells]


BUSY = 0.5
"""Load per core above which a starting run warns: half of the machine is somebody else's."""


def tell_of_load(planned: "list[Planned]", engine: "Engine") -> None:
    """Warn before measuring that this machine is busy; rows record the load of other machines."""
    from orchestrator.plan.verdicts import Verdict
    from orchestrator.system.host import is_here

    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    measured = any(each.verdict is Verdict.READY and not each.cell.parity for each in planned)
    if measured and is_here(engine.host) and load > BUSY * cores:
        note(
            f"this machine is busy (load {load:.1f} on {cores} cores): times will be longer than on an idle machine,"
            " and cells that run while it is overloaded are marked and not ranked"
        )


@click.command()
@selection
@running
@click.option("--markdown", is_flag=True, help="Run nothing; print the results so far as Markdown.")
@click.option("--repeats", type=Whole(1), default=3, show_default=True, metavar="N", help="How many times.")
@own_weights
@never_with("markdown", "rerun", "jobs", "as_json", "weights", "repeats")
def parity(selection: Selection, running: Running, markdown: bool, repeats: int, weights: Path | None) -> None:
    """Prove that every library computes the same model: same weights, same batches, no dropout, a few steps.

    Compares scores, losses and parameters with a reference in double precision, three times, while other work keeps all
    cores busy; the digits must be the same each time. Results go to DIR/parity.

    \b
    examples:
      rosetta parity
      rosetta parity --only '{jax,pytorch}/cnn/cpu'
    """
    from orchestrator.report import parity as report
    from orchestrator.results.files import read_results
    from orchestrator.results.paths import ResultsFolder

    folder = ResultsFolder(selection.results).parity
    if markdown:
        echo(report.markdown(read_results(folder.merged)), nl=False)
        return
    engine = engine_of(selection)
    length = Length(data="synthetic", repeats=repeats)
    cells = [replace(cell, parity=True) for cell in cells_of(selection, engine, length)]
    cells = with_weights(cells, weights, engine)
    plan = plan_of_matrix(engine, folder.path, selection.unverified)
    run_cells(cells, engine, folder.path, plan, report.show, running, weights=weights)
    asked = {cell.id for cell in cells}
    varying = [cell for cell in report.differing(read_results(folder.merged)) if cell in asked]
    if varying:
        raise CellsFailed(
            f"{counted(len(varying), 'cell')} gave different results from the same start: {', '.join(varying)}.",
            why="Something in them depends on the order of threads: a race condition.",
        )


def run_cells(
    cells: "list[Cell]",
    engine: "Engine",
    folder: Path,
    plan: "Plan",
    show: "Show",
    running: Running,
    target: "Target | None" = None,
    weights: Path | None = None,
    console: "Console | None" = None,
) -> None:
    """Run cells, then show the results folder; raises CellsFailed, or exits with 130 when interrupted.

    With a ``target``, run as many rounds as it takes to reach it.
    """
    from rich.text import Text

    from orchestrator.results import decoding
    from orchestrator.results.files import read_results
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.run import running as execution
    from orchestrator.run import screen as showing
    from orchestrator.run.context import Settings
    from orchestrator.run.rounds import in_rounds, run_until_steady
    from orchestrator.system.console import screen
    from orchestrator.system.signals import of_this_process

    interruption = of_this_process()
    interruption.ask()  # Python may have dropped what a signal raised while the engine and the cells were looked up
    decoding.ONE.start()  # loads while the cells are planned
    host = machine_of(cells, engine)
    if running.rerun:
        set_aside(in_rounds(cells, target.most) if target else cells, folder, running.rerun, running.proof)
    console = console or screen()
    mirror = os.environ.get("ROSETTA_DATA_MIRROR") or None
    limits = (running.deadline, mirror, running.build_deadline)
    settings = Settings(folder, running.jobs, *limits, weights, proof=running.proof)
    progress = showing.choose(console, running.as_json)

    def once(cells: "list[Cell]") -> "tuple[list[Planned], Tally]":
        planned = plan(cells, host)
        tell_of_load(planned, engine)
        return planned, execution.run(planned, engine, settings, host, progress, interruption)

    tally = run_until_steady(cells, folder, target, once, progress.say) if target else once(cells)[1]
    merged = ResultsFolder(folder).merged
    if not running.as_json:
        show(read_results(merged), console)
        console.print(Text(f"merged results: {merged}", "dim"), soft_wrap=True)
    raise_unless_good(tally)


def raise_unless_good(tally: "Tally") -> None:
    """Raise CellsFailed, or the error that prevented cells from running; exit with 130 after an interruption."""
    if tally.interrupted:
        echo("interrupted: finished cells are kept, the others will run next time", err=True)
        sys.exit(INTERRUPTED)
    if tally.error:
        raise tally.error
    if tally.bad:
        raise CellsFailed(
            f"{part_of(tally.bad, sum(tally.statuses.values()), 'cell')} did not end ok.",
            remedy="Check their logs, next to their results; '--rerun failed' runs them again.",
        )


def set_aside(cells: "list[Cell]", folder: Path, what: str, proof: bool | None = None) -> None:
    """Make cells run again: ``failed``, ``all``, or those that match a glob; raises SelectionError if none does.

    Their proofs run again too; ``proof`` says which CPU cells have one, as in a run's settings.
    """
    from orchestrator.plan.selection import selector
    from orchestrator.results.files import forget
    from orchestrator.run import proof as proofs

    chosen = cells if what in ("failed", "all") else list(filter(selector([what], []), cells))
    if not chosen:
        remedy = "Use 'failed', 'all', or a pattern as for --only."
        raise SelectionError(f"--rerun {what} matches none of {counted(len(cells), 'selected cell')}.", remedy=remedy)
    what = "failed" if what == "failed" else "all"
    forget(folder, chosen, what)
    proofs.set_aside(chosen, folder, what, proof)
