"""What is in a results folder or file: status, merge, table."""

from pathlib import Path

import click

from orchestrator.cli.libraries import take_in_libraries
from orchestrator.cli.options import own_libraries, results_folder
from orchestrator.errors import ResultError
from orchestrator.system.terminal import echo, note


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
    from orchestrator.run import status as report
    from orchestrator.system.console import screen

    found = report.read(results)
    if as_json:
        import json

        echo(json.dumps(found.as_json(), indent=1))
    else:
        report.show(found, screen())


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False, exists=True))
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
    from orchestrator.results.merging import merge
    from orchestrator.results.paths import ResultsFolder

    paths = paths or (Path("results"),)
    output = output or ResultsFolder(paths[0] if paths[0].is_dir() else paths[0].parent).merged
    gathered = merge(list(paths), output, note)
    echo(f"{gathered.table.num_rows:,} rows in {output}")
    if gathered.lost:
        raise ResultError(
            f"{len(gathered.lost):,} of the results were refused; all others are in {output}.",
            gathered.lost[0].error.what,
            "Remove them, or make them again with 'rosetta run'.",
        )


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]...")
@results_folder
@click.option("--markdown", is_flag=True, help="As Markdown.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="DOCUMENT",
    help="As Markdown, between the lines '<!-- rosetta table -->' and '<!-- end of rosetta table -->'.",
)
@click.option(
    "--published",
    type=click.Choice(["2018-03", "2018-06"]),
    help="No results, but the four tables of a README of 2018 as they stood there.",
)
@click.option("--of-peak", is_flag=True, help="Also: which share of its card's peak rate each time is.")
@own_libraries
def table(
    paths: tuple[Path, ...],
    results: Path,
    markdown: bool,
    into: Path | None,
    published: str | None,
    of_peak: bool,
    own: tuple[Path, ...],
) -> None:
    """Print the results as the published tables have them: library × GPU and CUDA, time beside quality.

    The figures of 2018 have columns of their own. FILE can be a folder of results; default: what DIR has merged.

    \b
    examples:
      rosetta table
      rosetta table docs/results --into README.md
      rosetta table --of-peak
      rosetta table --published 2018-03 --markdown
    """
    from orchestrator.compare import published_2018
    from orchestrator.report import markdown as documents
    from orchestrator.report import notes, tables
    from orchestrator.report import screen as tables_screen
    from orchestrator.results.files import read_results
    from orchestrator.results.merging import gather
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.system.console import screen

    take_in_libraries(own)
    every: list[tables.Table]
    marks: list[notes.Note]
    if published:
        every, marks = tables.published_tables(published_2018.EDITIONS[published]), []
    else:
        rows = gather(paths, note) if paths else read_results(ResultsFolder(results).merged)
        every, marks = tables.tables(rows, published=True, shares=of_peak)
    if into:
        changed = documents.put_into(into, documents.as_markdown(every, marks))
        echo(f"{into}: {'the tables are new' if changed else 'nothing new'}")
    elif markdown:
        echo(documents.as_markdown(every, marks), nl=False)
    else:
        tables_screen.print_tables(every, marks, screen())
