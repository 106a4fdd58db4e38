"""Rows and grids → notes below a table: why a field is empty, why something failed, and what the marks mean."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.cell.contract import Status
from orchestrator.cell.workloads import trains
from orchestrator.compare.noise import ENOUGH, LOADED, NOISY
from orchestrator.compare.published_2018 import RACING
from orchestrator.images.definitions import library_index
from orchestrator.report.fields import (
    ABSENT,
    BAD,
    BARE,
    BUSY,
    COMPILES,
    DOUBTED,
    IDLE,
    NOTED,
    SHARED,
    SHORT,
    SLOWED,
    UNPROVED,
    UNSTEADY,
    Entry,
    word,
)
from orchestrator.report.grids import Grid
from orchestrator.report.rows import (
    FORM,
    Answer,
    Published,
    WorkloadRows,
    form_in,
    gpu_title,
    platform_title,
)
from orchestrator.results.rows import Row

NOT_YET = "not implemented yet"
FEW = f"n<{ENOUGH}"

LONGEST_REASON = 160

RANKS_NOTHING = "a smoke run, never ranked"

LEGEND = {
    SLOWED: "heat or the power limit slowed the GPU down: not ranked",
    SHARED: "other processes used the card during the run: not ranked",
    UNSTEADY: f"the rounds are more than {100 * NOISY:.0f} % apart: not ranked",
    BUSY: f"the machine was overloaded, with a load per core of {LOADED} or more: not ranked",
    IDLE: "used its cores more or less than the library does on a quiet machine, see 'rosetta verify': not ranked",
    UNPROVED: "no proof of parity for the same script and image, see 'rosetta parity': not ranked",
    BARE: "run without a container: the machine's own Python and system libraries, no isolation",
}

"""The marks behind times, with what they mean; a table lists those that it has."""

GLOSSARY = {
    SHORT: f"shortened or on synthetic data: {RANKS_NOTHING}",
    **LEGEND,
    BAD: "failed; the reason is below the table",
    ABSENT: "can't run there; the reason is below the table",
    NOTED: "a note on some libraries: another form of the network, or an image first seen on a GPU here",
    DOUBTED: "a doubtful figure of 2018; the note below the table says why",
    FEW: f"fewer than {ENOUGH} rounds: too few to tell which library is the fastest",
}
"""All marks, for readers who want them in one place."""


@dataclass(frozen=True)
class Note:
    """A line below a table, behind its mark."""

    mark: str
    text: str


def below(rows: WorkloadRows, grid: Grid) -> Iterator[Note]:
    """Yield all notes below a table except the legend, which several tables share."""
    shown = {column.anywhere for column in grid.columns}
    yield from failures(rows.ran, say_where=len(grid.columns) > 1)
    yield from unseen(rows.ran)
    yield from reasons([answer for answer in rows.absent if answer.column in shown])
    elsewhere = [answer for answer in rows.absent if answer.column not in shown]
    yield from left_out(elsewhere, "left out, nothing runs there" if grid.columns else "nothing has run")
    yield from untold(grid)
    yield from compiling(grid)
    yield from forms(grid)
    yield from caveats(rows.figures)


def failures(ran: Sequence[Answer], say_where: bool) -> Iterator[Note]:
    """The reasons of what did not end ok."""
    places = defaultdict(set)
    for answer in ran:
        status = answer.row["status"]
        if status != Status.OK:
            where = f" on {answer.column.anywhere.name()}" if say_where else ""
            places[reason_of(answer.row) or word(status)].add(answer.title + where)
    for reason, names in sorted(places.items()):
        yield Note(BAD, f"{listed(names)}: {reason}")


def unseen(ran: Sequence[Answer]) -> Iterator[Note]:
    """Note the images that this project never saw on a GPU but that ran here, and whether they were proved."""
    groups = defaultdict(set)
    for answer in ran:
        row = answer.row
        if row["gpu"] != "none" and row["status"] == Status.OK and never_seen(row["library"], row["platform"]):
            groups[bool(row["proof"])].add(answer.title)
    for proved, names in sorted(groups.items(), reverse=True):
        said = "the same weights gave the reference's numbers on this card" if proved else "not proved on this card"
        yield Note(NOTED, f"first seen on a GPU here, never by this project; {said}: {listed(names)}")


def never_seen(library: str, platform: str) -> bool:
    """Whether a library's YAML says that nobody has seen its image for a platform work; false for one without YAML."""
    framework = library_index().get(library)
    spec = framework.platforms.get(platform) if framework else None
    return bool(spec and spec.unverified)


