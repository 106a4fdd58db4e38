"""What is made to be read: report, notebook."""

import difflib
from pathlib import Path

import click

from orchestrator.cli import completion
from orchestrator.cli.libraries import take_in_libraries
from orchestrator.cli.options import own_libraries
from orchestrator.errors import SelectionError
from orchestrator.system.extras import need
from orchestrator.system.terminal import echo, note


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
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, metavar="N", help="Its port.")
@own_libraries
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
        count = write(source, output, note)
        echo(f"{count:,} pages; start with {output / 'index.html'}")


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
@own_libraries
def notebook(
    library: str | None, workload: str | None, variant: str, every: bool, output: Path | None, own: tuple[Path, ...]
) -> None:
    """Write a workload script as a Jupyter notebook that runs as it is, one cell per section.

    With another suffix, such as .py, the file is in jupytext's percent format.

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
    known = [words(script.library, script.workload, script.variant) for script in wanted]
    if not every:
        if library is None or workload is None:
            raise click.UsageError("Name a library and a workload, or use --all.")
        one = (library, workload, variant)
        wanted = [script for script in wanted if (script.library, script.workload, script.variant) == one]
    if not wanted:
        what = f"{library} has no script for {workload}, variant {variant}."
        near = difflib.get_close_matches(words(library, workload, variant), known, n=1)
        remedy = f"Did you mean '{near[0]}'? " if near else ""
        raise SelectionError(what, remedy=f"{remedy}'rosetta plan' lists libraries, workloads and variants.")
    for script in wanted:
        name = f"{script.path.stem.replace('_', '-')}-{script.workload}.ipynb"
        path = (output or Path("notebooks")) / name if every else output or Path(name)
        notebooks.write(script, path)
        echo(path)


def words(library: str | None, workload: str | None, variant: str) -> str:
    """The arguments that name a script: ``cntk cnn --variant highapi``."""
    return f"{library} {workload}" + (f" --variant {variant}" if variant != "reference" else "")
