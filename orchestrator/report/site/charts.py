"""Charts as Vega-Lite specifications: bars with intervals, time against quality, scaling. The page has the colours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.fields import SHORT, Entry
from orchestrator.report.tables import Table
from orchestrator.results.rows import Row

Datum = Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart: its workload, title, what is to be said of it, and its specification as JSON objects."""

    workload: str
    title: str
    caption: str
    spec: Mapping[str, Any]


def charts(tables: Sequence[Table], by_run: Mapping[str, Row]) -> Iterator[Chart]:
    """Every chart that the tables have something for."""
    for table in tables:
        data = list(data_of(table, by_run))
        for where in dict.fromkeys(datum["where"] for datum in data):
            here = ranked([datum for datum in data if datum["where"] == where])
            yield Chart(table.workload, f"{table.title.split(':')[0]}: {where}", caption(here), bars(here))
        if full := [datum for datum in data if datum["ranked"]]:
            said = "Runs of the published length on real data; further left is faster, further up is better."
            yield Chart(table.workload, f"{table.title.split(':')[0]}: time against quality", said, scatter(full))
        if any(datum["n_gpus"] > 1 for datum in data):
            said = "Seconds by the number of GPUs that one cell uses."
            yield Chart(table.workload, f"{table.title.split(':')[0]}: scaling", said, scaling(data))


def data_of(table: Table, by_run: Mapping[str, Row]) -> Iterator[Datum]:
    """What is drawn of a table: a point for each field that has a time."""
    for library, entries in table.rows.items():
        for heading, entry in zip(table.columns, entries, strict=True):
            if entry.seconds is not None and entry.runs:
                yield datum(library, " ".join(heading), entry, [by_run[run] for run in entry.runs])


def datum(library: str, where: str, entry: Entry, rows: Sequence[Row]) -> Datum:
    """One field of a table: the median of its rounds, and its interval, or the range of too few rounds for one."""
    from orchestrator.compare import noise

    seconds = [row["seconds"] for row in rows]
    few = (min(seconds), max(seconds)) if len(seconds) > 1 else (None, None)
    low, high = noise.interval(seconds) or few
    return {
        "library": f"{library} {entry.marks}".rstrip(),
        "where": where,
        "seconds": entry.seconds,
        "low": low,
        "high": high,
        "rounds": len(rows),
        "quality": noise.median([row["quality"] for row in rows]),
        "ranked": bool(entry.rounds),
        "length": entry.length,
        "n_gpus": rows[-1]["n_gpus"] or 0,
    }


def ranked(data: Sequence[Datum]) -> Sequence[Datum]:
    """By time, the fastest first; what is not ranked comes after, by name: shortened, synthetic, throttled, noisy."""
    return sorted(data, key=lambda d: (not d["ranked"], d["seconds"] if d["ranked"] else 0, d["library"].casefold()))


def caption(data: Sequence[Datum]) -> str:
    """What the bars are."""
    several = (
        " Lines: where the median lies with 95 % confidence; of fewer than six rounds, their range."
        if any(datum["rounds"] > 1 for datum in data)
        else " One round each."
    )
    lengths = sorted({datum["length"] for datum in data if SHORT in datum["library"]})
    short = f" {SHORT} {'; '.join(lengths)}." if lengths else ""
    pale = " Pale: not ranked, by name." if not all(datum["ranked"] for datum in data) else ""
    return f"Median seconds.{several}{pale}{short}"


def bars(data: Sequence[Datum]) -> Mapping[str, Any]:
    """Seconds of each library as bars, with lines for intervals."""
    import altair as alt

    base = alt.Chart().encode(y=alt.Y("library:N", sort=None, title=None))
    tooltip = ["library:N", *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("seconds", "low", "high"))]
    tooltip += ["rounds:Q", alt.Tooltip("quality:Q", format=".3f"), "length:N"]
    x = alt.X("seconds:Q", title="seconds", axis=alt.Axis(tickCount=8))
    bar = base.mark_bar(height={"band": 0.7}).encode(
        x=x,
        opacity=alt.condition("datum.ranked", alt.value(1.0), alt.value(0.4)),
        tooltip=tooltip,
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="seconds"), x2="high:Q")
    several = any(datum["rounds"] > 1 for datum in data)
    return specification(
        alt.layer(bar, rule.transform_filter("datum.rounds > 1")) if several else bar, data, height=21 * len(data)
    )


def scatter(data: Sequence[Datum]) -> Mapping[str, Any]:
    """Quality over time, a point for each library and column."""
    import altair as alt

    base = alt.Chart().encode(
        x=alt.X("seconds:Q", scale=alt.Scale(type="log", nice=False, padding=30), title="seconds, logarithmic"),
        y=alt.Y("quality:Q", scale=alt.Scale(zero=False), title="quality"),
        tooltip=["library:N", "where:N", "seconds:Q", alt.Tooltip("quality:Q", format=".3f")],
    )
    points = base.mark_point(filled=True, size=70).encode(**by_place(data))
    names = base.mark_text(align="left", dx=7, dy=1, fontSize=10).encode(text="library:N")
    return specification(alt.layer(points, names), data, height=360)


def by_place(data: Sequence[Datum]) -> dict[str, Any]:
    """Colour and shape by column, where there are several: neither is left to tell it alone."""
    import altair as alt

    several = len({datum["where"] for datum in data}) > 1
    return {"color": alt.Color("where:N", title=None), "shape": alt.Shape("where:N", title=None)} if several else {}


def scaling(data: Sequence[Datum]) -> Mapping[str, Any]:
    """Seconds over the number of GPUs, a line for each library."""
    import altair as alt

    made = (
        alt.Chart()
        .mark_line(point=True)
        .encode(
            x=alt.X("n_gpus:O", title="GPUs", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("seconds:Q", title="seconds"),
            color=alt.Color("library:N", title=None),
            strokeDash=alt.StrokeDash("library:N", title=None),
            tooltip=["library:N", "where:N", "n_gpus:O", "seconds:Q"],
        )
    )
    return specification(made, [datum for datum in data if datum["n_gpus"]], height=300)


def specification(chart: Any, data: Sequence[Datum], **size: int) -> Mapping[str, Any]:
    """A chart with its data, as wide as the page is."""
    import altair as alt

    made = chart.properties(data=alt.InlineData(values=list(data)), width="container", **size)
    specification: dict[str, Any] = made.to_dict()
    return specification