def reasons(absent: Sequence[Answer]) -> Iterator[Note]:
    """Why fields of the shown columns are empty, each reason once."""
    groups = defaultdict(list)
    for answer in absent:
        groups[reason_of(answer.row)].append(answer.title)
    for reason, names in sorted(groups.items()):
        yield Note(ABSENT, f"{counted(reason, len(names))}: {listed(set(names))}")


def left_out(absent: Sequence[Answer], why: str) -> Iterator[Note]:
    """The columns in which nothing could run, in one note, with both reasons, or the most frequent of many."""
    if not absent:
        return
    cards_of = defaultdict(list)
    for column in sorted({answer.column for answer in absent}):
        cards_of[platform_title(column.platform)].append(gpu_title(column.gpu[1]))
    platforms_of = defaultdict(list)
    for platform, cards in cards_of.items():
        platforms_of[", ".join(filter(None, cards))].append(platform)
    names = [", ".join(platforms) + (f" ({cards})" if cards else "") for cards, platforms in platforms_of.items()]
    counts = Counter(reason_of(answer.row) for answer in absent)
    common = counts.most_common(1 if len(counts) > 2 else 2)
    others = counts.total() - sum(count for _, count in common)
    said = [counted(reason, count) for reason, count in common]
    said += [counted("other reasons, see 'rosetta plan'", others)] if others else []
    yield Note(ABSENT, f"{why}: {', '.join(names)}: {'; '.join(said)}")


def forms(grid: Grid) -> Iterator[Note]:
    """Which lines are of another network of the same name."""
    found = sorted({form for title in grid.lines if (form := form_in(title))})
    if found:
        yield Note(
            FORM.strip(),
            f"{'; '.join(found)}: another form, other scores from the same weights, ranked separately: docs/parity.md",
        )


def untold(grid: Grid) -> Iterator[Note]:
    """Note that times of a column have too few rounds to be ranked."""
    contests = [[entry for entry in column if entry.rounds] for column in zip(*grid.lines.values(), strict=True)]
    if any(len(contest) > 1 and any(len(entry.rounds) < ENOUGH for entry in contest) for contest in contests):
        yield Note(FEW, f"fewer than {ENOUGH} rounds can't tell which is the fastest: use 'rosetta run --until-stable'")


def compiling(grid: Grid) -> Iterator[Note]:
    """Note whose times are for a good part compilation, and that warm times are ranked then."""
    found = [title for title, line in grid.lines.items() if any(entry.compiles for entry in line)]
    if found:
        said = "of the time goes to the first step, mostly for compilation; where it does, 'warm' times are ranked"
        yield Note("warm", f"{listed(found)}: more than {100 * COMPILES:.0f} % {said}")


def caveats(published: Published) -> Iterator[Note]:
    """Note what speaks against figures of 2018, and which GRU is not cuDNN's."""
    places = defaultdict(list)
    for (title, column), figure in published.items():
        if figure.doubt:
            places[figure.doubt].append(f"{title} on {column.name()}")
    for doubt, names in places.items():
        yield Note(DOUBTED, f"{listed(names)}: {doubt}")
    racing = {title for (title, _), f in published.items() if f.library in RACING and trains(f.workload)}
    if racing:
        said = (
            "trained with a race, as Keras 2 does on TensorFlow 1: a weight could be written while a gradient read it"
        )
        yield Note("2018", f"{listed(racing)}: {said}; docs/lessons.md")
    other = {title for (title, _), figure in published.items() if figure.cudnn_rnn == "no"}
    if other:
        yield Note("2018", f"without cuDNN's GRU: {listed(other)}")


def legend(entries: Iterable[Entry]) -> Iterator[Note]:
    """Explain the marks that stand behind times."""
    marked = [entry for entry in entries if entry.marks]
    lengths = sorted({entry.length for entry in marked if SHORT in entry.marks})
    if lengths:
        yield Note(
            SHORT,
            f"{'; '.join(lengths)}: {RANKS_NOTHING}. For the published length on real data: "
            "'rosetta data fetch', then 'rosetta run --profile full'",
        )
    for mark, text in LEGEND.items():
        if any(mark in entry.marks for entry in marked):
            yield Note(mark, text)


def reason_of(row: Row) -> str:
    """The first line of a reason, without what differs from cell to cell."""
    reason = next(iter(row["reason"].splitlines()), "")
    if reason.startswith(NOT_YET):
        return NOT_YET
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def counted(what: str, count: int) -> str:
    """Append to a text the number of cells, if there are several."""
    return f"{what} ({count} cells)" if count > 1 else what


def listed(names: Iterable[str]) -> str:
    """Names as a list in a sentence."""
    return ", ".join(sorted(names, key=str.casefold))
