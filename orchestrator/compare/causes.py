"""Why a machine may be slower, or faster, than another: rules over what rows say of the surroundings of a run."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.cell.cell import OWN
from orchestrator.cell.workloads import trains
from orchestrator.compare import cores_used, installations
from orchestrator.compare.engines import ran_bare
from orchestrator.compare.noise import NOISY, slowed_by, spread, uses_cores_otherwise, was_loaded

Row = Mapping[str, Any]
Rule = Callable[[Row, Row], str | None]
"""Takes a row of ours and the baseline's, which may say little; returns the suspected cause, if any."""


def differs(column: str, what: str) -> Rule:
    """Return a rule: both sides have a value in the column, and not the same."""

    def rule(ours: Row, theirs: Row) -> str | None:
        a, b = ours.get(column), theirs.get(column)
        return f"{what}: {a}, the baseline {b}" if a and b and str(a) != str(b) else None

    return rule


def older(column: str, what: str) -> Rule:
    """Return a rule: ours is an earlier version."""

    def rule(ours: Row, theirs: Row) -> str | None:
        a, b = ours.get(column), theirs.get(column)
        return f"older {what}: {a}, the baseline {b}" if a and b and numbers(a) < numbers(b) else None

    return rule


def less(column: str, what: str, unit: str = "", share: float = 1.0) -> Rule:
    """Return a rule: ours has less of it than a share of the baseline's."""

    def rule(ours: Row, theirs: Row) -> str | None:
        a, b = fact(ours, column), fact(theirs, column)
        if a is None or b is None or a >= share * b:
            return None
        return f"{what}: {a:,.0f}{unit}, the baseline {b:,.0f}{unit}"

    return rule


def lacks(column: str, what: str) -> Rule:
    """Return a rule: a run on a GPU did not load it."""
    return lambda ours, theirs: what if ours["gpu"] != "none" and not ours.get(column) else None


def throttled(ours: Row, theirs: Row) -> str | None:
    """The driver says that it slowed the GPU down."""
    found = slowed_by(ours)
    return f"the GPU was slowed down: {', '.join(found)}" if found else None


def starting(ours: Row, theirs: Row) -> str | None:
    """The first step took a good part of the time: compilation, a search for algorithms, a cold disk."""
    first, seconds = ours.get("first_step_seconds"), ours["seconds"]
    if first is None or not trains(ours["workload"]) or first < STARTING * seconds:
        return None
    return f"the first step took {first:,.1f} s of {seconds:,.1f} s"


def uneven(ours: Row, theirs: Row) -> str | None:
    """One epoch took much longer than the others: something else ran meanwhile."""
    epochs = sorted(ours.get("epoch_seconds") or [])
    if len(epochs) < 3 or epochs[-1] < UNEVEN * epochs[len(epochs) // 2]:
        return None
    return f"epochs took {epochs[0]:,.1f} to {epochs[-1]:,.1f} s: something else ran meanwhile"


def loaded(ours: Row, theirs: Row) -> str | None:
    """The machine had more to do than it could."""
    if not was_loaded(ours):
        return None
    loads = [ours.get("load_before"), ours.get("load_after")]
    before, after = ("?" if load is None else f"{load:.1f}" for load in loads)
    return f"the machine was busy: a load per core of {before} before the run and {after} after it"


def other_cores(ours: Row, theirs: Row) -> str | None:
    """It used its cores differently than its library does on a quiet machine, or started more threads than cores."""
    if not uses_cores_otherwise(ours):
        return None
    low, high = cores_used.band(ours) or (0.0, 0.0)
    used = f"{100 * ours['cpu_used']:.0f} % of its {ours['cores']} cores with {ours['threads']} threads"
    return f"it used {used}; {100 * low:.0f} to {100 * min(high, 1):.0f} % is usual"


def in_kernel(ours: Row, theirs: Row) -> str | None:
    """The kernel took a good part of its processor time: most often it clears memory that was freed and is got anew."""
    share = ours.get("cpu_in_kernel")
    if share is None or share < IN_KERNEL or ours["gpu"] != "none":
        return None
    return (
        f"the kernel took {100 * share:.0f} % of its processor time, often to clear memory that was freed and is got"
        " again: see 'Memory that comes and goes' in docs/lessons.md"
    )


def uncontained(ours: Row, theirs: Row) -> str | None:
    """It ran without a container; a user's installation is meant to, and not reported."""
    if ours.get("platform") == OWN:
        return None
    return "run without a container, with this machine's own libraries" if ran_bare(ours) else None


def recipe(ours: Row, theirs: Row) -> str | None:
    """The image has another recipe; a user's installation always has, and is not reported."""
    return None if ours.get("platform") == OWN else differs("recipe", "another recipe of the image")(ours, theirs)


STARTING = 0.2
"""Share of the whole time from which a first step is worth mentioning."""

IN_KERNEL = 0.25
"""The kernel's share of the processor time from which it is worth mentioning; a library that computes needs a tenth."""

UNEVEN = 1.5
"""The longest epoch's time as a multiple of the median, from which epochs count as uneven."""

RULES: Sequence[Rule] = (
    throttled,
    lacks("cudnn", "no cuDNN was loaded"),
    *installations.RULES,
    differs("gpu_name", "another model of the card"),
    less("graphics_clock", "lower clock of the GPU", " MHz", 0.95),
    less("memory_clock", "lower clock of the GPU's memory", " MHz", 0.95),
    less("power_limit", "lower power limit", " W", 0.98),
    differs("cpu", "another CPU"),
    less("cores", "fewer cores"),
    differs("threads", "another number of threads"),
    differs("input", "the data set lay elsewhere"),
    less("memory", "less memory", " bytes", 0.9),
    loaded,
    other_cores,
    in_kernel,
    uneven,
    starting,
    uncontained,
    older("driver", "driver"),
    older("cuda", "CUDA"),
    older("cudnn", "cuDNN"),
    differs("framework_version", "another version of the library"),
    recipe,
    differs("kernel", "another kernel"),
)
"""The likeliest first."""


def reasons(rows: Sequence[Row], baseline: Row) -> Iterator[str]:
    """Yield the causes that the rules suspect for some rounds, each once."""
    said = [found for rule in RULES for row in rows if (found := rule(row, baseline)) is not None]
    yield from dict.fromkeys(said)
    apart = spread([row["seconds"] for row in rows])
    if apart is not None and apart > NOISY:
        yield f"the rounds are {100 * apart:.0f} % apart: the machine was not quiet"


def of_cores(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is reported whatever the verdict: that the cores were not used as usual, or for the kernel's work."""
    rules = (other_cores, in_kernel)
    yield from dict.fromkeys(said for rule in rules for row in rows if (said := rule(row, {})) is not None)


def fact(row: Row, name: str) -> float | None:
    """Return a number of a row, else the lowest in its GPUs' states after the run; None if there is none."""
    if name in row:
        return None if row[name] is None else float(row[name])
    try:
        states = json.loads(row.get("gpus_after") or "[]")
        return min((float(state[name]) for state in states if state.get(name) is not None), default=None)
    except (ValueError, TypeError, AttributeError, RecursionError):  # a file of others may hold anything
        return None


def numbers(version: str) -> tuple[int, ...]:
    """A version to compare by: "580.65.06" → (580, 65, 6); a row of others may have any number of digits."""
    return tuple(map(int, re.findall(r"\d{1,18}", version)))
