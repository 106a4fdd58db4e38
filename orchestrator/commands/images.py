"""For those who change an image or the matrix: lock, schema."""

import click


@click.command()
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK]...")
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit, not those of the lock.")
def lock(frameworks: tuple[str, ...], upgrade: bool) -> None:
    """Resolve what images/*.yaml ask for into locks with hashes. For those who change an image; needs uv ('make dev').

    \b
    example:
      rosetta lock pytorch
    """
    from orchestrator import images

    for image in images.every_image():
        if not frameworks or image.framework.framework in frameworks:
            for path in images.lock(image.framework.framework, image.platform, upgrade):
                click.echo(path)


@click.command(hidden=True)
def schema() -> None:
    """Print the JSON Schema of matrix.yaml (committed as matrix.schema.json)."""
    from orchestrator import matrix

    click.echo(matrix.json_schema(), nl=False)
