"""From the matrix file to results: plan, build, run, parity."""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.libraries import matrix_path, take_in_libraries
from orchestrator.cli.options import (
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
from orchestrator.errors import CellsFailed, SelectionError
from orchestrator.system.terminal import echo, note

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

INTERRUPTED = 130


def cells_of(selection: Selection, engine: "Engine", length: Length | None = None) -> "list[Cell]":
    """The selected cells; the engine tells what GPUs are here, where the matrix file asks for those."""
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
    """The engine that was asked for, else the best that answers."""
    from orchestrator.engines.choice import choose_engine

    return choose_engine(selection.engine, note, selection.address)


def plan_of_matrix(engine: "Engine", folder: Path, unverified: bool) -> "Plan":
    """What makes verdicts of the matrix's cells: by its images, the engine, and what the results folder has."""
    from orchestrator.plan.verdicts import plan_cells

    return lambda cells, host: plan_cells(cells, engine, folder, host, unverified)


@click.command()
@selection
@length
@click.option("--all", "every", is_flag=True, help="Every cell that can't run on a line of its own.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for programs.")
def plan(selection: Selection, length: Length, as_json: bool, every: bool) -> None:
    """Print what would run and what can't, by reason; and the GPUs that were found.

    \b
    examples:
      rosetta plan --profile quick
      rosetta plan --all
      rosetta plan --only '{pytorch,jax}/*' --json
    """
    from orchestrator.plan import verdicts as planning
    from orchestrator.report import plan_screen

    engine = engine_of(selection)
    cells = cells_of(selection, engine, length)
    planned = planning.plan_cells(cells, engine, selection.results, unverified=selection.unverified)
    if as_json:
        import json

        echo(json.dumps([p.as_json() for p in planned], indent=1))
        return
    for lead, text in plan_screen.lines(planned, engine.machine(), every):
        echo(text, lead=lead)


@click.command()
@selection
@length
@click.option("--print", "show", is_flag=True, help="Show Dockerfiles and bake file; needs no engine.")
def build(selection: Selection, length: Length, show: bool) -> None:
    """Build the images that the selected cells need, in parallel; those for GPUs also where there is none.

    \b
    examples:
      rosetta build --only 'pytorch/*/cpu'
      rosetta build --only 'jax/*/cuda13/*'
      rosetta build --only 'cntk/*' --print
    """
    from orchestrator.images.bakefile import printed
    from orchestrator.images.image import image_for
    from orchestrator.plan import verdicts as planning

    engine = engine_of(replace(selection, engine="process") if show else selection)
    cells = cells_of(selection, engine, length)
    if show:
        shown = [image_for(cell.library, cell.platform) for cell in cells]
        echo(printed(list(dict.fromkeys(image for image in shown if image))))
        return
    wanted = planning.images_of(cells, engine, selection.unverified)
    for tag, digest in engine.prepare(wanted, echo).items():
        echo(f"{tag}  {digest}")


@click.command()
@selection
@length
@running
@steadiness
@click.option("--print", "show", is_flag=True, help="Run nothing; print each cell as a 'docker run' to type.")
@click.option(
    "--proof/--no-proof",
    default=None,
    help="Parity before an image's first cell on a CPU. Default: for cells that may be ranked, real data in full.",
)
@own_weights
@installations
def run(
    selection: Selection,
    length: Length,
    running: Running,
    steadiness: Steadiness,
    weights: Path | None,
    installations: Installations,
    show: bool,
) -> None:
    """Run every ready cell, merge the results, print the table. What is done is not run again.

    \b
    examples:
      rosetta run --profile quick
      rosetta run --only 'pytorch/cnn/cpu' --samples 5000 --epochs 5
      rosetta run --only '*/rnn/cpu/*' --repeats 3
      rosetta run --only '*/rnn/cpu/*' --until-stable 2 --max-repeats 20
      rosetta run --rerun '*/resnet50/*'
      rosetta run --only pytorch/rnn/cpu --data synthetic --epochs 2 --samples 1280 --print
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
    engine = engine_of(selection)
    cells = with_weights(cells_of(selection, engine, length), weights, engine)
    if show:
        return print_commands(cells, engine, selection)
    tell_of_gpus(selection, machine_of(cells, engine))
    plan = plan_of_matrix(engine, selection.results, selection.unverified)
    run_cells(cells, engine, selection.results, plan, screen.show, running, target, weights)


def print_commands(cells: "list[Cell]", engine: "Engine", selection: Selection) -> None:
    """Print how to run by hand each cell that can run here; raises SelectionError if there is none."""
    from orchestrator.cell.parameters import dataset_of
    from orchestrator.data import datasets
    from orchestrator.engines import by_hand
    from orchestrator.plan.verdicts import Verdict, plan_cells

    host = machine_of(cells, engine)
    planned = plan_cells(cells, engine, selection.results, host, selection.unverified)
    possible = [(p.cell, p.image) for p in planned if p.image and p.verdict is not Verdict.INCOMPATIBLE]
    if not possible:
        what = f"None of the {len(cells)} selected cells can run here."
        raise SelectionError(what, remedy="'rosetta plan' says why.")
    for cell, image in possible:
        name = dataset_of(cell)
        gpus = tuple(device.uuid for device in host.of_model(cell.gpu)[: cell.n_gpus]) if cell.gpu != "none" else ()
        data = datasets.folder(name) if name else None
        echo(by_hand.command(cell, image.tag, selection.results, data, gpus))


def machine_of(cells: "list[Cell]", engine: "Engine") -> "Host":
    """What the engine's machine has; where no cell is for a GPU, it is not asked."""
    from orchestrator.system.host import Host

    return engine.machine() if any(cell.platform != "cpu" for cell in cells) else Host()


def tell_of_gpus(selection: Selection, host: "Host") -> None:
    """Say before a run what is in the way of GPU cells that were asked for, and who else is on the cards."""
    from orchestrator.system.host import described

    found = list(described(host))
    asked = any("cuda" in pattern for pattern in selection.only)
    if asked and not host.devices:
        note(f"cells on GPUs were asked for, and none can run: {found[0]}")
        note("where a card is: NVIDIA's driver, and its Container Toolkit or a CDI device list for the engine")
        note("'rosetta doctor' says what is there and what to do")
    for line in found:
        if line.startswith("somebody else"):
            note(f"{line}: times may be longer than they would be alone")


def with_weights(cells: "list[Cell]", weights: Path | None, engine: "Engine") -> "list[Cell]":
    """The cells as they start from a file of weights, if there is one; raises SelectionError where they can't."""
    if weights is None:
        return cells
    if len({cell.workload for cell in cells}) > 1:
        raise SelectionError("--weights are those of one workload.", remedy="Choose one: --only '*/rnn/cpu'.")
    if engine.name == "ray":
        raise SelectionError("--weights are not handed to the nodes of a cluster.", remedy="Run it on one machine.")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return [replace(cell, weights=digest) for cell in cells]


BUSY = 0.5
"""Load by the core from which on a run that begins is warned: half of the machine is somebody else's."""


def tell_of_load(planned: "list[Planned]", engine: "Engine") -> None:
    """Say before cells are measured that the machine is busy; of another machine than this one their rows tell it."""
    from orchestrator.plan.verdicts import Verdict

    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    measured = any(each.verdict is Verdict.READY and not each.cell.parity for each in planned)
    if measured and engine.host == os.uname().nodename and load > BUSY * cores:
        note(
            f"this machine is busy, a load of {load:.1f} on {cores} cores: times will be longer than they would be"
            " alone, and cells that see more than it can do are marked and not ranked"
        )


@click.command()
@selection
@running
@click.option("--markdown", is_flag=True, help="Run nothing; print the results so far as Markdown.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, metavar="N", help="How often.")
@own_weights
def parity(selection: Selection, running: Running, markdown: bool, repeats: int, weights: Path | None) -> None:
    """Prove that every library has the same model: same weights and batches, no dropout, a few steps.

    Scores, losses and parameters are compared with a reference in double precision, three times, while something else
    keeps all cores busy: each time the same digits must come out. Results lie in DIR/parity.

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
            f"{len(varying)} cells gave other digits from the same start: {', '.join(varying)}.",
            why="Something in them depends on the order in which threads come: a race.",
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
    """Run cells, show what is in the results folder then; raises CellsFailed, or exits with 130 when interrupted.

    With a ``target`` they are run in as many rounds as it takes to reach it.
    """
    from rich.text import Text

    from orchestrator.results.files import read_results
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.run import running as execution
    from orchestrator.run import screen as showing
    from orchestrator.run.context import Settings
    from orchestrator.run.rounds import in_rounds, run_until_steady
    from orchestrator.system.console import screen
    from orchestrator.system.signals import Interruption

    interruption = Interruption()
    interruption.watch()
    host = machine_of(cells, engine)
    if running.rerun:
        set_aside(in_rounds(cells, target.most) if target else cells, folder, running.rerun)
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
    """Raise CellsFailed, or what kept cells from running; exit with 130 after an interruption."""
    if tally.interrupted:
        echo("interrupted: finished cells are kept, the others will run next time", err=True)
        sys.exit(INTERRUPTED)
    if tally.error:
        raise tally.error
    if tally.bad:
        raise CellsFailed(
            f"{tally.bad} of {sum(tally.statuses.values())} cells did not end ok.",
            remedy="Their logs lie beside their results; '--rerun failed' runs them again.",
        )


def set_aside(cells: "list[Cell]", folder: Path, what: str) -> None:
    """Have cells run again whatever their results: ``failed``, ``all``, or a glob; raises SelectionError if none is."""
    from orchestrator.plan.selection import selector
    from orchestrator.results.files import forget

    chosen = cells if what in ("failed", "all") else list(filter(selector([what], []), cells))
    if not chosen:
        remedy = "It can be 'failed', 'all', or cells as for --only."
        raise SelectionError(f"--rerun {what} matches none of the {len(cells):,} selected cells.", remedy=remedy)
    forget(folder, chosen, "failed" if what == "failed" else "all")
