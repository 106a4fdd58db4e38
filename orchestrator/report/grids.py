"""Fields → grids: lines and columns of a table, the fastest of each column, and what follows from several fields."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import median

from orchestrator.cell.workloads import ranks_synthetic
from orchestrator.compare.evidence import adjusted, compare
from orchestrator.compare.noise import CONFIDENCE, ENOUGH
from orchestrator.report.costs import Cost, Prices
from orchestrator.report.fields import ABSENT, SHORT, Entry, entry, figure_entry
from orchestrator.report.rows import Column, WorkloadRows, form_in
from orchestrator.results.rows import Row


@dataclass(frozen=True)
class Grid:
    """A table's ``columns`` in which something ran, the headings of all (in lines), and the entries of each library."""

    columns: Sequence[Column]
    headings: Sequence[tuple[str, ...]]
    lines: Mapping[str, Sequence[Entry]]


@dataclass(frozen=True)
class Costs:
    """The cost columns of a table, and the prices that they need."""

    wanted: Sequence[Cost] = ()
    prices: Prices = field(default_factory=dict)


def measured(rows: WorkloadRows, costs: Costs | None = None) -> Grid:
    """Return the grid of what was run, then the figures of 2018. Columns in which nothing could run are left out.

    With ``costs``, their columns follow.
    """
    fields: dict[tuple[str, Column], list[Row]] = defaultdict(list)
    for answer in rows.ran:
        fields[answer.title, answer.column].append(answer.row)
    columns = sorted({column for _, column in fields})
    columns_2018 = sorted({column for _, column in rows.figures})
    shown = {column.anywhere for column in columns}
    missing = {(answer.title, answer.column) for answer in rows.absent if answer.column in shown}
    titles = {title for title, _ in {*fields, *missing, *rows.figures}}
    libraries = sorted(titles, key=lambda title: (form_in(title), title.casefold()))
    entries = {
        title: [entry(fields[title, column], (title, column.anywhere) in missing) for column in columns]
        for title in libraries
    }
    entries = with_amounts(entries)
    lines = {
        title: [*line, *(figure_entry(rows.figures.get((title, column))) for column in columns_2018)]
        for title, line in with_fastest(entries).items()
    }
    headings = [column.heading() for column in (*columns, *columns_2018)]
    grid = with_gains(with_derived(rows.workload, Grid(columns, headings, lines), columns), columns)
    return with_costs(grid, fields, costs) if costs else grid


def with_amounts(lines: Mapping[str, Sequence[Entry]]) -> dict[str, list[Entry]]:
    """Add below each time of a smoke run how much it trained on, where such runs differ in that."""
    amounts = {entry.amount for line in lines.values() for entry in line if SHORT in entry.marks}
    if len(amounts) < 2:
        return {title: list(line) for title, line in lines.items()}
    return {
        title: [
            replace(one, spread=", ".join(filter(None, (one.amount, one.spread)))) if SHORT in one.marks else one
            for one in line
        ]
        for title, line in lines.items()
    }


def with_costs(grid: Grid, fields: Mapping[tuple[str, Column], Sequence[Row]], costs: Costs) -> Grid:
    """Add cost columns to the grid, for each column of times in which a run has that cost."""
    made = [
        (
            (*column.heading(), cost.heading),
            {t: cost.entry(fields.get((t, column), ()), costs.prices) for t in grid.lines},
        )
        for column in grid.columns
        for cost in costs.wanted
    ]
    told = [(heading, line) for heading, line in made if any(entry.time for entry in line.values())]
    lines = {title: [*entries, *(line[title] for _, line in told)] for title, entries in grid.lines.items()}
    return replace(grid, headings=[*grid.headings, *(heading for heading, _ in told)], lines=lines)


def as_published(rows: WorkloadRows, libraries: Sequence[str], columns: Sequence[Column]) -> Grid:
    """The figures of 2018 as they stood there; where it is known which libraries used cuDNN's GRU, with a column of it.

    ``libraries`` and ``columns`` are those of the published table, in its order.
    """
    lines: dict[str, Sequence[Entry]] = {
        title: [figure_entry(rows.figures.get((title, column)), ABSENT) for column in columns] for title in libraries
    }
    grid = with_derived(rows.workload, Grid([], [column.heading() for column in columns], lines), columns)
    used = {title: figure.cudnn_rnn for (title, _), figure in rows.figures.items() if figure.cudnn_rnn}
    if not used:
        return grid
    lines = {title: [*line, Entry(used.get(title, ABSENT))] for title, line in grid.lines.items()}
    return replace(grid, headings=[*grid.headings, ("cuDNN's", "GRU")], lines=lines)


Contest = Sequence[tuple[str, Entry]]
"""The titles and entries of one column that are ranked against each other."""


def with_fastest(lines: Mapping[str, Sequence[Entry]]) -> dict[str, list[Entry]]:
    """Mark the fastest entries of each column, form and contest, and those that can't be told apart from them.

    Doubtful times are never marked, nor those of fewer than ``ENOUGH`` rounds. Where one of them compiles for a good
    part of its time, all are ranked without what only the first step costs.
    """
    titles = list(lines)
    columns = [list(zip(titles, column, strict=True)) for column in zip(*lines.values(), strict=True)]
    kinds = sorted({ranked_among(*pair) for column in columns for pair in column})
    contests = [
        warm([pair for pair in column if len(pair[1].rounds) >= ENOUGH and ranked_among(*pair) == kind])
        for column in columns
        for kind in kinds
    ]
    best = iter(fastest_of(contests))
    first = [{title for _ in kinds for title in next(best)} for _ in columns]
    return {
        title: [replace(entry, fastest=title in names) for entry, names in zip(lines[title], first, strict=True)]
        for title in titles
    }


