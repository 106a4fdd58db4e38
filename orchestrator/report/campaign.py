"""What a campaign would do and how long it would take, and the page that it ends with."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.cell.cell import DEFAULTS
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.report import markdown, parity
from orchestrator.report.costs import COSTS
from orchestrator.report.doctor import Finding
from orchestrator.report.grids import Costs
from orchestrator.report.markdown import escaped
from orchestrator.report.tables import tables
from orchestrator.system import gpus
from orchestrator.system.terminal import plain
from orchestrator.system.words import counted

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 300
"""Most characters of a reason."""

Estimate = Callable[[Planned], tuple[float, str]]
"""Returns the estimated seconds for a cell, and the estimate's source."""


@dataclass
class Told:
    """What became of a step: how many cells ended how, how long it took, and what to say of it."""

    name: str
    says: str
    done: int = 0
    bad: int = 0
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)
    left_out: str = ""


@dataclass(frozen=True)
class Page:
    """All that the page says; ``opponents`` and ``audit`` are lines as they were printed."""

    machine: Sequence[str]
    program: str
    command: str
    steps: Sequence[Told]
    findings: Sequence[Finding]
    opponents: str
    audit: Sequence[str]
    file: str
    impossible: Mapping[str, Sequence[str]]


def minutes(seconds: float) -> str:
    """Format a duration for planning: "40 s", "12 min", "1 h 05 min"."""
    if seconds == float("inf"):
        return "no limit"
    if seconds < 90:
        return f"{seconds:.0f} s"
    whole = round(seconds / 60)
    return f"{whole} min" if whole < 60 else f"{whole // 60} h {whole % 60:02} min"


def named(planned: Iterable[Planned]) -> str:
    """Cells in a sentence: "cnn: jax, pytorch; cnn tf32 seeds 1, 2: jax"; with the card if there are several."""
    seeds: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    cells = [one.cell for one in planned]
    several = len({cell.gpu for cell in cells}) > 1
    for cell in cells:
        card = gpus.title_of(cell.gpu) if several else ""
        many = f"{cell.n_gpus} GPUs" if cell.n_gpus > 1 else ""
        precision = cell.precision if cell.precision != DEFAULTS["precision"] else ""
        seeds[cell.workload, " ".join(filter(None, [card, precision, many]))][cell.library].append(cell.repeat)
    groups: dict[str, list[str]] = defaultdict(list)
    for (workload, form), libraries in seeds.items():
        for library, numbers in libraries.items():
            said = "" if numbers == [0] else f"seed{'s'[: len(numbers) > 1]} {', '.join(map(str, sorted(numbers)))}"
            groups[" ".join(filter(None, [workload, form, said]))].append(library)
    return "; ".join(f"{what}: {', '.join(libraries)}" for what, libraries in groups.items())


def step_lines(chosen: Sequence[Planned], left_out: Sequence[Planned], estimate: Estimate) -> Iterator[str]:
    """The lines below a step: its cells by the source of their estimates, what is done, and what is left out."""
    groups: dict[str, list[Planned]] = defaultdict(list)
    for one in chosen:
        groups["done" if one.verdict is Verdict.DONE else estimate(one)[1]].append(one)
    for source, cells in groups.items():
        yield f"{source if source == 'done' else f'{total(cells, estimate)} ({source})'}: {named(cells)}"
    if left_out:
        yield f"left out for lack of time, {total(left_out, estimate)}: {named(left_out)}"


def total(cells: Iterable[Planned], estimate: Estimate) -> str:
    """Format how long some cells take together."""
    return minutes(sum(estimate(one)[0] for one in cells))


def reasons(impossible: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Why libraries can't run, a line for each reason."""
    for reason, libraries in impossible.items():
        first = next(iter(str(plain(reason)).splitlines()), "")
        yield f"can't run, {first[:LONGEST]}: {', '.join(libraries)}"


def page(content: Page, results: "pa.Table") -> str:
    """The page to send in, as Markdown."""
    blocks = [
        f"# Campaign: {escaped('; '.join(content.machine))}",
        f"Made by `rosetta campaign`, {escaped(content.program)}:\n\n    {content.command}",
        "## What was done",
        steps_table(content.steps),
        *told(content.steps),
        *listed(reasons(content.impossible)),
        "## Times",
        markdown.as_markdown(*tables(results, costs=Costs([COSTS["peak"]]))).strip() or "Nothing was timed.",
        "## Parity",
        parity.markdown(results).strip(),
    ]
    if content.opponents:
        blocks += ["## Against scripts written as in 2018", indented(content.opponents)]
    blocks += ["## The machine", findings_table(content.findings)]
    sound = f"The audit found nothing wrong in {counted(results.num_rows, 'row')}."
    blocks += ["## Audit", "\n".join(f"- {escaped(line)}" for line in content.audit) or sound]
    blocks += [f"The rows are in `{content.file}`. See docs/submit.md for how to submit both."]
    return "\n\n".join(blocks) + "\n"


def steps_table(steps: Sequence[Told]) -> str:
    """A line for each step."""
    lines = ["| step | | cells ok | not ok | took |", "| --- | --- | ---: | ---: | ---: |"]
    for one in steps:
        lines.append(f"| {one.name} | {one.says} | {one.done or ''} | {one.bad or ''} | {minutes(one.seconds)} |")
    return "\n".join(lines)


def told(steps: Sequence[Told]) -> Iterator[str]:
    """Yield the remarks on single steps as one list, if there are any."""
    lines = [f"- {one.name}: {escaped(' '.join(said.split())[:LONGEST])}" for one in steps for said in one.said]
    lines += [f"- {one.name}: left out for lack of time: {escaped(one.left_out)}" for one in steps if one.left_out]
    if lines:
        yield "\n".join(lines)


def listed(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines as one Markdown list, if there are any."""
    if every := [f"- {escaped(line)}" for line in lines]:
        yield "\n".join(every)


def findings_table(findings: Sequence[Finding]) -> str:
    """Return what the doctor found as a Markdown table."""
    lines = ["| | | |", "| --- | --- | --- |"]
    lines += [f"| {one.about} | {one.state} | {escaped(' '.join(one.said.split()))} |" for one in findings]
    return "\n".join(lines)


def indented(text: str) -> str:
    """Indent lines as they were printed, so that Markdown leaves them alone."""
    return "\n".join(f"    {plain(line)}" for line in text.splitlines())


def as_json(
    told_of: Sequence[tuple[str, Sequence[Planned], Sequence[Planned]]], estimate: Estimate
) -> list[Mapping[str, object]]:
    """Each cell of each step with its estimate, for programs."""
    return [
        {
            **{"step": name, "cell": one.cell.id, "seed": one.cell.repeat, "left_out": left_out},
            **{"done": one.verdict is Verdict.DONE},
            **dict(zip(("seconds", "source"), estimate(one), strict=True)),
        }
        for name, chosen, others in told_of
        for left_out, cells in ((False, chosen), (True, others))
        for one in cells
    ]
