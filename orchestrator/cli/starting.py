"""A matrix file to start from: init."""

import os
from pathlib import Path

import click

from orchestrator.cli.libraries import HERE
from orchestrator.errors import MatrixError
from orchestrator.system.terminal import echo
from orchestrator.system.text_files import write_text

STARTER = Path(__file__).parent / "starter.yaml"


@click.command()
def init() -> None:
    """Write a matrix.yaml to start from into this folder. An existing one is left alone.

    \b
    example:
      rosetta init
      rosetta run --profile quick
    """
    if os.path.lexists(HERE):
        remedy = "Edit it, or change to another folder."
        raise MatrixError(f"{HERE} already exists here and was not changed.", remedy=remedy)
    write_text(HERE, STARTER.read_text(encoding="utf-8"))
    echo(f"{HERE}: 'rosetta plan --profile quick' shows what it measures, 'rosetta run --profile quick' runs it")
