"""What this machine has of what a run needs: doctor."""

from pathlib import Path

import click

from orchestrator.cli.apart import only_with
from orchestrator.cli.kinds import Choice
from orchestrator.cli.options import ENGINES, on_scheduler, results_folder, site
from orchestrator.errors import LackingError, RosettaError
from orchestrator.system.terminal import echo, note
from orchestrator.system.words import counted

COLOURS = {"ok": "green", "note": "yellow", "lacking": "red"}


@click.command()
@results_folder
@click.option("--engine", type=Choice(ENGINES), help="As for 'rosetta run'.")
@click.option("--address", metavar="HOST:PORT", help="Address of the Ray head node.")
@on_scheduler
@site
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@only_with("scheduler", "site")
def doctor(
    results: Path, engine: str | None, address: str | None, scheduler: str | None, site: Path | None, as_json: bool
) -> None:
    """Check that this machine has what a run needs, with a remedy for what is missing. Exit code 19 if no run can work.

    On a cluster, a short job in each partition with GPUs reads what its cards are.

    \b
    examples:
      rosetta doctor
      rosetta doctor --engine docker --json
      rosetta doctor --on slurm
    """
    import json

    from orchestrator.engines.choice import choose_engine, slurm_engine
    from orchestrator.report.doctor import State, examine, of_error

    found = []
    try:
        asked = slurm_engine(engine, results, site, note) if scheduler else choose_engine(engine, note, address)
    except RosettaError as error:
        if as_json:
            echo(json.dumps([of_error("engine", error).as_json()], indent=1))
        raise
    for finding in examine(asked, results):
        found.append(finding)
        if not as_json:
            state = click.style(f"{finding.state:8}", fg=COLOURS[finding.state])
            echo(f"{finding.about:8} {finding.said}", lead=f"{state} ")
            if finding.remedy:
                echo(f"{'':17} {finding.remedy}")
    if as_json:
        echo(json.dumps([finding.as_json() for finding in found], indent=1))
    if lacking := [finding for finding in found if finding.state is State.LACKING]:
        what = f"{counted(len(lacking), 'requirement')} of a run {'is' if len(lacking) == 1 else 'are'} missing."
        raise LackingError(what, lacking[0].said, lacking[0].remedy)
