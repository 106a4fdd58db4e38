"""A plan as lines for a person: what is ready, what can't run and why, and the GPUs that were found."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import click

from orchestrator.images.bases import unlocked
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.system.gpus import CUDA
from orchestrator.system.host import Host, described

COLOURS = {Verdict.READY: "green", Verdict.DONE: "blue", Verdict.INCOMPATIBLE: "bright_black"}
MOST_NAMES = 4
"""Libraries that a line names; more are counted."""


def lines(planned: Sequence[Planned], host: Host | None, every: bool) -> Iterator[tuple[str, str]]:
    """One line for each cell that can run; one for each reason of the others, or for each of them if ``every``.

    Each is a pair: what is our own, with its colour, and the rest. ``host`` is None if no cell is for a GPU.
    """
    shown = [p for p in planned if every or p.verdict is not Verdict.INCOMPATIBLE]
    width = max((len(p.cell.id) for p in shown), default=0)
    for p in shown:
        repeat = f"  repeat {p.cell.repeat}" if p.cell.repeat else ""
        yield f"{p.cell.id:{width}}  {coloured(p.verdict)}", f"{repeat}  {p.reason or p.note}".rstrip()
    yield from (("", line) for line in summary(planned, host, every))


def summary(planned: Sequence[Planned], host: Host | None, every: bool) -> Iterator[str]:
    """What stands below: the reasons of what can't run, the counts, bases without a digest, and GPUs."""
    if not every:
        yield from by_reason([p for p in planned if p.verdict is Verdict.INCOMPATIBLE])
    counts = Counter(p.verdict for p in planned)
    yield f"\n{len(planned):,} cells: " + ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in Verdict)
    yield from bases(planned)
    if host is not None:
        yield from found(planned, host)


def bases(planned: Sequence[Planned]) -> Iterator[str]:
    """The bases of images that no digest names, and how many cells stand on each."""
    counts = Counter(base for p in planned for base in unlocked(p.base))
    for base, count in sorted(counts.items()):
        yield f"base without a digest, {count:,} cells: {base}"


def coloured(verdict: Verdict) -> str:
    """A verdict, as wide as the widest, in its colour."""
    return click.style(f"{verdict:{max(map(len, Verdict))}}", fg=COLOURS[verdict])


def by_reason(impossible: Sequence[Planned]) -> Iterator[str]:
    """Why cells can't run: each reason once, those of most cells first, with the libraries."""
    groups: dict[str, list[Planned]] = defaultdict(list)
    for p in impossible:
        groups[p.reason].append(p)
    if groups:
        yield f"\n{len(impossible):,} cells can't run; --all lists them one by one:"
    for reason, cells in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        names = list(dict.fromkeys(p.cell.library for p in cells))
        rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        yield f"  {len(cells):>5,}  {reason}: {', '.join(names[:MOST_NAMES])}{rest}"


def found(planned: Sequence[Planned], host: Host) -> Iterator[str]:
    """What GPUs there are, and how many cells of which platforms each can run."""
    able = [p for p in planned if p.verdict is not Verdict.INCOMPATIBLE]
    for line in described(host):
        models = [model for model in host.models if f"({model})" in line]
        mine = [p for p in able if p.cell.gpu in models]
        platforms = [name for name in CUDA if any(p.cell.platform == name for p in mine)]
        cells = f": {len(mine):,} cells on {', '.join(platforms)}" if mine else ": no cell can run on it"
        yield f"found {line}{cells if models else ''}"
