"""The command ``rosetta``: parse, call, print. What takes long to import is imported where it is used."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator import ROOT, __version__
from orchestrator.errors import CellsFailed, RosettaError, SelectionError
from orchestrator.options import length, results_folder, running, selection

INTERRUPTED = 130


class Rosetta(click.Group):
    """Prints our errors as three short sentences, without a traceback, and ends with their exit codes."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and turn a RosettaError into its message and exit code."""
        try:
            return super().main(*args, **kwargs)
        except RosettaError as error:
            click.echo(click.style("error: ", fg="red", bold=True, reset=True) + str(error), err=True)
            sys.exit(error.exit_code)


def cells_from(options: dict[str, Any]) -> tuple[list[Any], Any]:
    """The selected cells and the engine, from the shared options; those of ``length`` may be missing."""
    from orchestrator import engines, plan

    path = options["matrix_file"] or (Path("matrix.yaml") if Path("matrix.yaml").exists() else ROOT / "matrix.yaml")
    overrides = {
        "data": [options["data"]] if options.get("data") else None,
        "repeat": list(range(options["repeats"])) if options.get("repeats") else None,
        "epochs": options.get("epochs"),
        "samples": options.get("samples"),
    }
    cells = plan.cells_of(path, options["profile"], options["only"], options["skip"], overrides)
    return cells, engines.choose(options["engine"], say=lambda text: click.echo(f"note: {text}", err=True))


@click.group(cls=Rosetta, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="rosetta")
def main() -> None:
    """Deep-learning workloads in many libraries, measured in containers, from one matrix file.

    \b
    examples:
      rosetta plan --profile quick         what would run, and what can't and why
      rosetta run --profile quick          minutes, on built-in synthetic data
      rosetta data fetch                   CIFAR-10 and IMDB from their publishers
      rosetta run --only '*/rnn/cpu/*'     the published GRU in every library
      rosetta table                        the results so far
    """


@main.command()
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
    from orchestrator import plan as planning

    cells, engine = cells_from(options)
    planned = planning.plan(cells, engine, options["results"], unverified=options["unverified"])
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


@main.command()
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
    from orchestrator import images
    from orchestrator import plan as planning

    if show:
        options["engine"] = "process"
    cells, engine = cells_from(options)
    if show:
        shown = [images.image_for(cell.library, cell.platform) for cell in cells]
        click.echo(images.printed(list(dict.fromkeys(image for image in shown if image))))
        return
    wanted = planning.images_of(cells, engine, options["unverified"])
    for tag, digest in engine.prepare(wanted, click.echo).items():
        click.echo(f"{tag}  {digest}")


@main.command()
@selection
@length
@running
def run(**options: Any) -> None:
    """Run every ready cell, merge the results, print the table. What is done is not run again.

    \b
    examples:
      rosetta run --profile quick
      rosetta run --only 'pytorch/cnn/cpu' --samples 5000 --epochs 5
      rosetta run --only '*/rnn/cpu/*' --repeats 3
      rosetta run --rerun '*/resnet50/*'
    """
    from orchestrator.report import screen

    cells, engine = cells_from(options)
    run_cells(cells, engine, options["results"], screen.show, options)


@main.command()
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

    from orchestrator import results
    from orchestrator.report import parity as report

    folder = options["results"] / "parity"
    if markdown:
        click.echo(report.markdown(results.read(folder / results.MERGED)), nl=False)
        return
    cells, engine = cells_from({**options, "data": "synthetic"})
    run_cells([replace(cell, parity=True) for cell in cells], engine, folder, report.show, options)


