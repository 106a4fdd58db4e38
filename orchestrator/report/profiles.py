"""Where a step spends its time, as a table on a screen or as lines for a page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.cell.profile import Profile

if TYPE_CHECKING:
    from rich.table import Table

MEANING = {
    "input": "the harness fetches a batch",
    "host": "script and library code on the host",
    "copies": "copies to, from and on the device",
    "kernels": "the library's computations",
    "idle": "none of these",
}
UNTOLD = "not reported by this profiler: part of host"


class Line(NamedTuple):
    """A class: milliseconds and percent of a step, empty where the profiler can't tell, and what it means."""

    name: str
    milliseconds: str
    share: str
    meaning: str


def lines(profile: Profile) -> Iterator[Line]:
    """A line for each class, then the whole step."""
    shares = profile.classes.shares
    for name, seconds in dict(profile.classes).items():
        if seconds is None:
            yield Line(name, "", "", UNTOLD)
        else:
            yield Line(name, f"{1000 * seconds:,.2f}", f"{100 * (shares[name] or 0.0):.1f}", MEANING[name])
    yield Line("step", f"{1000 * profile.step_seconds:,.2f}", "100.0", "")


def said(profile: Profile) -> str:
    """Say how a profile was made."""
    steps = f"{profile.steps} steps" if profile.steps > 1 else "one step"
    return f"Mean of {steps} on {profile.data} data, by {profile.profiler}; the profiler itself takes time, too."


def table(profile: Profile) -> "Table":
    """Return the lines as a table for a screen."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("where a step goes", no_wrap=True)
    made.add_column("ms", justify="right", no_wrap=True)
    made.add_column("%", justify="right", no_wrap=True)
    made.add_column("", style="dim", overflow="fold")
    for line in lines(profile):
        made.add_row(*line)
    return made
