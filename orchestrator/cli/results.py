"""What is in a results folder or file: status, merge, table."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.apart import apart, never_with
from orchestrator.cli.kinds import NAME_ANOTHER, Choice, Columns, OutputFile
from orchestrator.cli.libraries import take_in_libraries
from orchestrator.cli.options import grouped, own_libraries, results_folder
from orchestrator.errors import ResultError
from orchestrator.system.terminal import echo, note
from orchestrator.system.text_files import refuse_other
from orchestrator.system.words import counted

if TYPE_CHECKING:
    from orchestrator.report.notes import Note
    from orchestrator.report.tables import Table


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
    type=OutputFile(".parquet", why="'rosetta table --csv' writes CSV."),
    metavar="FILE",
    help="A Parquet file in an existing folder. Default: merged.parquet in the first folder.",
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
    refuse_other(output, NAME_ANOTHER)
    gathered = merge(list(paths), output, note)
    echo(f"{counted(gathered.table.num_rows, 'row')} in {output}")
    if gathered.lost:
        raise ResultError(
            f"{counted(len(gathered.lost), 'result')} refused; all others are in {output}.",
            gathered.lost[0].error.what,
            "Remove them, or make them again with 'rosetta run'.",
        )


@dataclass(frozen=True)
class Form:
    """How tables are printed, or where they are put: at most one of these."""

    markdown: bool
    csv: bool
    json: bool
    html: bool
    into: Path | None
    badges: Path | None


form = grouped(
    "form",
    Form,
    click.option("--markdown", is_flag=True, help="As Markdown."),
    click.option("--csv", is_flag=True, help="As CSV, one line per field."),
    click.option("--json", is_flag=True, help="As a JSON list, one object per field."),
    click.option("--html", is_flag=True, help="As HTML tables."),
    click.option(
        "--into",
        type=OutputFile(must_exist=True),
        metavar="DOCUMENT",
        help="As Markdown, between the lines '<!-- rosetta table -->' and '<!-- end of rosetta table -->'.",
    ),
    click.option(
        "--badges",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Write SVG badges for a README, one file per field.",
    ),
)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]...")
@results_folder
@form
@click.option(
    "--published",
    type=Choice(["2018-03", "2018-06"]),
    help="Instead of results, print the four tables of the 2018 README of that month.",
)
@click.option(
    "--columns",
    type=Columns(),
    multiple=True,
    metavar="NAME[,NAME]",
    help="Also: accuracy (the time to reach it), peak (share of the card's peak rate), energy (for 1,000 samples), "
    "memory (most in use), price. Repeatable.",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Price per hour by GPU model, one per line: 'v100: 3.06'; 'none' for CPUs.",
)
@own_libraries
@apart("markdown", "csv", "json", "html", "into", "badges")
@apart("paths", "results", "published")
@never_with("published", "columns", "prices")
def table(
    paths: tuple[Path, ...],
    results: Path,
    form: Form,
    published: str | None,
    columns: tuple[Sequence[str], ...],
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
    from orchestrator.report import tables
    from orchestrator.report.costs import COSTS, read_prices, unpriced
    from orchestrator.report.grids import Costs
    from orchestrator.results.files import read_results
    from orchestrator.results.merging import gather
    from orchestrator.results.paths import ResultsFolder

    wanted = list(dict.fromkeys(chain.from_iterable(columns)))
    if ("price" in wanted) != bool(prices):
        raise click.UsageError("--columns price and --prices go together.")
    take_in_libraries(own)
    if published:
        return put(form, tables.published_tables(published_2018.EDITIONS[published]), [])
    rows = gather(paths, note) if paths else read_results(ResultsFolder(results).merged)
    costs = Costs([COSTS[name] for name in wanted], read_prices(prices) if prices else {})
    for said in unpriced(rows, costs.prices, prices) if prices else ():
        note(said)
    put(form, *tables.tables(rows, published=True, costs=costs))


def put(form: Form, every: "Sequence[Table]", marks: "Sequence[Note]") -> None:
    """Print tables, or write them to where they were asked for."""
    from orchestrator.report import badges, formats, markdown, screen
    from orchestrator.system.console import screen as console_on

    chosen = next((name for name in formats.FORMATS if getattr(form, name)), "")
    if form.into:
        changed = markdown.put_into(form.into, markdown.as_markdown(every, marks))
        echo(f"{form.into}: {'tables updated' if changed else 'up to date'}")
    elif form.badges:
        echo(f"{counted(badges.write(every, form.badges), 'badge')} in {form.badges}")
    elif form.markdown:
        echo(markdown.as_markdown(every, marks), nl=False)
    elif chosen:
        echo(formats.FORMATS[chosen](every), nl=False)
    else:
        screen.print_tables(every, marks, console_on())
