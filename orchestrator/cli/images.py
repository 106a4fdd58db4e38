"""Images: save, load, list; and for those who change one or the matrix: lock, schema."""

from pathlib import Path

import click

from orchestrator.cli.libraries import take_in_libraries
from orchestrator.cli.options import Selection, own_libraries, selection
from orchestrator.system.terminal import echo


@click.group()
def images() -> None:
    """Images of this engine: list them, carry them to machines without internet.

    \b
    examples:
      rosetta images list
      rosetta images save --only '*/rnn/cpu' --output /media/stick
      rosetta images load /media/stick
    """


@images.command("list")
def list_images() -> None:
    """Print the images that the engine has, published ones too, with their sizes.

    \b
    example:
      rosetta images list
    """
    from orchestrator.engines.client import Connection
    from orchestrator.publish import archives

    for tag, size, image in sorted(archives.listed(Connection().api)):
        echo(f"{tag:60}  {size / 2**20:8,.0f} MB  {image}")


@images.command()
@selection
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to write.",
)
def save(selection: Selection, output: Path) -> None:
    """Write the images of the selected cells as OCI archives, with their sums in SHA256SUMS.

    \b
    example:
      rosetta images save --only 'pytorch/*/cpu' --output /media/stick
    """
    from orchestrator.cli.cells import cells_of
    from orchestrator.engines.docker import DockerEngine
    from orchestrator.plan import verdicts as planning
    from orchestrator.publish import archives

    engine = DockerEngine()
    cells = cells_of(selection, engine)
    wanted = planning.images_of(cells, engine, selection.unverified)
    archives.save(engine.api, wanted, output, echo)


@images.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def load(folder: Path) -> None:
    """Load what 'images save' wrote, if all of it is what SHA256SUMS says.

    \b
    example:
      rosetta images load /media/stick
    """
    from orchestrator.engines.client import Connection
    from orchestrator.publish import archives

    archives.load(Connection().api, folder, echo)


@images.command("table")
@click.option("--write", is_flag=True, help="Into README.md and docs/platforms.md of the checkout, not to the screen.")
@click.option("--check", is_flag=True, help="Print nothing; fail if these documents say anything else.")
def versions_table(write: bool, check: bool) -> None:
    """Print the libraries and their versions as the documents have them. For those who change an image.

    \b
    examples:
      rosetta images table
      rosetta images table --write
    """
    from orchestrator.report import versions

    if write and check:
        raise click.UsageError("--write and --check exclude each other.")
    if check:
        versions.check()
    elif write:
        for document, changed in versions.write():
            echo(f"{document}: {'the table is new' if changed else 'nothing new'}")
    else:
        echo("\n\n".join(versions.tables().values()))


@click.command()
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK]...")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit, not those of the lock.")
@own_libraries
def lock(frameworks: tuple[str, ...], upgrade: bool, own: tuple[Path, ...]) -> None:
    """Resolve what images/*.yaml ask for into locks with hashes. For those who change an image; needs uv.

    \b
    examples:
      rosetta lock pytorch
      rosetta lock tinygrad --with my-libraries
    """
    from orchestrator.images.definitions import chosen
    from orchestrator.images.locks import write_locks

    take_in_libraries(own)
    for framework in chosen(frameworks):
        for platform in framework.platforms:
            for path in write_locks(framework.framework, platform, upgrade):
                echo(path)


@click.command(hidden=True)
def schema() -> None:
    """Print the JSON Schema of matrix.yaml (committed as matrix.schema.json)."""
    from orchestrator.plan import matrix

    echo(matrix.json_schema(), nl=False)
