"""Results and images for others, and from others: publish, reproduce."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.options import Judging, Running, Selection, running, selection_of_published
from orchestrator.errors import CellsFailed, DeclinedError, DiffersError
from orchestrator.system.terminal import echo, note
from orchestrator.system.words import part_of

if TYPE_CHECKING:
    from orchestrator.cell.cell import Cell
    from orchestrator.plan.verdicts import Planned
    from orchestrator.system.host import Host


@click.command()
@click.option("--registry", required=True, metavar="HOST/NAMESPACE", help="Where to push: ghcr.io/me.")
@selection_of_published
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default="published", show_default=True,
    metavar="DIR", help="Folder for the lock file, results, pages and SBOMs.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print what would be done; build, push and write nothing.")
@click.option(
    "--move-tags",
    is_flag=True,
    help="Move existing tags to these images, also where the registry can't say what they name now.",
)
@click.option("--sign", is_flag=True, help="Sign each image with cosign.")
def publish(selection: Selection, registry: str, output: Path, dry_run: bool, move_tags: bool, sign: bool) -> None:
    """Push the images of the selected cells, and write results that others can reproduce.

    The merged results in DIR go to published/results.parquet, with images referenced by digest. Credentials are
    Docker's own: 'docker login'. docs/publish.md lists the other files.

    \b
    examples:
      rosetta publish --registry ghcr.io/me --only 'pytorch/*/cpu' --dry-run
      rosetta publish --registry ghcr.io/me --only 'pytorch/*/cpu'
    """
    import json

    from orchestrator.cli.cells import cells_of
    from orchestrator.engines.docker import DockerEngine
    from orchestrator.images.image_names import checked_registry
    from orchestrator.plan import verdicts as planning
    from orchestrator.publish import publishing
    from orchestrator.publish.examination import notes_of
    from orchestrator.results.files import read_results, write_results
    from orchestrator.results.paths import ResultsFolder

    checked_registry(registry)
    engine = DockerEngine()
    cells = cells_of(selection, engine)
    wanted = planning.images_of(cells, engine, selection.unverified)
    if dry_run:
        drafts = [publishing.draft(engine.api, image, registry, move=move_tags) for image in wanted]
        echo(json.dumps([publishing.draft_as_json(one, sign) for one in drafts], indent=1))
        return
    engine.prepare(wanted, echo)
    done = []
    for image in wanted:
        drafted = publishing.draft(engine.api, image, registry, move=move_tags)
        done.append(publishing.publish(engine.connection, drafted, move=move_tags, say=echo))
        publishing.write_page_and_sbom(drafted, output)
        publishing.write_lock(output, done)
        for said in notes_of(drafted.found):
            note(f"{image.name}: {said}")
        if sign:
            publishing.sign(done[-1])
    merged = ResultsFolder(selection.results).merged
    if merged.exists():
        table, count = publishing.with_references(read_results(merged), done)
        write_results(table, output / publishing.RESULTS)
        echo(f"{output / publishing.RESULTS}: {part_of(count, table.num_rows, 'row')} with a published image")


@click.command()
@click.argument("source", metavar="FILE|URL")
@options.only
@options.skip
@options.results_in("reproduced", "Where the new results go.")
@running
@options.threshold
@click.option("--yes", is_flag=True, help="Don't ask before running somebody else's programs.")
@click.option("--dry-run", is_flag=True, help="Print what would run and from where; pull and run nothing.")
def reproduce(
    source: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    results: Path,
    running: Running,
    threshold: float,
    yes: bool,
    dry_run: bool,
) -> None:
    """Run published results again, in the very images that made them, and compare time and quality.

    Needs only the file: images are pulled by digest. They are somebody else's programs, so it first shows what will run
    and from where, and asks (exit code 20 if declined). Exit code 12 if a cell is slower, 17 if its quality differs or
    it can't be run again.

    \b
    examples:
      rosetta reproduce results.parquet
      rosetta reproduce results.parquet --dry-run
      rosetta reproduce https://example.org/results.parquet --only 'pytorch/rnn/*'
    """
    from contextlib import suppress

    from orchestrator.cli.cells import run_cells
    from orchestrator.cli.comparing import tell
    from orchestrator.compare import comparison
    from orchestrator.publish import reproduction
    from orchestrator.publish import screen as report
    from orchestrator.report import screen

    published = reproduction.read(source, note)
    rows = reproduction.chosen(published, only, skip)
    for name, why in reproduction.refused(published, only):
        echo(f"note: not run again: {name}: {why}", err=True)
    of_cell = {row.cell: row for row in rows}
    engine = reproduction.pulling_engine()
    lines = list(reproduction.announced(reproduction.waiting(rows, results), engine.api))
    if dry_run:
        return echo("\n".join(lines))
    if lines:
        require_consent(lines, yes)

    def plan(cells: "list[Cell]", host: "Host") -> "list[Planned]":
        return reproduction.plan([of_cell[cell] for cell in cells], results, host)

    with suppress(CellsFailed):  # the comparison says which failed, and what they should have been
        run_cells(list(of_cell), engine, results, plan, screen.show, running)
    mine = reproduction.results_of(rows, results, note)
    pairs = reproduction.pairs(rows, mine)
    report.show(pairs, running.as_json)
    differ = [pair.cell for pair in pairs if not pair.as_good]
    if differ or not pairs:
        raise DiffersError(
            f"{part_of(len(differ), len(pairs), 'run', 'are')} not as good as published, or failed.",
            remedy="See their logs in DIR/cells, next to their results.",
        )
    baseline = comparison.of_results(published, source)
    tell(comparison.verify(mine, baseline, threshold / 100), source, Judging(threshold, running.as_json))


def require_consent(lines: list[str], given: bool) -> None:
    """Show what is about to be run, and ask unless consent is ``given``; raises DeclinedError if nobody agrees."""
    echo("\n".join(lines), err=True)
    if given:
        return
    try:
        agreed = click.confirm("Run these third-party programs, without network and isolated like any cell?", err=True)
    except click.Abort:
        agreed = False
    if not agreed:
        raise DeclinedError("Nothing was pulled or run.", remedy="Use '--yes' to agree without being asked.")
