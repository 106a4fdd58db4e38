"""Charts as Vega-Lite specifications: bars with intervals, time against quality, scaling. The page has the colours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.cell.quality import band_of
from orchestrator.cell.workloads import workloads
from orchestrator.report.fields import SHORT, Entry, share
from orchestrator.report.rows import FORM
from orchestrator.report.site.views import View
from orchestrator.results.rows import Row

Datum = Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart: its workload, title, what is to be said of it, and its specification as JSON objects.

    A ``wide`` one needs more room than a phone has, and scrolls sideways there.
    """

    workload: str
    title: str
    caption: str
    spec: Mapping[str, Any]
    wide: bool = False


def charts(views: Sequence[View], by_run: Mapping[str, Row]) -> Iterator[Chart]:
    """Yield every chart for which a workload's tables have data, each of one machine."""
    for view in views:
        data = list(data_of(view, by_run))
        title = view.title.split(":")[0]
        where = "" if view.alone else f", {view.machine or 'unknown machine'}"
        for column in map(" ".join, view.columns):
            if not (here := ranked([datum for datum in data if datum["where"] == column])):
                continue
            yield Chart(view.workload, f"{title}: {column}{where}", on(view, caption(here)), bars(here))
        if len(full := [datum for datum in data if datum["ranked"]]) > 1:
            scale = quality_scale(view.workload, full)
            said = "Runs of the published length on real data; further left is faster. Lines: the range of the rounds, "
            said += f"each of another seed.{scale.caption}"
            yield Chart(
                view.workload, f"{title}: time against quality{where}", on(view, said), scatter(full, scale), wide=True
            )
        if any(datum["n_gpus"] > 1 for datum in data):
            said = "Seconds by the number of GPUs that one cell uses."
            yield Chart(view.workload, f"{title}: scaling{where}", on(view, said), scaling(data))


def on(view: View, said: str) -> str:
    """A caption that begins with the machine, where it is known and the title does not say it."""
    return f"{view.machine}. {said}" if view.machine and view.alone else said


def data_of(view: View, by_run: Mapping[str, Row]) -> Iterator[Datum]:
    """Yield the data of a machine's table: a point for each field that has a time."""
    for library, entries in view.rows.items():
        for heading, entry in zip(view.columns, entries, strict=True):
            if entry.seconds is not None and entry.runs:
                yield datum(library, " ".join(heading), entry, [by_run[run] for run in entry.runs])


def datum(library: str, where: str, entry: Entry, rows: Sequence[Row]) -> Datum:
    """One field of a table: the median of its rounds, and its interval, or the range of too few rounds for one."""
    from orchestrator.compare import noise

    seconds = [row["seconds"] for row in rows]
    few = (min(seconds), max(seconds)) if len(seconds) > 1 else (None, None)
    low, high = noise.interval(seconds) or few
    qualities = [row["quality"] for row in rows]
    return {
        "library": f"{library} {entry.marks}".rstrip(),
        "where": where,
        "seconds": entry.seconds,
        "low": low,
        "high": high,
        "rounds": len(rows),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "quality": noise.median(qualities),
        "worst": min(qualities),
        "best": max(qualities),
        "ranked": bool(entry.rounds),
        "length": entry.length,
        "n_gpus": rows[-1]["n_gpus"] or 0,
    }


def ranked(data: Sequence[Datum]) -> Sequence[Datum]:
    """Sort by time, the fastest first; what is not ranked follows, by name: shortened, synthetic, throttled, noisy."""
    return sorted(data, key=lambda d: (not d["ranked"], d["seconds"] if d["ranked"] else 0, d["library"].casefold()))


def caption(data: Sequence[Datum]) -> str:
    """Return the caption that explains the bars."""
    several = (
        " Lines: 95 % confidence interval of the median; for fewer than six rounds, their range."
        if any(datum["rounds"] > 1 for datum in data)
        else ""
    )
    single = " Hollow: a single round." if any(datum["rounds"] == 1 for datum in data) else ""
    lengths = sorted({datum["length"] for datum in data if SHORT in datum["library"]})
    short = f" {SHORT} {'; '.join(lengths)}." if lengths else ""
    pale = " Pale, with a broken edge: not ranked, by name." if not all(datum["ranked"] for datum in data) else ""
    return f"Median seconds.{several}{single}{pale}{short}"


def bars(data: Sequence[Datum]) -> Mapping[str, Any]:
    """Seconds of each library as bars, with lines for intervals; a single round is hollow, a single bar is short."""
    import altair as alt

    base = alt.Chart().encode(y=alt.Y("library:N", sort=None, title=None))
    tooltip = ["library:N", *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("seconds", "low", "high"))]
    tooltip += ["rounds:Q", alt.Tooltip("quality:Q", format=".3f"), "length:N"]
    # one bar alone would look like the largest possible value
    scale = alt.Scale(domainMax=2.5 * data[0]["seconds"]) if len(data) == 1 else alt.Scale()
    x = alt.X("seconds:Q", title="seconds", axis=alt.Axis(tickCount=8), scale=scale)
    bar = base.mark_bar(height={"band": 0.7}, strokeWidth=1.5).encode(
        x=x,
        opacity=alt.condition("datum.ranked", alt.value(1.0), alt.value(0.5)),
        fillOpacity=alt.condition("datum.rounds > 1", alt.value(1.0), alt.value(0.1)),
        strokeDash=alt.condition("datum.ranked", alt.value([1, 0]), alt.value([4, 3])),
        tooltip=tooltip,
    )
    rule = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="seconds"), x2="high:Q")
    several = any(datum["rounds"] > 1 for datum in data)
    return specification(
        alt.layer(bar, rule.transform_filter("datum.rounds > 1")) if several else bar, data, height=21 * len(data)
    )


