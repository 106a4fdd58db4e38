"""The compare command: two sides in interleaved rounds."""

import os
from typing import TYPE_CHECKING

import click

from orchestrator.cli.kinds import Choice, Duration, Number, Whole
from orchestrator.cli.options import Length, Selection, length_of_a_round, selection
from orchestrator.errors import SlowerError
from orchestrator.system.terminal import echo
from orchestrator.system.words import part_of

if TYPE_CHECKING:
    from orchestrator.compare.pairs import Found

LONGEST = 240
"""Most rounds per side: beyond it, a comparison has no more looks to spend."""


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--difference", type=Number(0.1, 100), default=5.0, show_default=True, metavar="PERCENT",
              help="The smallest difference that matters; anything surely smaller counts as equal.")  # fmt: skip
@click.option("--rounds", type=Whole(4, LONGEST), default=24, show_default=True, metavar="N",
              help="At most N rounds per side of each cell, in blocks of four.")  # fmt: skip
@click.option("--budget", type=Duration(), metavar="TIME", help="Start no new run after this time: 30m, 2h.")
@click.option("--clock", type=Choice(["wall", "processor"]),
              help="Which time to compare. Default: wall, or processor on a busy machine.")  # fmt: skip
@length_of_a_round
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@selection
def compare(
    a: str,
    b: str,
    difference: float,
    rounds: int,
    budget: float | None,
    clock: str | None,
    length: Length,
    as_json: bool,
    selection: Selection,
) -> None:
    """Find out whether B is slower than A by running both in turn, in random order. Exit code 12 if it is, or fails.

    A and B are two cells, or the settings in which they differ, with --only naming the cells: library=, platform=,
    gpu=, n_gpus=, precision=, variant=, data=, cores=, checkout=DIR, python=PATH, image=IMAGE. Separate settings by
    commas. The same command resumes where it stopped. docs/compare.md explains the verdicts.

    \b
    examples:
      rosetta compare pytorch/rnn/cpu jax/rnn/cpu
      rosetta compare 'keras-tf/*/cpu' 'keras-jax/*/cpu' --budget 2h
      rosetta compare --only mxnet/cnn/cpu variant=reference variant=highapi
      rosetta compare --only 'pytorch/*/cuda13/h200' precision=fp32 precision=tf32
      rosetta compare --only pytorch/rnn/cpu cores=1 cores=2
      rosetta compare --only '*/rnn/cpu' checkout=../main checkout=. --budget 30m
      rosetta compare --only 'pytorch/*' python=/opt/a/bin/python python=/opt/b/bin/python
    """
    from orchestrator.cli import sides
    from orchestrator.cli.cells import raise_unless_good
    from orchestrator.compare.pairs import Clock
    from orchestrator.report import pairs as report
    from orchestrator.run import screen as showing
    from orchestrator.run.context import Settings
    from orchestrator.run.pairs import Limits, Run
    from orchestrator.run.pairs import compare as run_pairs
    from orchestrator.system.console import screen
    from orchestrator.system.signals import of_this_process

    interruption = of_this_process()
    console = screen(stderr=as_json)
    contests = sides.contests((a, b), selection, length, console)
    limits = Limits(difference / 100, rounds, budget, Clock(clock) if clock else None)
    settings = Settings(selection.results, mirror=os.environ.get("ROSETTA_DATA_MIRROR") or None)
    run = Run(settings, showing.choose(console, as_json=False), interruption)
    found, tally = run_pairs(contests, limits, run)
    if as_json:
        import json

        echo(json.dumps([one.as_json() for one in found], indent=1))
    else:
        report.show(found, (a, b), console)
    if tally.interrupted or tally.error:
        raise_unless_good(tally)
    raise_if_slower(found, (a, b))


def raise_if_slower(found: "list[Found]", names: tuple[str, str]) -> None:
    """Raise SlowerError if B is slower somewhere, or a run failed."""
    from orchestrator.compare.pairs import BAD

    bad = [one.name for one in found if one.verdict in BAD]
    if bad:
        many = part_of(len(bad), len(found), "comparison")
        what = f"In {many} {names[1]} is slower than {names[0]}, or a run failed."
        raise SlowerError(what)
