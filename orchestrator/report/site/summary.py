"""The overview's summary of the results: when they were measured, on which machines, with which versions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from orchestrator.cell.contract import Status
from orchestrator.compare.history import is_known
from orchestrator.report.tables import describe
from orchestrator.results.rows import Row
from orchestrator.system.words import counted


class Fact(NamedTuple):
    """A name, and what is said under it, a line each."""

    name: str
    lines: Sequence[str]


def headline(rows: Sequence[Row], made: str) -> str:
    """The results in a sentence."""
    ran = of_runs(rows)
    if not ran:
        return f"Made {made}."
    libraries, workloads = ({row[name] for row in ran} for name in ("library", "workload"))
    what = f"{counted(len(ran), 'run')} of {counted(len(libraries), 'library', 'libraries')}"
    days = measured(ran)
    when = f", measured {days}" if days else ""
    return f"Here: {what} in {counted(len(workloads), 'workload')}{when}. Pages made {made}."


def summary(rows: Sequence[Row], made: str) -> Iterator[Fact]:
    """The facts of some results; ``made`` is when the pages were made."""
    ran = of_runs(rows)
    if days := measured(ran):
        yield Fact("Measured", [days])
    yield Fact("Pages made", [made])
    if machines := list(counted_lines(machine_of(row) for row in ran)):
        yield Fact("Machine" if len(machines) == 1 else "Machines", machines)
    if cards := list(counted_lines(card_of(row) for row in ran)):
        yield Fact("GPUs", cards)
    if versions := list(versions_of(ran)):
        yield Fact("Versions", versions)


def of_runs(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows of what was run."""
    return [row for row in rows if row["status"] != Status.INCOMPATIBLE]


def measured(rows: Sequence[Row]) -> str:
    """The first and the last day on which something was run; empty where nobody knows."""
    days = sorted({row["started"][:10] for row in rows if is_known(row["started"])})
    return f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)


def counted_lines(names: Iterator[str]) -> Iterator[str]:
    """Each name once, with its runs where there are several names, the most frequent first."""
    found = Counter(filter(None, names)).most_common()
    return (name if len(found) == 1 else f"{name}: {counted(count, 'run')}" for name, count in found)


def machine_of(row: Row) -> str:
    """CPU, cores, memory and system of a run; empty where nobody knows."""
    if not row["cpu"]:
        return ""
    memory = f"{row['memory'] / 2**30:,.0f} GiB" if row["memory"] else ""
    return ", ".join(filter(None, (describe((row["cpu"], row["cores"] or 0)), memory, row["os"])))


def card_of(row: Row) -> str:
    """GPU and driver of a run; empty without one."""
    return ", ".join(filter(None, (row["gpu_name"], row["driver"] and f"driver {row['driver']}")))


def versions_of(rows: Sequence[Row]) -> Iterator[str]:
    """Python, CUDA, cuDNN and the orchestrator's commit of all runs; those of libraries stand beside their times."""
    names: Mapping[str, str] = {"python": "Python", "cuda": "CUDA", "cudnn": "cuDNN", "commit": "orchestrator"}
    for column, name in names.items():
        found = sorted({str(row[column])[:12] for row in rows if row[column]})
        if found:
            changed = " (changed since)" if column == "commit" and any(row["dirty"] for row in rows) else ""
            yield f"{name} {', '.join(found)}{changed}"
