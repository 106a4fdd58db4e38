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
        remedy = "Edit it, or go to another folder."
        raise MatrixError(f"{HERE} is here already, and stays as it is.", remedy=remedy) from None
    except OSError as error:
        raise MatrixError(f"{HERE} can't be written.", f"{error.strerror}.") from None
    echo(f"{HERE}: 'rosetta plan --profile quick' prints what it measures, 'rosetta run --profile quick' runs it")