def ranked_among(title: str, entry: Entry) -> tuple[str, ...]:
    """Return what the entries of a column must share to be ranked: the form of the network, and their contest."""
    return form_in(title), *entry.contest


def warm(contest: Contest) -> Contest:
    """Return the contest by warm times, if one entry compiles for a good part of its time and all have warm times."""
    if not any(entry.compiles for _, entry in contest) or not all(entry.warm for _, entry in contest):
        return contest
    return [(title, replace(entry, rounds=entry.warm, seconds=median(entry.warm))) for title, entry in contest]


def fastest_of(contests: Sequence[Contest]) -> list[Collection[str]]:
    """Return the fastest titles of each contest, as far as anybody can tell; none for a single entry.

    All pairs of all contests count as comparisons, since whichever looks fastest is picked out of all of them.
    """
    pairs = [(place, a, b) for place, contest in enumerate(contests) for a, b in combinations(contest, 2)]
    chances = adjusted([compare(a[1].rounds, b[1].rounds).p for _, a, b in pairs])
    differ = {
        (place, *sides)
        for (place, a, b), p in zip(pairs, chances, strict=True)
        if p <= 1 - CONFIDENCE
        for sides in ((a[0], b[0]), (b[0], a[0]))
    }
    found: list[Collection[str]] = []
    for place, contest in enumerate(contests):
        first = min(contest, key=lambda pair: pair[1].seconds or 0)[0] if len(contest) > 1 else ""
        found.append({title for title, _ in contest if first and (place, first, title) not in differ})
    return found


def with_derived(workload: str, grid: Grid, columns: Sequence[Column]) -> Grid:
    """Add what the first ``columns`` tell together: how long libraries wait for input, and how well they scale.

    Only the workload whose synthetic data was published has these; the other grids stay as they are.
    """
    if not ranks_synthetic(workload):
        return grid
    fakes = [(c, replace(c, data="synthetic", start="")) for c in columns if not c.data]
    lags = [(real, fake) for real, fake in fakes if fake in columns]
    gains = [(replace(c, n_gpus=1), c) for c in columns if c.n_gpus > 1 and replace(c, n_gpus=1) in columns]
    if not lags and not gains:
        return grid
    place = {column: index for index, column in enumerate(columns)}
    lines = {
        title: [
            *entries,
            *(input_lag(entries[place[real]], entries[place[fake]]) for real, fake in lags),
            *(scaling(entries[place[one]], entries[place[many]], many.n_gpus) for one, many in gains),
        ]
        for title, entries in grid.lines.items()
    }
    headings = [(*real.heading(), "input lag") for real, _ in lags]
    headings += [(*many.heading(), "speed-up") for _, many in gains]
    return replace(grid, headings=[*grid.headings, *headings], lines=lines)


GAIN = "gain"


def with_gains(grid: Grid, columns: Sequence[Column]) -> Grid:
    """Add how many times as fast as its reference each library's tuned script is, where both have run."""
    tuned_ones = [(replace(column, code=""), place) for place, column in enumerate(columns) if column.code]
    pairs = [(columns.index(usual), place) for usual, place in tuned_ones if usual in columns]
    pairs = [
        (usual, tuned) for usual, tuned in pairs if any(gain(e[usual], e[tuned]).time for e in grid.lines.values())
    ]
    lines = {
        title: [*entries, *(gain(entries[usual], entries[tuned]) for usual, tuned in pairs)]
        for title, entries in grid.lines.items()
    }
    headings = [*grid.headings, *((*columns[tuned].heading(), GAIN) for _, tuned in pairs)]
    return replace(grid, headings=headings, lines=lines) if pairs else grid


def gain(reference: Entry, tuned: Entry) -> Entry:
    """How many times as fast a tuned script is, of the same length as its reference."""
    if reference.seconds is None or tuned.seconds is None or reference.length != tuned.length:
        return Entry()
    times = reference.seconds / tuned.seconds
    return made_of_both(f"{times:.2f} ×", reference, tuned, times, "×")


def input_lag(real: Entry, synthetic: Entry) -> Entry:
    """How much longer real data takes than data that is in memory already, and which share of the time that is."""
    if real.seconds is None or synthetic.seconds is None:
        return Entry()
    lag = real.seconds - synthetic.seconds
    said = f"{lag:,.0f} s, {100 * lag / real.seconds:.0f} %"
    return made_of_both(said, real, synthetic, lag, "s")


def scaling(one: Entry, many: Entry, n_gpus: int) -> Entry:
    """How many times as fast several GPUs are as one, and which share of the ideal that is."""
    if one.seconds is None or many.seconds is None:
        return Entry()
    gain = one.seconds / many.seconds
    said = f"{gain:.2f} ×, {100 * gain / n_gpus:.0f} %"
    return made_of_both(said, one, many, gain, "×")


def made_of_both(said: str, a: Entry, b: Entry, value: float, unit: str) -> Entry:
    """A field made of two others, with the marks of both; of how few rounds, where they are too few to tell."""
    rounds = min(len(a.runs), len(b.runs))
    few = f"n={rounds}" if 0 < rounds < ENOUGH else ""
    return Entry(said, marks="".join(dict.fromkeys(a.marks + b.marks)), spread=few, value=value, unit=unit)
