"""What is made to be read: report, notebook."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import completion
from orchestrator.cli.apart import apart, only_with
from orchestrator.cli.kinds import Whole, refuse_unwritable
from orchestrator.cli.libraries import take_in_libraries
from orchestrator.cli.options import own_libraries
from orchestrator.errors import ConflictError, SelectionError, StorageError
from orchestrator.system.extras import need
from orchestrator.system.regular_files import is_plain, resolved
from orchestrator.system.terminal import echo, note
from orchestrator.system.words import counted, nearest

if TYPE_CHECKING:
    from orchestrator.report.scripts import Script


@click.command()
@click.argument("source", type=click.Path(path_type=Path, readable=False), metavar="[FILE|DIR]", default="results")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default="site",
    show_default=True,
    help="Folder for the pages.",
)
@click.option("--serve", is_flag=True, help="Serve live pages instead of writing them, until Ctrl-C.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address for --serve.")
@click.option("--port", type=Whole(0, 65535), default=8080, show_default=True, metavar="N", help="Its port.")
@own_libraries
@apart("serve", "output")
@only_with("serve", "host", "port")
def report(source: Path, output: Path, serve: bool, host: str, port: int, own: tuple[Path, ...]) -> None:
    """Write results as self-contained web pages, or serve them while cells run.

    \b
    examples:
      rosetta report                       then open site/index.html
      rosetta report all.parquet -o site/
      rosetta report --serve               http://localhost:8080, filled while 'rosetta run' runs
    """
    need("report")
    from orchestrator.report import scripts
    from orchestrator.report.site.pages import write
    from orchestrator.report.site.serving import serve as serve_pages

    take_in_libraries(own)
    for said in scripts.left_out():
        note(said)
    if serve:
        serve_pages(source, host, port, say=echo)
    else:
        refuse_folder(output, source)
        count = write(source, output, note)
        echo(f"{counted(count, 'page')}; start with {output / 'index.html'}")


OURS = "Rosetta Matrix</title>"
"""What the first lines of every page of ours have."""


def refuse_folder(folder: Path, source: Path) -> None:
    """Raise ConflictError for a folder that pages would mix with what they are made of, or with somebody else's files.

    Hidden files, such as .git, are nobody's pages. Pages of ours have an ``index.html`` of ours, written first.
    """
    from orchestrator.system.text_files import disk_errors

    with disk_errors(folder, ELSEWHERE):
        made_of = resolved(source) if source.exists() else None
        if made_of and resolved(folder) in (made_of, *made_of.parents):
            raise ConflictError(f"{folder} holds the results that the pages are made of.", remedy=ELSEWHERE)
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        start = folder / "index.html"
        head = start.read_bytes()[:4096].decode(errors="replace") if is_plain(start) else ""
    others = [name for name in there if not name.startswith(".")]
    if others and OURS not in head:
        why = f"It is not empty and has no pages of 'rosetta report' yet, but {named(others)}."
        raise ConflictError(f"{folder} holds somebody else's files.", why, ELSEWHERE)


ELSEWHERE = "Name another folder with -o DIR."
NAMED = 3


def named(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


@click.command()
@click.argument("library", required=False, shell_complete=completion.libraries)
@click.argument("workload", required=False, shell_complete=completion.workloads)
@click.option(
    "--variant", default="reference", show_default=True, metavar="NAME", help="Which of the library's scripts."
)
@click.option("--all", "every", is_flag=True, help="All scripts.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The file, or with --all the folder. Default: LIBRARY-WORKLOAD.ipynb; notebooks.",
)
@click.option("--overwrite", is_flag=True, help="Also write over a notebook that was changed or run since.")
@own_libraries
@apart("every", "library")
@apart("every", "variant")
def notebook(
    library: str | None,
    workload: str | None,
    variant: str,
    every: bool,
    output: Path | None,
    overwrite: bool,
    own: tuple[Path, ...],
) -> None:
    """Write a workload script as a Jupyter notebook that runs as it is, one cell per section.

    With the suffix of the script, such as .py, the file is in jupytext's percent format. A notebook that you have
    changed or run is left alone.

    \b
    examples:
      rosetta notebook pytorch cnn
      rosetta notebook keras-r rnn -o gru.ipynb
      rosetta notebook --all -o notebooks/
    """
    need("report")
    from orchestrator.cell.parameters import parameters
    from orchestrator.report import notebook as notebooks
    from orchestrator.report.scripts import left_out, scripts

    take_in_libraries(own)
    for said in left_out():
        note(said)
    wanted = [script for name in parameters() for script in scripts(name)]
    if not every:
        if library is None or workload is None:
            raise click.UsageError("Name a library and a workload, or use --all.")
        wanted = [script_of((library, workload, variant), wanted)]
    for script in wanted:
        name = f"{script.path.stem.replace('_', '-')}-{script.workload}.ipynb"
        path = (output or Path("notebooks")) / name if every else output or Path(name)
        if not every:
            refuse_suffix(path, script)
            refuse_unwritable(path)
        if notebooks.write(script, path, overwrite):
            echo(path)
        elif every:
            note(f"{path} was changed, so it is left alone; --overwrite writes over it")
        else:
            remedy = "Name another file, or use --overwrite."
            raise StorageError(f"{path} has other content, perhaps yours, and was not changed.", remedy=remedy)


Named = tuple[str, str, str]
"""Library, workload and variant."""


def script_of(asked: Named, every: "Sequence[Script]") -> "Script":
    """Return the script of a library for a workload; raises SelectionError, with the one that was probably meant."""
    known: dict[Named, Script] = {(one.library, one.workload, one.variant): one for one in every}
    if asked in known:
        return known[asked]
    near = meant(asked, known) or meant((asked[1], asked[0], asked[2]), known)
    remedy = f"Did you mean '{words(*near)}'? " if near else ""
    what = f"{asked[0]} has no script for {asked[1]}, variant {asked[2]}."
    raise SelectionError(what, remedy=f"{remedy}'rosetta plan' lists libraries, workloads and variants.")


def meant(asked: Named, known: Collection[Named]) -> Named | None:
    """Return the script that is asked for once each word is the nearest known one; words that are known stay."""
    vocabularies = [set(one) for one in zip(*known, strict=True)]
    library, workload, variant = (
        word if word in vocabulary else nearest(word, vocabulary)
        for word, vocabulary in zip(asked, vocabularies, strict=True)
    )
    found = (library, workload, variant)
    return found if found in known else None


def refuse_suffix(path: Path, script: "Script") -> None:
    """Raise UsageError for a file that can't be a notebook: a folder, or of another suffix than it can have."""
    allowed = (".ipynb", script.path.suffix)
    if path.is_dir():
        raise click.UsageError(f"-o {path} is a folder. Name a file in it, or use --all for all notebooks.")
    if path.suffix.lower() not in [suffix.lower() for suffix in allowed]:
        raise click.UsageError(f"-o {path} must end in {' or '.join(allowed)}.")


def words(library: str, workload: str, variant: str) -> str:
    """The arguments that name a script: ``cntk cnn --variant highapi``."""
    return f"{library} {workload}" + (f" --variant {variant}" if variant != "reference" else "")
