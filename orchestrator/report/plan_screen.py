"""A plan as lines for a person: what is ready, what can't run and why, and the GPUs that were found."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import click

from orchestrator.cell.cell import Cell
from orchestrator.images.bases import unlocked
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.system.gpus import CUDA
from orchestrator.system.host import Found, Host, Kind, found_on, machine_reason
from orchestrator.system.words import counted

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
    """Yield the lines below: the reasons of what can't run, the counts, bases without a digest, and GPUs."""
    if not every:
        yield from by_reason([p for p in planned if p.verdict is Verdict.INCOMPATIBLE])
    counts = Counter(p.verdict for p in planned)
    yield f"\n{counted(len(planned), 'cell')}: " + ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in Verdict)
    yield from bases(planned)
    if host is not None:
        yield from found(planned, host)


def bases(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield the base images without a digest, and how many cells are built on each."""
    counts = Counter(base for p in planned for base in unlocked(p.base))
    for base, count in sorted(counts.items()):
        yield f"base without a digest, {counted(count, 'cell')}: {base}"


def coloured(verdict: Verdict) -> str:
    """A verdict, as wide as the widest, in its colour."""
    return click.style(f"{verdict:{max(map(len, Verdict))}}", fg=COLOURS[verdict])


def by_reason(impossible: Sequence[Planned]) -> Iterator[str]:
    """Why cells can't run: each reason once, those of most cells first, with the libraries."""
    groups: dict[str, list[Planned]] = defaultdict(list)
    for p in impossible:
        groups[p.reason].append(p)
    if groups:
        yield f"\n{counted(len(impossible), 'cell')} can't run; --all lists them one by one:"
    for reason, cells in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        names = list(dict.fromkeys(p.cell.library for p in cells))
        rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        yield f"  {len(cells):>5,}  {reason}: {', '.join(names[:MOST_NAMES])}{rest}"


def found(planned: Sequence[Planned], host: Host) -> Iterator[str]:
    """Yield which GPUs there are, and how many cells of which platforms each can run."""
    by_word: dict[str, list[Planned]] = defaultdict(list)
    for p in planned:
        by_word[p.cell.gpu].append(p)
    for each in found_on(host):
        if each.kind is not Kind.CARDS:
            yield f"{'found' if each.kind in (Kind.NONE, Kind.DIVIDED) else 'note:'} {each.line}"
        else:
            yield f"found {each.line}: {told_of([p for word in words_for(each) for p in by_word.get(word, ())], each)}"


def told_of(planned: Sequence[Planned], found: Found) -> str:
    """Return how many of the cells that are for a card it can run, and on which platforms."""
    if not planned:
        return "none of the selected cells is for it"
    able = [p.cell for p in planned if p.verdict is not Verdict.INCOMPATIBLE]
    mine = [cell for cell in able if can_run(cell, found.machine)]
    platforms = [name for name in CUDA if any(cell.platform == name for cell in mine)]
    return f"{counted(len(mine), 'cell')} on {', '.join(platforms)}" if mine else "no cell can run on it"


def words_for(found: Found) -> set[str]:
    """Return the words that mean this model where a cell names a GPU: the a100 is a100-sm80, too."""
    return {found.model, *(device.exact for device in found.machine.of_model(found.model))}


def can_run(cell: Cell, machine: Host) -> bool:
    """Whether one machine of several has what a cell needs."""
    return machine_reason(cell.platform, cell.gpu, machine, cell.n_gpus) is None