@dataclass(frozen=True)
class QualityScale:
    """The axis of a workload's quality: its name, its ends, and the band of a right run, if there is one."""

    name: str
    ends: tuple[float, float]
    band: tuple[float, float] | None

    @property
    def caption(self) -> str:
        """The sentence that explains the band; empty without one."""
        if self.band is None:
            return ""
        low, high = map(share, self.band)
        return f" Shaded: a run is valid between {low} and {high}; differences within it don't affect the ranking."


NARROWEST = 0.1
"""The least that an axis of qualities spans: on less, the luck of a seed would look like a lead."""


def quality_scale(workload: str, data: Sequence[Datum]) -> QualityScale:
    """The axis on which the qualities of some runs are drawn: the whole band is on it, and every run."""
    known, band = workloads().get(workload), band_of(workload, "real")
    name = known.measures.partition(", ")[2] if known else ""
    between = (float(band["low"]), float(band["high"])) if band and band["low"] < band["high"] else None
    values = [*(between or ()), *(datum[name] for datum in data for name in ("worst", "best"))]
    low, high = min(values), max(values)
    room = max(NARROWEST - (high - low), 0.1 * (high - low)) / 2
    return QualityScale(name or "quality", (max(0.0, low - room), min(1.0, high + room)), between)


def scatter(data: Sequence[Datum], scale: QualityScale) -> Mapping[str, Any]:
    """Quality over time, a point for each library and column, with the range of its rounds; the band shaded."""
    import altair as alt

    times = [datum[end] for datum in data for end in ("fastest", "slowest")]
    x_scale = alt.Scale(type="log", nice=False, domain=[min(times) / 1.15, max(times) * 1.6])
    x = alt.X("seconds:Q", scale=x_scale, title="seconds, logarithmic", axis=alt.Axis(tickCount=6))
    y = alt.Y("quality:Q", scale=alt.Scale(domain=list(scale.ends), zero=False, nice=False), title=scale.name)
    base = alt.Chart().encode(x=x, y=y)
    tooltip = ["library:N", "where:N", alt.Tooltip("seconds:Q", format=".4~g"), "rounds:Q"]
    tooltip += [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("quality", "worst", "best")]
    layers = [
        base.mark_rule(strokeWidth=1).encode(y="worst:Q", y2="best:Q"),
        base.mark_rule(strokeWidth=1).encode(x="fastest:Q", x2="slowest:Q"),
        base.mark_point(filled=True, size=55, opacity=1).encode(**by_place(data), tooltip=tooltip),
    ]
    for side, angle in (("above", 310), ("below", 50)):
        here = base.transform_filter(f"datum.side == '{side}'")
        layers.append(here.mark_rule(strokeWidth=0.5).encode(x2="name_x:Q", y2="name_y:Q"))
        names = here.mark_text(align="left", baseline="middle", dx=3, angle=angle, fontSize=10)
        layers.append(names.encode(x="name_x:Q", y="name_y:Q", text="name:N"))
    if scale.band:
        band = alt.Chart(alt.InlineData(values=[dict(zip(("low", "high"), scale.band, strict=True))]))
        shaded = band.mark_rect(opacity=0.14).encode(y=alt.Y("low:Q", title=scale.name), y2="high:Q")
        layers.insert(0, shaded)
    return specification(alt.layer(*layers), named(data, scale), height=420)


BETWEEN_NAMES = 0.019
"""How far apart two names on one side begin, as a share of the axis: a line's height on a page of usual width."""


def named(data: Sequence[Datum], scale: QualityScale) -> Sequence[Datum]:
    """The same with a short ``name`` for each point and the place where it begins: above and below in turn, by time.

    Names that would lie on each other begin further right.
    """
    by_time = sorted(data, key=lambda datum: datum["seconds"])
    step = (by_time[-1]["seconds"] / by_time[0]["seconds"]) ** BETWEEN_NAMES
    away = 0.035 * (scale.ends[1] - scale.ends[0])
    free = {"above": 0.0, "below": 0.0}
    made = []
    for place, datum in enumerate(by_time):
        side = ("above", "below")[place % 2]
        x = max(datum["seconds"], free[side])
        free[side] = x * max(step, 1.001)
        y = datum["best"] + away if side == "above" else datum["worst"] - away
        made.append({**datum, "name": datum["library"].partition(FORM)[0], "side": side, "name_x": x, "name_y": y})
    return made


def by_place(data: Sequence[Datum]) -> dict[str, Any]:
    """Encode columns by colour and by shape, if there are several: neither has to tell it alone."""
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
