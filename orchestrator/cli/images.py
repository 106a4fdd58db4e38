"""Images: save, load, list; and for those who change one or the matrix: lock, schema."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from orchestrator.cli import completion
from orchestrator.cli.libraries import take_in_libraries
from orchestrator.cli.options import Selection, own_libraries, selection_of_images
from orchestrator.system.terminal import echo
from orchestrator.system.words import counted


@click.group()
def images() -> None:
    """List this engine's images, and carry them to machines without internet.

    \b
    examples:
      rosetta images list
      rosetta images save --only '*/rnn/cpu' --output /media/stick
      rosetta images load /media/stick
    """


@images.command("list")
def list_images() -> None:
    """Print the engine's images and their sizes, published ones included.

    \b
    example:
      rosetta images list
    """
    from orchestrator.engines.client import Connection
    from orchestrator.publish import archives

    for tag, size, image in sorted(archives.listed(Connection().api)):
        echo(f"{tag:60}  {size / 2**20:8,.0f} MB  {image}")


@images.command()
@selection_of_images
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder to write to.",
)
def save(selection: Selection, output: Path) -> None:
    """Write the images of the selected cells as OCI archives, with checksums in SHA256SUMS.

    They must have been built, with Docker: 'rosetta build'.

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
    """Load what 'images save' wrote, if it matches SHA256SUMS.

    \b
    example:
      rosetta images load /media/stick
    """
    from orchestrator.engines.client import Connection
    from orchestrator.publish import archives

    archives.load(Connection().api, folder, echo)


@images.command("table")
@click.option("--write", is_flag=True, help="Write it into README.md and docs/platforms.md of the checkout.")
@click.option("--check", is_flag=True, help="Print nothing; fail if those documents are out of date.")
def versions_table(write: bool, check: bool) -> None:
    """Print the table of libraries and versions as the docs have it. For those who change an image.

    \b
    examples:
      rosetta images table
      rosetta images table --write
    """
    from orchestrator.report import versions

    if write and check:
        raise click.UsageError("--write and --check can't be used together.")
    if check:
        versions.check()
    elif write:
        for document, changed in versions.write():
            echo(f"{document}: {'table updated' if changed else 'up to date'}")
    else:
        echo("\n\n".join(versions.tables().values()))


@click.command()
@click.argument("frameworks", nargs=-1, shell_complete=completion.frameworks, metavar="[FRAMEWORK]...")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit instead of the locked ones.")
@click.option("--bases", is_flag=True, help="Lock the digests of the base images instead; needs Docker.")
@click.option("--check", is_flag=True, help="Write nothing; report what has changed. Exit code 21 if anything has.")
@own_libraries
def lock(frameworks: tuple[str, ...], upgrade: bool, bases: bool, check: bool, own: tuple[Path, ...]) -> None:
    """Resolve the requirements in images/*.yaml into locks with hashes. For those who change an image; needs uv.

    --check asks the package indexes whether anything locked was withdrawn or yanked; with --bases it asks the registry
    for updated base images.

    \b
    examples:
      rosetta lock pytorch
      rosetta lock tinygrad --with my-libraries
      rosetta lock --bases --upgrade
      rosetta lock --check --bases
    """
    from orchestrator.images.definitions import chosen
    from orchestrator.images.locks import write_locks

    take_in_libraries(own)
    if check and upgrade:
        raise click.UsageError("--check and --upgrade can't be used together.")
    if check:
        return check_locks(frameworks, bases)
    if bases:
        return lock_bases(frameworks, upgrade)
    for framework in chosen(frameworks):
        for platform in framework.platforms:
            for path in write_locks(framework.framework, platform, upgrade):
                echo(path)


def lock_bases(names: Sequence[str], anew: bool) -> None:
    """Write the digests of the bases of some frameworks, or all."""
    from orchestrator.images import bases
    from orchestrator.images.definitions import chosen
    from orchestrator.images.locks import make_writable
    from orchestrator.system.library_folders import PROGRAM

    ask = registry_asked()
    for folder, wanted in bases.wanted_bases(chosen(names)).items():
        if wanted:
            make_writable(folder.locks)
            echo(bases.lock_bases(folder, wanted, ask, anew))
            if folder == PROGRAM:
                echo(bases.write_own_base())


def check_locks(names: Sequence[str], bases: bool) -> None:
    """Print what has moved since the locks of some frameworks were made; raises MovedError, UnreachableError."""
    from itertools import chain

    from orchestrator.errors import MovedError
    from orchestrator.images import moved
    from orchestrator.images.bases import wanted_bases
    from orchestrator.images.definitions import chosen
    from orchestrator.images.image import Image

    frameworks = chosen(names)
    images = [Image(framework, platform) for framework in frameworks for platform in framework.platforms]
    found = list(moved.moved_packages(images))
    if bases:
        wanted = set(chain.from_iterable(wanted_bases(frameworks).values()))
        found += moved.moved_bases(wanted, registry_asked())
    for each in found:
        echo(each)
    known = [each for each in found if not each.unknown]
    if known:
        remedy = "Lock what is there now: 'rosetta lock --upgrade', 'rosetta lock --bases --upgrade'."
        many = counted(len(known), "package or base image", "packages or base images")
        raise MovedError(f"Changed since they were locked: {many}.", remedy=remedy)
    moved.refuse_unknown(found)
    pins = counted(len(moved.pins_of(images)), "package")
    echo(f"Nothing has changed: {pins}{' and the base images' if bases else ''}.")
    if unlocked := sorted({pin for image in images for pin in image.spec.unlocked_pins}):
        echo(f"Not checked, since no hash is known: {', '.join(unlocked)}.")


def registry_asked() -> Callable[[str], str | None]:
    """Return the function that asks a base's registry, or its mirror, for the digest of its tag."""
    from orchestrator.engines.client import Connection
    from orchestrator.images.sources import asked_for
    from orchestrator.publish.registry import digest_of

    api = Connection().api
    return lambda base: digest_of(api, asked_for(base))


@click.command(hidden=True)
def schema() -> None:
    """Print the JSON Schema of matrix.yaml (committed as matrix.schema.json)."""
    from orchestrator.plan import matrix

    echo(matrix.json_schema(), nl=False)
