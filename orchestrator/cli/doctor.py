"""What this machine has of what a run needs: doctor."""

from pathlib import Path

import click

from orchestrator.cli.options import results_folder
from orchestrator.errors import LackingError
from orchestrator.system.terminal import echo

COLOURS = {"ok": "green", "note": "yellow", "lacking": "red"}


@click.command()
@results_folder
@click.option("--engine", type=click.Choice(["docker", "process", "ray"]), help="As for 'rosetta run'.")
@click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster's head.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for programs.")
def doctor(results: Path, engine: str | None, address: str | None, as_json: bool) -> None:
    """Say what is there of what a run needs, and the remedy for what is missing. Exit code 19 if a run can't work.

    \b
    examples:
      rosetta doctor
      rosetta doctor --engine docker --json
    """
    import json

    from orchestrator.engines.choice import choose_engine
    from orchestrator.report.doctor import State, examine

    found = []
    for finding in examine(choose_engine(engine, address=address), results):
        found.append(finding)
        if not as_json:
            state = click.style(f"{finding.state:8}", fg=COLOURS[finding.state])
            echo(f"{finding.about:8} {finding.said}", lead=f"{state} ")
            if finding.remedy:
                echo(f"{'':17} {finding.remedy}")
    if as_json:
        echo(json.dumps([finding.as_json() for finding in found], indent=1))
    if lacking := [finding for finding in found if finding.state is State.LACKING]:
        raise LackingError(f"{len(lacking)} things are lacking.", lacking[0].said, lacking[0].remedy)
