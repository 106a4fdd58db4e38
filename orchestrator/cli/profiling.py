"""The profile command: where a training step spends its time."""

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from orchestrator.cli import completion
from orchestrator.cli.kinds import Choice, Glob, Whole
from orchestrator.cli.options import Length, Selection, longest, selection
from orchestrator.errors import INTERRUPTED, CellsFailed, SelectionError
from orchestrator.system.terminal import echo
from orchestrator.system.words import part_of

if TYPE_CHECKING:
    from orchestrator.cell.cell import Cell
    from orchestrator.run.profiling import Profiled


@click.command()
@click.argument("cells", nargs=-1, type=Glob(), shell_complete=completion.cells, metavar="[SELECTOR]...")
@click.option("--steps", type=Whole(1), default=5, show_default=True, metavar="N",
              help="Steps to record after the warm-up.")  # fmt: skip
@click.option("--data", type=Choice(["real", "synthetic"]), help="Default: real if it is here already.")
@click.option("--samples", type=Whole(64), metavar="N", help="Use the first N samples.")
@longest("--deadline", 3600.0, "Stop a cell that takes longer.  [default: an hour]")
@selection
def profile(
    cells: tuple[str, ...], steps: int, data: str | None, samples: int | None, deadline: float, selection: Selection
) -> None:
    """Show where a training step spends its time: a few steps under the library's profiler, a table and a trace.

    SELECTOR is a glob as for --only; a cell is profiled once, whatever its rounds. The trace opens in
    https://ui.perfetto.dev. A profile is not a result: it enters no table and marks no cell as done. docs/profile.md
    explains the classes and what each profiler sees.

    \b
    examples:
      rosetta profile pytorch/rnn/cpu
      rosetta profile '{pytorch,jax,tensorflow}/rnn/cpu' --data synthetic --samples 640
      rosetta profile pytorch/cnn/cpu/tuned --profile tuned --steps 20
      rosetta profile --only 'chainer-2018/*/cpu' --engine podman
    """
    from rich.text import Text

    from orchestrator.cell.profile import MOST_STEPS
    from orchestrator.cli.cells import cells_of, engine_of, machine_of, plan_of_matrix
    from orchestrator.run.profiling import Settings
    from orchestrator.run.profiling import profile as run
    from orchestrator.system.console import screen

    selection = replace(selection, only=(*cells, *selection.only))
    if not selection.only:
        raise click.UsageError("Name a cell: 'rosetta profile pytorch/rnn/cpu'. 'rosetta plan' lists them.")
    if steps > MOST_STEPS:
        raise click.UsageError(f"--steps can be at most {MOST_STEPS}: browsers can't open a larger trace.")
    if selection.on_cluster:
        what = "Profiles are made on this machine, not on a cluster."
        raise SelectionError(what, remedy="Run it on the node itself, without --on and --engine ray.")
    engine = engine_of(selection)
    wanted = on_data(cells_of(selection, engine, Length(data=data, repeats=1, samples=samples)), data)
    host = machine_of(wanted, engine)
    planned = plan_of_matrix(engine, selection.results, selection.unverified)(wanted, host)
    settings = Settings(steps, selection.results, deadline, os.environ.get("ROSETTA_DATA_MIRROR") or None)
    console, found = screen(), []
    try:
        for each in run(planned, engine, settings, host, lambda text: echo(text, err=True)):
            found.append(each)
            for shown in said_of(each):
                console.print(shown, soft_wrap=isinstance(shown, Text))
    except KeyboardInterrupt:
        echo("interrupted: finished profiles are kept", err=True)
        sys.exit(INTERRUPTED)
    failed = [each.planned.cell.id for each in found if each.trace is None]
    if failed:
        remedy = f"See their logs in {selection.results / 'profiles'}."
        what = f"{part_of(len(failed), len(found), 'cell', 'have')} no profile: {', '.join(failed)}."
        raise CellsFailed(what, remedy=remedy)


def on_data(cells: "list[Cell]", data: str | None) -> "list[Cell]":
    """Return each cell once; without ``data``, on synthetic data if its data set is not here yet."""
    from orchestrator.cell.parameters import dataset_of
    from orchestrator.data import datasets

    def on(cell: "Cell") -> "Cell":
        dataset = dataset_of(cell)
        there = dataset is None or datasets.folder(dataset).is_dir()
        return cell if data or there else replace(cell, data="synthetic")

    return list(dict.fromkeys(map(on, cells)))


def said_of(profiled: "Profiled") -> list[object]:
    """Return what is printed about a cell."""
    from rich.text import Text

    from orchestrator.report.profiles import said, table

    cell, outcome = profiled.planned.cell, profiled.outcome
    if outcome.recording is None:
        return [Text(f"{cell.id}  {outcome.status}: {outcome.reason}", "red")]
    made = outcome.recording.profile
    trace = Text(f"trace, to open in https://ui.perfetto.dev: {profiled.trace}\n")
    return [Text(cell.id, "bold"), table(made), Text(said(made), "dim"), trace]
