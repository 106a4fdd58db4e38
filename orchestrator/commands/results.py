"""What is in a results folder or file: status, merge, table."""

from pathlib import Path

import click

from orchestrator.options import results_folder


@click.command()
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


@click.command()
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


@click.command()
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
