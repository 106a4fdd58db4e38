"""From the matrix file to results: plan, build, run, parity."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.libraries import matrix_path, take_in_libraries
from orchestrator.cli.options import length, running, selection, steadiness
from orchestrator.errors import CellsFailed, SelectionError

INTERRUPTED = 130


def cells_from(options: dict[str, Any]) -> tuple[list[Any], Any]:
    """The selected cells and the engine, from the shared options; those of ``length`` may be missing."""
    from orchestrator.engines.choice import choose_engine
    from orchestrator.plan.selection import selected_cells
    from orchestrator.report import scripts

    path = matrix_path(options["matrix_file"])
    take_in_libraries(options["own"], path)
    overrides = {
        "data": [options["data"]] if options.get("data") else None,
        "repeat": list(range(options["repeats"])) if options.get("repeats") else None,
        "epochs": options.get("epochs"),
        "samples": options.get("samples"),
    }

    def say(text: str) -> None:
        click.echo(f"note: {text}", err=True)

    for orphan in scripts.orphans():
        say(orphan)
    cells = selected_cells(path, options["profile"], options["only"], options["skip"], overrides)
    return cells, choose_engine(options["engine"], say, options["address"])


@click.command()
@selection
@length
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for programs.")
def plan(as_json: bool, **options: Any) -> None:
    """Print every cell with its id and verdict: ready, done, or incompatible and why.

    \b
    examples:
      rosetta plan --profile quick
      rosetta plan --only '{pytorch,jax}/*' --json
    """
    from orchestrator.plan import verdicts as planning

    cells, engine = cells_from(options)
    planned = planning.plan_cells(cells, engine, options["results"], unverified=options["unverified"])
    if as_json:
        import json

        click.echo(json.dumps([p.as_json() for p in planned], indent=1))
        return
    widths = max(len(p.cell.id) for p in planned), max(len(p.verdict) for p in planned)
    colours = {"ready": "green", "done": "blue", "incompatible": "bright_black"}
    lines = []
    for p in planned:
        repeat = f"  repeat {p.cell.repeat}" if p.cell.repeat else ""
        verdict = click.style(f"{p.verdict:{widths[1]}}", fg=colours[p.verdict])
        lines.append(f"{p.cell.id:{widths[0]}}  {verdict}{repeat}  {p.reason}".rstrip())
    counts = {verdict: sum(p.verdict == verdict for p in planned) for verdict in planning.Verdict}
    lines.append(f"\n{len(planned):,} cells: " + ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items()))
    if hidden := sum(p.reason.startswith(planning.UNVERIFIED) for p in planned):
        lines.append(f"{hidden:,} are only unverified: with --unverified they are built and run like the others")
    click.echo("\n".join(lines))


@click.command()
@selection
@length
@click.option("--print", "show", is_flag=True, help="Show Dockerfiles and bake file; needs no engine.")
def build(show: bool, **options: Any) -> None:
    """Build the images that the selected cells need, in parallel; those for GPUs also where there is none.

    \b
    examples:
      rosetta build --only 'pytorch/*/cpu'
      rosetta build --only 'jax/*/cuda13/*' --unverified
      rosetta build --only 'cntk/*' --print
    """
    from orchestrator.images.bakefile import printed
    from orchestrator.images.image import image_for
    from orchestrator.plan import verdicts as planning

    if show:
        options["engine"] = "process"
    cells, engine = cells_from(options)
    if show:
        shown = [image_for(cell.library, cell.platform) for cell in cells]
        click.echo(printed(list(dict.fromkeys(image for image in shown if image))))
        return
    wanted = planning.images_of(cells, engine, options["unverified"])
    for tag, digest in engine.prepare(wanted, click.echo).items():
        click.echo(f"{tag}  {digest}")


@click.command()
@selection
@length
@running
@steadiness
def run(**options: Any) -> None:
    """Run every ready cell, merge the results, print the table. What is done is not run again.

    \b
    examples:
      rosetta run --profile quick
      rosetta run --only 'pytorch/cnn/cpu' --samples 5000 --epochs 5
      rosetta run --only '*/rnn/cpu/*' --repeats 3
      rosetta run --only '*/rnn/cpu/*' --until-stable 2 --max-repeats 20
      rosetta run --rerun '*/resnet50/*'
    """
    from orchestrator.report import screen

    cells, engine = cells_from(options)
    run_cells(cells, engine, options["results"], screen.show, options)


@click.command()
@selection
@running
@click.option("--markdown", is_flag=True, help="Run nothing; print the results so far as Markdown.")
def parity(markdown: bool, **options: Any) -> None:
    """Prove that every library has the same model: same weights and batches, no dropout, a few steps.

    Scores, losses and parameters are compared with a reference in double precision; results lie in DIR/parity.

    \b
    examples:
      rosetta parity
      rosetta parity --only '{jax,pytorch}/cnn/cpu'
    """
    from dataclasses import replace

    from orchestrator.report import parity as report
    from orchestrator.results.files import MERGED, read_results

    folder = options["results"] / "parity"
    if markdown:
        click.echo(report.markdown(read_results(folder / MERGED)), nl=False)
        return
    cells, engine = cells_from({**options, "data": "synthetic"})
    run_cells([replace(cell, parity=True) for cell in cells], engine, folder, report.show, options)


def run_cells(
    cells: list[Any],
    engine: Any,
    folder: Path,
    show: Callable[[Any, Any], None],
    options: dict[str, Any],
    verdicts: Callable[[list[Any], Any], list[Any]] | None = None,
) -> None:
    """Run cells, show what is in the results folder then; raises CellsFailed, or exits with 130 when interrupted.

    ``verdicts`` make a plan of cells for a host; by default it is the matrix's.
    """
    from rich.console import Console

    from orchestrator.plan import verdicts as planning
    from orchestrator.results.files import MERGED, read_results
    from orchestrator.run import running as execution
    from orchestrator.run import screen as showing
    from orchestrator.run.context import Settings, Tally
    from orchestrator.run.rounds import Target, in_rounds, run_until_steady
    from orchestrator.system.signals import Interruption

    interruption = Interruption()
    interruption.watch()
    host = engine.machine()
    percent = options.get("until_stable")
    target = Target(percent / 100, options["max_repeats"]) if percent else None
    if options["rerun"]:
        set_aside(in_rounds(cells, target.most) if target else cells, folder, options["rerun"])
    console = Console()
    mirror = os.environ.get("ROSETTA_DATA_MIRROR") or None
    settings = Settings(folder, options["jobs"], options["deadline"], mirror, options["build_deadline"])
    progress = showing.choose(console, options["as_json"])

    def once(cells: list[Any]) -> tuple[list[Any], Tally]:
        if verdicts:
            planned = verdicts(cells, host)
        else:
            planned = planning.plan_cells(cells, engine, folder, host, options["unverified"])
        return planned, execution.run(planned, engine, settings, host, progress, interruption)

    tally = run_until_steady(cells, folder, target, once, progress.say) if target else once(cells)[1]
    merged = folder / MERGED
    if not options["as_json"]:
        show(read_results(merged), console)
        console.print(f"[dim]merged results: {merged}[/dim]", highlight=False)
    if tally.interrupted:
        click.echo("interrupted: finished cells are kept, the others will run next time", err=True)
        sys.exit(INTERRUPTED)
    if tally.error:
        raise tally.error
    if tally.bad:
        raise CellsFailed(
            f"{tally.bad} of {sum(tally.statuses.values())} cells did not end ok.",
            remedy="Their logs lie beside their results; '--rerun failed' runs them again.",
        )


def set_aside(cells: list[Any], folder: Path, what: str) -> None:
    """Have cells run again whatever their results: ``failed``, ``all``, or a glob; raises SelectionError if none is."""
    from orchestrator.plan.selection import selector
    from orchestrator.results.files import forget

    chosen = cells if what in ("failed", "all") else list(filter(selector([what], []), cells))
    if not chosen:
        remedy = "It can be 'failed', 'all', or cells as for --only."
        raise SelectionError(f"--rerun {what} matches none of the {len(cells):,} selected cells.", remedy=remedy)
    forget(folder, chosen, "failed" if what == "failed" else "all")
