"""A matrix file to start from: init."""

from pathlib import Path

import click

from orchestrator.cli.libraries import HERE
from orchestrator.errors import MatrixError
from orchestrator.system.terminal import echo

STARTER = Path(__file__).parent / "starter.yaml"


@click.command()
def init() -> None:
    """Write a matrix.yaml to start from into this folder. An existing one is left alone.

    \b
    example:
      rosetta init
      rosetta run --profile quick
    """
    text = STARTER.read_text(encoding="utf-8")
    try:
        with HERE.open("x") as file:
            file.write(text)
    except FileExistsError:
        remedy = "Edit it, or change to another folder."
        raise MatrixError(f"{HERE} already exists here and was not changed.", remedy=remedy) from None
    except OSError as error:
        raise MatrixError(f"{HERE} can't be written.", f"{error.strerror}.") from None
    echo(f"{HERE}: 'rosetta plan --profile quick' shows what it measures, 'rosetta run --profile quick' runs it")
