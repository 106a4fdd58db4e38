"""Results against others: verify, diff."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.apart import apart, typed
from orchestrator.cli.options import (
    Installations,
    Judging,
    Length,
    Selection,
    installations,
    judging,
    length,
    results_folder,
    selection,
)
from orchestrator.errors import SelectionError, SlowerError
from orchestrator.system.terminal import echo, note
from orchestrator.system.words import part_of

if TYPE_CHECKING:
    from orchestrator.compare.comparison import Compared


OF_A_RUN = (
    *("matrix_file", "profile", "only", "skip", "engine", "address", "scheduler", "site", "unverified"),
    *("data", "epochs", "samples", "repeats"),
)
"""The options of 'verify' that only matter where it runs something."""


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]...")
@click.option(
    "--against",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Published results of the same cells. Default: the figures of 2018.",
)
@judging
@installations
@selection
@length
@apart("paths", "results")
@apart("as_json", "as_markdown")
def verify(
    paths: tuple[Path, ...],
    against: Path | None,
    judging: Judging,
    installations: Installations,
    selection: Selection,
    length: Length,
) -> None:
    """Check whether an installation is as fast as it should be. Exit code 12 if a cell is slower or failed.

    FILE can also be a results folder; default: the merged file in DIR. Shortened runs are never compared with full
    ones. docs/verify.md explains the verdicts.

    With --python or --image it first measures that installation with our scripts: parity, then the selected cells. It
    compares with our own images on this machine, or else with published results.

    \b
    examples:
      rosetta verify
      rosetta verify --python /opt/venv/bin/python --only '*/rnn/*'
      rosetta verify --python nightly=~/conda/envs/nightly/bin/python --repeats 5
      rosetta verify --image nvcr.io/nvidia/pytorch:26.10-py3
      rosetta verify --against docs/results/2026-11-25-cpu.parquet
      rosetta verify mine.parquet --threshold 5 --json
    """
    from orchestrator.compare import comparison
    from orchestrator.results.files import read_results
    from orchestrator.results.merging import gather
    from orchestrator.results.paths import ResultsFolder

    if installations:
        if paths:
            raise click.UsageError("Give either FILE or --python/--image, not both. For a baseline use --against.")
        from orchestrator.cli import cells, own

        found, baseline = own.verify(installations, selection, length, against, judging, cells.run_cells)
        tell(found, baseline, judging)
        return
    if wrong := typed(click.get_current_context(), OF_A_RUN):
        what = f"Options that select cells need --python or --image; without them nothing is run: {wrong[0]}."
        raise click.UsageError(what)
    ours = gather(paths, note) if paths else read_results(ResultsFolder(selection.results).merged)
    find = comparison.of_results(gather([against], note), str(against)) if against else comparison.published
    tell(comparison.verify(ours, find, judging.threshold / 100), str(against or "the figures of 2018"), judging)


@click.command()
@click.argument("old", type=click.Path(path_type=Path, readable=False), metavar="A")
@click.argument("new", type=click.Path(path_type=Path, readable=False), metavar="B")
@results_folder
@judging
@apart("as_json", "as_markdown")
def diff(old: Path, new: Path, results: Path, judging: Judging) -> None:
    """Show what became slower from results A to results B. Exit code 12 if a cell did, or now fails.

    A and B are files, folders, or names of installations measured into DIR with --python or --image. Cells that only
    one side has are listed and don't count.

    \b
    examples:
      rosetta diff last-week.parquet results/merged.parquet
      rosetta diff A.parquet B.parquet --threshold 5
      rosetta diff yesterday today
      rosetta diff main.parquet branch.parquet --markdown --junit diff.xml
    """
    from orchestrator.compare import comparison
    from orchestrator.results.merging import gather

    before, after = (gather([place_of(one, results)], note) for one in (old, new))
    gone = comparison.missing(after, before)
    if gone:
        note(f"only in {old}: {', '.join(gone)}")
    compared = comparison.verify(after, comparison.of_results(before, str(old)), judging.threshold / 100)
    empty = [str(path) for path, rows in ((old, before), (new, after)) if not comparison.grouped(rows)]
    tell(compared, str(old), judging, gone, nothing_in_common(compared, (old, new), empty))


def nothing_in_common(every: "Sequence[Compared]", sides: tuple[Path, Path], empty: Sequence[str]) -> SelectionError:
    """Return the error of two results of which no cell can be compared, with the reasons."""
    from orchestrator.compare.comparison import ABSENT

    old, new = sides

    reasons = list(dict.fromkeys(one.reasons[0] for one in every if one.reasons))
    if set(reasons) <= {ABSENT}:
        why = f"No cell was measured in {' and in '.join(empty)}." if empty else ""
        remedy = "Compare results of the same cells: 'rosetta table FILE' shows what a file has."
        return SelectionError(f"{old} and {new} have no cell in common.", why, remedy)
    why = f"Cells that both have: {'; '.join(reason for reason in reasons if reason != ABSENT)}."
    what = f"No cell of {new} can be compared with {old}."
    return SelectionError(what, why, "Measure the same cells at the same length on both sides.")


def place_of(named: Path, results: Path) -> Path:
    """Return the path of named results: the path itself, or the results folder of an installation of that name."""
    from orchestrator.results.paths import ResultsFolder

    own = ResultsFolder(results).own(str(named)).path
    return own if not named.exists() and own.is_dir() else named


def tell(
    every: "Sequence[Compared]",
    baseline: str,
    judging: Judging,
    gone: Sequence[str] = (),
    nothing: SelectionError | None = None,
) -> None:
    """Print the comparisons, and which cells only the baseline has.

    Raises SlowerError if a comparison is bad, SelectionError (or ``nothing``) if there is none.
    """
    from orchestrator.compare.comparison import BAD, Verdict
    from orchestrator.report import comparison as report
    from orchestrator.report import junit
    from orchestrator.system.console import screen

    if judging.junit:
        junit.write(judging.junit, every)
    if judging.as_json:
        import json

        echo(json.dumps([one.as_json() for one in every], indent=1))
    elif judging.as_markdown:
        echo(report.as_markdown(every, gone), nl=False)
    else:
        report.show(every, screen())
    bad = [one for one in every if one.verdict in BAD]
    if bad:
        what = f"{part_of(len(bad), len(every), 'cell', 'are')} slower than {baseline}, or failed."
        raise SlowerError(what, remedy=advice(bad))
    if all(one.verdict is Verdict.NONE for one in every):
        if nothing:
            raise nothing
        raise SelectionError(
            f"Nothing could be compared with {baseline}.",
            why="Only the same cells of the same length compare, and the figures of 2018 are for full runs on GPUs.",
            remedy="On a CPU, compare with results of one: 'rosetta verify --against FILE'.",
        )


def advice(bad: "Sequence[Compared]") -> str:
    """Return what to do about cells that are slower or failed."""
    from orchestrator.compare.comparison import Verdict

    slower = [one for one in bad if one.verdict is Verdict.SLOWER]
    if not slower:
        return "Read their logs, next to their results."
    reasons = "See the likely reasons above. " if any(one.reasons for one in slower) else ""
    return f"{reasons}First check what else was running on the machine."