def run_cells(
    cells: list[Any], engine: Any, folder: Path, show: Callable[[Any, Any], None], options: dict[str, Any]
) -> None:
    """Run cells, show what is in the results folder then; raises CellsFailed, or exits with 130 when interrupted."""
    from rich.console import Console

    from orchestrator import compatibility, results
    from orchestrator import plan as planning
    from orchestrator import progress as showing
    from orchestrator import run as execution
    from orchestrator.interruption import Interruption
    from orchestrator.shop import Settings

    interruption = Interruption()
    interruption.watch()
    host = compatibility.this_host()
    if options["rerun"]:
        set_aside(cells, folder, options["rerun"])
    planned = planning.plan(cells, engine, folder, host, options["unverified"])
    console = Console()
    mirror = os.environ.get("ROSETTA_DATA_MIRROR") or None
    settings = Settings(folder, options["jobs"], options["deadline"], mirror, options["build_deadline"])
    progress = showing.choose(console, options["as_json"])
    tally = execution.run(planned, engine, settings, host, progress, interruption)
    merged = folder / results.MERGED
    if not options["as_json"]:
        show(results.read(merged), console)
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
    from orchestrator import matrix, results

    chosen = cells if what in ("failed", "all") else list(filter(matrix.selector([what], []), cells))
    if not chosen:
        remedy = "It can be 'failed', 'all', or cells as for --only."
        raise SelectionError(f"--rerun {what} matches none of the {len(cells):,} selected cells.", remedy=remedy)
    results.forget(folder, chosen, "failed" if what == "failed" else "all")


@main.command()
@results_folder
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
def status(results: Path, as_json: bool) -> None:
    """Print what runs now, of all orchestrators that share a results folder, and what is done. Disturbs nothing.

    \b
    examples:
      rosetta status
      watch rosetta status --results /mnt/results
    """
    from rich.console import Console

    from orchestrator.report import status as report

    found = report.read(results)
    if as_json:
        import json

        click.echo(json.dumps(found.as_json(), indent=1))
    else:
        report.show(found, Console())


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Default: merged.parquet in the first folder.",
)
def merge(paths: tuple[Path, ...], output: Path | None) -> None:
    """Merge results into one Parquet file: cell files, merged files, hand-run JSON, folders of any of them.

    \b
    examples:
      rosetta merge
      rosetta merge results/ /mnt/other-machine/results -o all.parquet
    """
    from orchestrator import results

    paths = paths or (Path("results"),)
    output = output or (paths[0] if paths[0].is_dir() else paths[0].parent) / results.MERGED
    count = results.merge(list(paths), output)
    click.echo(f"{count:,} rows in {output}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@results_folder
@click.option("--markdown", is_flag=True, help="As Markdown.")
def table(file: Path | None, results: Path, markdown: bool) -> None:
    """Print the results as the published tables have them: library × GPU and CUDA, time beside quality.

    \b
    examples:
      rosetta table
      rosetta table all.parquet --markdown
    """
    from rich.console import Console

    from orchestrator import results as storage
    from orchestrator.report import markdown as documents
    from orchestrator.report import screen

    rows = storage.read(file or results / storage.MERGED)
    if markdown:
        click.echo(documents.document(rows))
    else:
        screen.show(rows, Console())


@main.command()
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK]...")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit, not those of the lock.")
def lock(frameworks: tuple[str, ...], upgrade: bool) -> None:
    """Resolve what images/*.yaml ask for into locks with hashes. For those who change an image; needs uv ('make dev').

    \b
    example:
      rosetta lock pytorch
    """
    from orchestrator import images

    for image in images.every_image():
        if not frameworks or image.framework.framework in frameworks:
            for path in images.lock(image.framework.framework, image.platform, upgrade):
                click.echo(path)


@main.command(hidden=True)
def schema() -> None:
    """Print the JSON Schema of matrix.yaml (committed as matrix.schema.json)."""
    from orchestrator import matrix

    click.echo(matrix.json_schema(), nl=False)


@main.group()
def data() -> None:
    """Data sets: fetch them from their publishers, check them.

    ROSETTA_DATA_MIRROR names a folder or URL with the original files, for machines without internet; ROSETTA_CACHE
    the folder where data lies, ~/.cache/rosetta if unset.
    """


@data.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def fetch(names: tuple[str, ...]) -> None:
    """Download and verify data sets, all by default; an interrupted download goes on where it stopped.

    \b
    examples:
      rosetta data fetch
      ROSETTA_DATA_MIRROR=/mnt/originals rosetta data fetch imdb
    """
    from orchestrator import datasets

    for name, folder in datasets.fetch(names, say=click.echo).items():
        click.echo(f"{name}: {folder}")


@data.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def check(names: tuple[str, ...]) -> None:
    """Compare every file of the data sets with its checksum; exit code 7 if one is missing or wrong.

    \b
    example:
      rosetta data check
    """
    from orchestrator import datasets

    datasets.report_check(list(names), say=click.echo)
