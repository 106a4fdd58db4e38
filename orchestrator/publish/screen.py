"""Runs that were repeated, for a person: quality as published and here, and in what the machines differ."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from orchestrator.cell.quality import share
from orchestrator.publish.reproduction import Pair
from orchestrator.system.terminal import echo


def show(pairs: Sequence[Pair], as_json: bool) -> None:
    """Print the pairs, for a person or as JSON."""
    if as_json:
        echo(json.dumps([asdict(pair) for pair in pairs]))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from orchestrator.system.console import screen

    console = screen()
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "repeat", "published", "here", "quality"):
        made.add_column(heading, justify="right" if heading in ("repeat", "published", "here") else "left")
    for pair in pairs:
        here = "–" if pair.here is None else share(pair.here, ".3f")
        said = Text("as published", "green") if pair.as_good else Text("differs", "red")
        made.add_row(Text(pair.cell), str(pair.repeat), share(pair.published, ".3f"), here, said)
    console.print(made)
    differences = dict.fromkeys(difference for pair in pairs for difference in pair.differences)
    for difference in differences:
        console.print(Text(f"the machine differs: {difference}", style="dim"), soft_wrap=True)
