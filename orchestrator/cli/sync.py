"""Results for others and from others: sync push, sync pull."""

import sys
from contextlib import closing
from pathlib import Path

import click

from orchestrator.cli.options import results_folder
from orchestrator.errors import INTERRUPTED
from orchestrator.system.terminal import echo


@click.group()
def sync() -> None:
    """Share results, logs and reports through Azure Blob Storage or a folder.

    LOCATION is az://account/container/prefix or file:///path. Credentials come from the environment:
    AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_KEY, else those of 'az login' or of the
    machine. Nothing is ever overwritten: a file that differs is reported and both are kept (exit code 14).

    \b
    examples:
      rosetta sync push az://account/results/machine-7
      rosetta sync pull az://account/results/machine-7 --results machine-7
    """


location = click.argument("location")


@sync.command()
@location
@results_folder
def push(location: str, results: Path) -> None:
    """Copy what is finished to LOCATION. What is there already is not sent again.

    \b
    examples:
      rosetta sync push az://account/results/machine-7
      rosetta sync push file:///mnt/share/results/machine-7 --results /data/results
    """
    transfer("push", location, results)


@sync.command()
@location
@results_folder
def pull(location: str, results: Path) -> None:
    """Copy LOCATION into a results folder, validating every file; 'rosetta merge', 'table' and the rest then read it.

    \b
    examples:
      rosetta sync pull az://account/results/machine-7
      rosetta sync pull file:///mnt/share/results/machine-7 --results machine-7
    """
    transfer("pull", location, results)


def transfer(direction: str, location: str, results: Path) -> None:
    """Push or pull; exits with 130 when interrupted."""
    from orchestrator.results import sync as copying
    from orchestrator.storage.location import storage_at
    from orchestrator.system.signals import of_this_process

    interruption = of_this_process()
    try:
        with closing(storage_at(location)) as place:
            {"push": copying.push, "pull": copying.pull}[direction](results, place, echo, interruption)
    except KeyboardInterrupt:
        echo("interrupted: copied files are kept; run the same command again to continue", err=True)
        sys.exit(INTERRUPTED)
