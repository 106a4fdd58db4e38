"""What is in a results folder or file: status, merge, table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.libraries import take_in_libraries
from orchestrator.cli.options import own_libraries, results_folder
from orchestrator.errors import ResultError
from orchestrator.system.terminal import echo, note
from orchestrator.system.words import counted


@click.command()
@results_folder
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def status(results: Path, as_json: bool) -> None:
    """Print what is running and what is done, for all orchestrators that share a results folder. Disturbs nothing.

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
    echo(f"{counted(gathered.table.num_rows, 'row')} in {output}")
    if gathered.lost:
        raise ResultError(
            f"{len(gathered.lost):,} of the results were refused; all others are in {output}.",
            gathered.lost[0].error.what,
            "Remove them, or make them again with 'rosetta run'.",
        )


class Columns(click.ParamType[Sequence[str]]):
    """Names of columns, separated by commas."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[str]:
        """Return each name once, in this order; an unknown one is refused."""
        from orchestrator.report.costs import COSTS

        names = list(dict.fromkeys(filter(None, (word.strip() for word in str(value).split(",")))))
        if unknown := [name for name in names if name not in COSTS]:
            self.fail(f"unknown column {unknown[0]!r}; choose from {', '.join(COSTS)}", param, ctx)
        return names


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]...")
@results_folder
@click.option("--markdown", "form", flag_value="markdown", help="As Markdown.")
@click.option("--csv", "form", flag_value="csv", help="As CSV, one line per field.")
@click.option("--json", "form", flag_value="json", help="As a JSON list, one object per field.")
@click.option("--html", "form", flag_value="html", help="As HTML tables.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="DOCUMENT",
    help="As Markdown, between the lines '<!-- rosetta table -->' and '<!-- end of rosetta table -->'.",
)
@click.option(
    "--badges",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write SVG badges for a README, one file per field.",
)
@click.option(
    "--published",
    type=click.Choice(["2018-03", "2018-06"]),
    help="Instead of results, print the four tables of the 2018 README of that month.",
)
@click.option(
    "--columns",
    type=Columns(),
    default="",
    metavar="NAME[,NAME]",
    help="Also: accuracy (the time to reach it), peak (share of the card's peak rate), energy (for 1,000 samples), "
    "memory (most in use), price.",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Price per hour by GPU model, one per line: 'v100: 3.06'; 'none' for CPUs.",
)
@own_libraries
def table(
    paths: tuple[Path, ...],
    results: Path,
    form: str | None,
    into: Path | None,
    badges: Path | None,
    published: str | None,
    columns: Sequence[str],
    prices: Path | None,
    own: tuple[Path, ...],
) -> None:
    """Print results in the form of the published tables: library × GPU and CUDA, time beside quality.

    The figures of 2018 have columns of their own. FILE can also be a results folder; default: the merged file in DIR.

    \b
    examples:
      rosetta table
      rosetta table docs/results --into README.md
      rosetta table --columns accuracy,peak,energy
      rosetta table --columns price --prices prices.yaml
      rosetta table --csv > times.csv
      rosetta table --badges badges    # badges/rnn-pytorch-cpu.svg and so on
      rosetta table --published 2018-03 --markdown
    """
    from orchestrator.compare import published_2018
    from orchestrator.report import badges as svg
    from orchestrator.report import formats, notes, tables
    from orchestrator.report import markdown as documents
    from orchestrator.report import screen as tables_screen
    from orchestrator.report.costs import COSTS, read_prices
    from orchestrator.report.grids import Costs
    from orchestrator.results.files import read_results
    from orchestrator.results.merging import gather
    from orchestrator.results.paths import ResultsFolder
    from orchestrator.system.console import screen

    if ("price" in columns) != bool(prices):
        raise click.UsageError("--columns price and --prices go together.")
    take_in_libraries(own)
    every: list[tables.Table]
    marks: list[notes.Note]
    if published:
        every, marks = tables.published_tables(published_2018.EDITIONS[published]), []
    else:
        rows = gather(paths, note) if paths else read_results(ResultsFolder(results).merged)
        costs = Costs([COSTS[name] for name in columns], read_prices(prices) if prices else {})
        every, marks = tables.tables(rows, published=True, costs=costs)
    if into:
        changed = documents.put_into(into, documents.as_markdown(every, marks))
        echo(f"{into}: {'tables updated' if changed else 'up to date'}")
    elif badges:
        written = svg.write(every, badges)
        echo(f"{written:,} badges in {badges}")
    elif form == "markdown":
        echo(documents.as_markdown(every, marks), nl=False)
    elif form:
        echo(formats.FORMATS[form](every), nl=False)
    else:
        tables_screen.print_tables(every, marks, screen())
