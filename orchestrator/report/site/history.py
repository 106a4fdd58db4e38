"""The history page: a chart for each cell that ran on several days, its steps, and what changed there."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from orchestrator.cell.contract import Status
from orchestrator.compare.history import FIRST_DAY, Day, Step, days, is_known, steps
from orchestrator.report.fields import duration, length
from orchestrator.report.site.charts import specification
from orchestrator.results.rows import Row
from orchestrator.system.words import counted

COMPARED = (
    ("framework_version", "version"),
    ("cuda", "CUDA"),
    ("driver", "driver"),
    ("kernel", "kernel"),
    ("image", "image"),
    ("image_digest", "digest of the image"),
    ("commit", "commit of the orchestrator"),
)
"""The columns that may explain a changed time, and their titles."""

SHOWN = 12
"""Characters shown of a digest or commit."""

LABELS = 9
"""Dates on the axis at most. Where they don't fit, every other one is left out, down to the first and the last."""


@dataclass(frozen=True)
class Change:
    """A step as it is shown: the date, both times, by how much, and what else changed."""

    date: str
    before: str
    after: str
    percent: str
    others: Sequence[str]


@dataclass(frozen=True)
class Series:
    """A cell on one machine, of one length, over several days."""

    title: str
    caption: str
    days: Sequence[Day]
    changes: Sequence[Change]
    spec: Mapping[str, Any]


def history(rows: Sequence[Row]) -> list[Series]:
    """Return a series for each cell that ran ok on more than one day; those with steps first, then by name.

    Runs before ``FIRST_DAY`` are left out, and their series says so.
    """
    found: Mapping[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["status"] == Status.OK and row["parity"] is None and row["started"]:
            found[tuple(row[name] for name in ("cell", "data", "epochs", "samples", "cpu", "cores"))].append(row)
    dated = {key: days_of([row for row in here if is_known(row["started"])]) for key, here in found.items()}
    several = {key: each for key, each in dated.items() if len(each) > 1}
    made = [
        series(each, len(several), sum(not is_known(row["started"]) for row in found[key]))
        for key, each in sorted(several.items(), key=lambda item: str(item[0]))
    ]
    return sorted(made, key=lambda one: not one.changes)


def days_of(rows: Sequence[Row]) -> list[Day]:
    """The days of some runs; ``started`` is text that begins with the date."""
    ordered = sorted(rows, key=lambda row: row["started"])
    return days([(row["started"][:10], row["seconds"], row) for row in ordered])


def series(every: Sequence[Day], count: int, undated: int = 0) -> Series:
    """Make one of ``count`` series from its days; ``undated`` runs are left out, since their date can't be right."""
    row = every[-1].runs[-1]
    found = steps([day.median for day in every], count)
    machine = (
        f"{row['cpu']}, {row['cores']} core{'s' if row['cores'] != 1 else ''}" if row["cpu"] else "unknown machine"
    )
    said = f"{length(row)}; {machine}. Points: the median of a day's rounds, with their range."
    if found:
        said += " Dashed lines: where the time changed."
    if undated:
        left = "is left out: its" if undated == 1 else "are left out: their"
        said += f" {counted(undated, 'run')} dated before {FIRST_DAY[:4]} {left} clock was wrong."
    return Series(row["cell"], said, every, [change(every, step) for step in found], drawn(every, found))


def change(every: Sequence[Day], step: Step) -> Change:
    """A step with what differs between the last run before it and the first one after."""
    before, after = every[step.place - 1].runs[-1], every[step.place].runs[0]
    return Change(
        every[step.place].date,
        duration(step.before),
        duration(step.after),
        percent(step),
        list(differences(before, after)),
    )


def percent(step: Step) -> str:
    """By how much a time changed: "+12 %"."""
    return f"{100 * step.change:+.0f} %".replace("-", "\u2212")


def differences(before: Row, after: Row) -> Iterator[str]:
    """Yield what differs between two runs, as far as both tell."""
    for name, title in COMPARED:
        old, new = before.get(name), after.get(name)
        if old and new and old != new:
            yield f"{title} {shortened(old)} → {shortened(new)}"


def shortened(value: Any) -> str:
    """A version, or the beginning of a digest."""
    text = str(value).removeprefix("sha256:")
    return text[:SHOWN] if len(text) > 3 * SHOWN else text


PADDING = 8
"""Pixels between the ends of the axes and the data; the first and last label lie flush with the ends."""


def labelled(every: Sequence[Day]) -> Sequence[date]:
    """Return the dates for the axis: the first day, the last one, and those between them, evenly spaced."""
    first, last = (date.fromisoformat(day.date) for day in (every[0], every[-1]))
    count = min(LABELS, (last - first).days + 1)
    return [first + timedelta(days=round((last - first).days * place / (count - 1))) for place in range(count)]


def drawn(every: Sequence[Day], found: Sequence[Step]) -> Mapping[str, Any]:
    """Seconds over the days, with a rule at each step."""
    import altair as alt

    changed = {step.place: step for step in found}
    data = [
        {
            "date": day.date,
            "day": day.date,
            "low": day.low,
            "seconds": day.median,
            "high": day.high,
            "rounds": len(day.runs),
            "version": day.runs[-1]["framework_version"] or "",
            "commit": shortened(day.runs[-1]["commit"] or ""),
            "step": percent(changed[place]) if place in changed else "",
        }
        for place, day in enumerate(every)
    ]
    x = alt.X(
        "date:T",
        title=None,
        axis=alt.Axis(
            format="%Y-%m-%d",
            labelAngle=0,
            labelFlush=PADDING + 1,
            labelOverlap="parity",
            labelSeparation=6,
            values=[
                alt.DateTime(year=each.year, month=each.month, date=each.day, utc=True) for each in labelled(every)
            ],
        ),
        # of UTC, as the dates of the rows are: else a reader west of it would see the day before
        scale=alt.Scale(type="utc", padding=PADDING),
    )
    base = alt.Chart().encode(x=x)
    y = alt.Y("seconds:Q", title="seconds", scale=alt.Scale(zero=False, padding=PADDING))
    tooltip = [
        alt.Tooltip("day:N", title="date"),
        alt.Tooltip("seconds:Q", format=".4~g"),
        "rounds:Q",
        "version:N",
        "commit:N",
        "step:N",
    ]
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y=y, tooltip=tooltip)
    ranges = base.mark_rule(strokeWidth=1).encode(y=alt.Y("low:Q", title="seconds"), y2="high:Q")
    stepped = base.transform_filter("datum.step != ''")
    rules = stepped.mark_rule(strokeDash=[4, 3])
    names = stepped.mark_text(align="left", baseline="top", dx=4).encode(y=alt.value(0), text="step:N")
    return specification(
        alt.layer(ranges, points, rules, names) if found else alt.layer(ranges, points), data, height=200
    )
