"""Results against a baseline, cell by cell: other results, or the figures of 2018; how much slower, and how surely.

All cells of a comparison are judged together: of many that are equal, some look different by chance.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.cell.arithmetic import SHORTEST
from orchestrator.cell.cell import OWN
from orchestrator.cell.contract import Status, own_weights
from orchestrator.cell.workloads import STARTS
from orchestrator.compare import causes, published_2018
from orchestrator.compare.causes import Row
from orchestrator.compare.evidence import adjusted, against_figure, compare, drift, ratio_interval, rounds_for
from orchestrator.compare.noise import CONFIDENCE, ENOUGH, agree, median, slowed_by, was_loaded
from orchestrator.system.words import counted, part_of

if TYPE_CHECKING:
    import pyarrow as pa

Question = tuple[Any, ...]
"""Which cell, on how many GPUs, which data and how much of it, from which start: what must be the same to compare."""


class Verdict(StrEnum):
    """What came of a comparison."""

    FAST = "as fast"
    FASTER = "faster"
    SLOWER = "slower"
    UNSURE = "can't tell"
    FAILED = "failed"
    NONE = "not compared"


BAD = (Verdict.SLOWER, Verdict.FAILED)
"""The verdicts that make a check fail."""


@dataclass(frozen=True)
class Baseline:
    """What a cell is compared with: times in seconds, their source, and a row or what is known of one.

    ``published``: there is this one time, and there will never be more. ``disturbed`` says what slowed its runs down,
    and ``undisturbed`` has the times of those that nothing did.
    """

    seconds: Sequence[float]
    source: str
    row: Row
    doubt: str = ""
    disturbed: str = ""
    undisturbed: Sequence[float] = ()
    published: bool = False


@dataclass(frozen=True)
class Compared:
    """A cell and how it compares; times are medians in seconds, ``ratio`` is ours over the baseline's.

    ``interval`` and ``p`` are None where there are not rounds enough; ``p_of_all`` is ``p`` as it counts among all
    cells that were compared. ``reasons`` say what may have made the difference, or why it can't be told. ``length`` is
    empty unless the same cell was run at several.
    """

    cell: str
    n_gpus: int
    data: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    source: str = ""
    seconds: float | None = None
    rounds: int = 0
    baseline: float | None = None
    baseline_rounds: int = 0
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_of_all: float | None = None
    length: str = ""

    def as_json(self) -> dict[str, Any]:
        """The form of ``--json``."""
        return asdict(self)


Finder = Callable[[Question, Sequence[Row]], Baseline | str]
"""Gives the baseline of some rounds, or why there is none."""


def verify(results: "pa.Table", find: Finder, tolerance: float) -> list[Compared]:
    """Every cell of some results against its baseline.

    Slower is what takes more than 1 + ``tolerance`` times as long, and surely: not by chance alone, nor because times
    drift. As fast is what surely takes no longer than that.
    """
    groups = sorted(grouped(results).items())
    measured = [(rows, find(question, rows)) for question, rows in groups]
    lengths = lengths_of([question for question, _ in groups])
    every = [
        replace(compared(question, *pair), length=lengths[question])
        for (question, _), pair in zip(groups, measured, strict=True)
    ]
    tested = [place for place, one in enumerate(every) if one.p is not None]
    for place, p in zip(tested, adjusted([every[place].p or 0.0 for place in tested]), strict=True):
        every[place] = replace(every[place], p_of_all=p)
    return [
        judged(one, *pair, tolerance, len(tested)) if one.ratio is not None else one
        for one, pair in zip(every, measured, strict=True)
    ]


def grouped(results: "pa.Table") -> dict[Question, list[Row]]:
    """Return the rounds of each question, each with its newest run; without what could not run or was not timed."""
    newest: dict[Question, Row] = {}
    # Without the column itself: to make a time of it, Arrow would import pandas, for half a second.
    for row in results.sort_by("started").drop_columns("started").to_pylist():
        own = own_weights(row["pretrained"])
        if row["status"] != Status.INCOMPATIBLE and row["parity"] is None and not own:
            newest.pop((*question_of(row), row["repeat"]), None)  # so that all stand in the order in which they ran
            newest[(*question_of(row), row["repeat"])] = row
    groups = defaultdict(list)
    for (*question, _), row in newest.items():
        groups[tuple(question)].append(row)
    return dict(groups)


def question_of(row: Row) -> Question:
    """Return the question of a row; a GPU run that failed before counting its GPUs is taken to have had one."""
    n_gpus = row["n_gpus"] if row["n_gpus"] is not None else int(row["gpu"] != "none")
    installation = f" ({row['image']})" if row["platform"] == OWN else ""
    length = row["epochs"] or 0, row["samples"] or 0
    return f"{row['cell']}{installation}", n_gpus, row["data"], *length, row["start"] or ""


def lengths_of(questions: Sequence[Question]) -> dict[Question, str]:
    """Return how long each cell ran, and from which start; empty for those that ran in one way only."""
    times = Counter(question[:3] for question in questions)
    return {
        question: ", ".join(
            [
                f"{counted(question[3], 'epoch')}, {counted(question[4], 'sample')}",
                *filter(None, [STARTS.get(question[5])]),
            ]
        )
        if times[question[:3]] > 1
        else ""
        for question in questions
    }


def of_any_installation(question: Question) -> Question:
    """Return the question without the name of a user's installation."""
    return question[0].partition(" (")[0], *question[1:]


def of_one_machine(rows: Sequence[Row]) -> list[Row]:
    """Return the rounds that ended ok on the machine that ran last, with its threads: others are no repeats of it.

    What a row of an older harness does not tell may be the same. Others' files may call a row ok that has no time, or
    an impossible one.
    """
    good = [row for row in rows if row["status"] == Status.OK and SHORTEST <= (row["seconds"] or 0) < math.inf]
    told = {name: next((row[name] for row in reversed(good) if row[name] is not None), None) for name in SAME}
    return [row for row in good if agree(row, told, SAME)]


SAME = ("cpu", "cores", "gpu_name", "threads", "input")
"""What rounds of one cell have in common."""


def undisturbed(rows: Sequence[Row]) -> list[float]:
    """Return the times of the rounds beside which nothing else ran."""
    return [row["seconds"] for row in rows if not busy([row])]


def compared(question: Question, rows: Sequence[Row], found: Baseline | str) -> Compared:
    """Compare one cell's rounds with its baseline, not judged yet; or say why they are not compared."""
    cell, n_gpus, data, *_ = question
    good = of_one_machine(rows)
    failures = failed(rows)
    if not good:
        return Compared(cell, n_gpus, data, Verdict.FAILED, (failures or UNTIMED,))
    if isinstance(found, str):
        if failures:
            return Compared(cell, n_gpus, data, Verdict.FAILED, (failures, found))
        return Compared(cell, n_gpus, data, Verdict.NONE, (found, *causes.of_cores(good)))
    ours = [row["seconds"] for row in good]
    p, interval = tested(ours, found)
    return Compared(
        cell,
        n_gpus,
        data,
        Verdict.UNSURE,
        source=found.source,
        seconds=median(ours),
        rounds=len(ours),
        baseline=median(found.seconds),
        baseline_rounds=len(found.seconds),
        ratio=median(ours) / median(found.seconds),
        interval=interval,
        p=p,
    )


def failed(rows: Sequence[Row]) -> str:
    """Return how many of some rounds failed, and what the last of them said; empty if all ended ok."""
    bad = [row for row in rows if row["status"] != Status.OK]
    if not bad:
        return ""
    last = max(bad, key=lambda row: row["repeat"])
    said = f"{last['status']}: {next(iter(last['reason'].splitlines()), '')}".removesuffix(": ")
    return said if len(rows) == 1 else f"{part_of(len(bad), len(rows), 'round')} failed: {said}"


def tested(ours: Sequence[float], found: Baseline) -> tuple[float | None, tuple[float, float] | None]:
    """Return p and the interval of the ratio; None for both if there are too few rounds."""
    if len(ours) >= ENOUGH and found.published:
        return against_figure(ours, found.seconds[0])
    if min(len(ours), len(found.seconds)) < ENOUGH:
        return None, None
    return compare(ours, found.seconds).p, ratio_interval(ours, found.seconds)


def judged(one: Compared, rows: Sequence[Row], found: Baseline | str, tolerance: float, comparisons: int) -> Compared:
    """Return a comparison with its verdict, as one of so many comparisons, and the possible reasons."""
    assert not isinstance(found, str)
    good = of_one_machine(rows)
    series = [[row["seconds"] for row in good], found.seconds]
    change = None if found.published else drift(series, (one.ratio or 1) - 1)
    failures = failed(rows)
    verdict = verdict_of(one, tolerance) if change is None else despite(change, one, tolerance)
    doubts = list(missing_evidence(one, found, change, comparisons)) if verdict is Verdict.UNSURE else []
    why = explained(verdict, busy(good), found.disturbed)
    if why and verdict is not without_the_disturbed(one, good, found, tolerance, comparisons):
        verdict, doubts = Verdict.UNSURE, [why]
    verdict = Verdict.FAILED if failures else verdict
    doubts = doubts if verdict is Verdict.UNSURE else []
    if found.doubt:
        doubts.insert(0, f"the baseline is doubtful: {found.doubt}")
    if failures:
        doubts.insert(0, failures)
    suspected = causes.reasons(good, found.row) if verdict is not Verdict.FAST else causes.of_cores(good)
    if others := sum(row["status"] == Status.OK for row in rows) - len(good):
        doubts.append(f"{counted(others, 'round')} left out: on another machine, or with other threads")
    return replace(one, verdict=verdict, reasons=(*doubts, *suspected))


def busy(rows: Sequence[Row]) -> str:
    """Return what else ran beside some rounds; empty if nothing did. It makes them slower, never faster."""
    if any(was_loaded(row) for row in rows):
        return "the machine was busy"
    return "other programs were on the GPU" if any(row.get("gpu_others") for row in rows) else ""


def explained(verdict: Verdict, here: str, there: str) -> str:
    """Return why a verdict does not count: we are slower beside something else, or as fast as what was held up."""
    if verdict is Verdict.SLOWER and here:
        return f"{here}, which alone may make it slower: run it again alone"
    if verdict in (Verdict.FAST, Verdict.FASTER) and there:
        return f"{there} when the baseline was measured, so it may be slower than it should be"
    return ""


def without_the_disturbed(
    one: Compared, good: Sequence[Row], found: Baseline, tolerance: float, comparisons: int
) -> Verdict:
    """Return the verdict if disturbed rounds are left out where they may be its reason: all are slower for it.

    Those are ours if we are slower, else the baseline's.
    """
    slower = (one.ratio or 1) > 1 + tolerance
    ours = undisturbed(good) if slower else [row["seconds"] for row in good]
    theirs = found.seconds if slower else found.undisturbed
    if not ours or not theirs:
        return Verdict.UNSURE
    p, interval = tested(ours, replace(found, seconds=theirs))
    of_all = None if p is None else min(1.0, p * comparisons)
    ratio = median(ours) / median(theirs)
    return verdict_of(replace(one, ratio=ratio, interval=interval, p_of_all=of_all), tolerance)


def verdict_of(one: Compared, tolerance: float) -> Verdict:
    """Slower or faster by more than the tolerance, and by more than chance; as fast if surely not slower than that."""
    assert one.ratio is not None
    if one.interval is None or one.p_of_all is None:
        return Verdict.UNSURE
    if one.p_of_all <= 1 - CONFIDENCE and one.ratio > 1 + tolerance:
        return Verdict.SLOWER
    if one.p_of_all <= 1 - CONFIDENCE and one.ratio < 1 / (1 + tolerance):
        return Verdict.FASTER
    return Verdict.FAST if one.interval[1] <= 1 + tolerance else Verdict.UNSURE


def despite(change: float, one: Compared, tolerance: float) -> Verdict:
    """Return the verdict where times drift by this share per round: UNSURE if the drift may have caused it.

    Drift matters most if one side ran after the other: then it adds up over the rounds of both.
    """
    assert one.ratio is not None
    most = (1 + abs(change)) ** (one.rounds + one.baseline_rounds)
    corrected = (
        replace(
            one,
            ratio=one.ratio * factor,
            interval=one.interval and (one.interval[0] * factor, one.interval[1] * factor),
        )
        for factor in (1 / most, most)
    )
    verdicts = {verdict_of(each, tolerance) for each in corrected}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.UNSURE


def missing_evidence(one: Compared, found: Baseline, change: float | None, comparisons: int) -> Iterator[str]:
    """Yield why a cell can't be judged, and how many rounds that would take."""
    if change is not None:
        yield f"the times drift by {100 * change:+.1f} % per round, which alone makes later runs look different"
    lacking = [(max(0, ENOUGH - one.rounds), "here")]
    if not found.published:
        lacking.append((max(0, ENOUGH - one.baseline_rounds), "of the baseline"))
    said = [f"{number} more {where}" for number, where in lacking if number]
    if said:
        yield f"it takes at least {ENOUGH} rounds to tell: {', '.join(said)}"
    elif change is None:
        least = rounds_for(comparisons)
        few = min(one.rounds, one.rounds if found.published else one.baseline_rounds)
        yield "the rounds are too far apart, or too few" + (
            f": among {comparisons} cells, a single slow one shows only from {least} rounds on" if few < least else ""
        )


UNTIMED = "no round has a possible time"
"""Why a cell has failed whose rounds are all said to have ended ok."""

ABSENT = "not in the baseline"
"""Why a cell is not compared that other results do not have."""


# --- Where baselines come from --------------------------------------------------------------------------------------
def published(question: Question, rows: Sequence[Row]) -> Baseline | str:
    """Return the figure of 2018 for the same library, workload, GPU model and number of GPUs, or why there is none."""
    row = rows[0]
    if any(row["shortened"] for row in rows):
        return "shortened: 2018 has full runs only"
    if row["precision"] != "fp32":
        return f"2018 has no {row['precision']}"
    figure = published_2018.figure_for(
        row["library"], row["variant"], row["workload"], row["gpu"], question[1], row["data"]
    )
    if figure is None:
        return "2018 has no figure for it"
    known = {"cuda": figure.cuda or None, "cudnn": figure.cudnn or None}
    return Baseline([figure.seconds], f"2018, {figure.source}", known, figure.doubt, published=True)


def of_results(results: "pa.Table", source: str) -> Finder:
    """Return the function that finds the rounds of the same cell and length in other results."""
    every = grouped(results)
    groups = {question: of_one_machine(rows) for question, rows in every.items()}
    failures = {question: failed(rows) for question, rows in every.items()}
    lengths = {question[:3] for question, rows in groups.items() if rows}
    starts = {question[:5] for question, rows in groups.items() if rows}

    others: dict[Question, list[Question]] = defaultdict(list)
    for question in groups:
        others[of_any_installation(question)].append(question)

    def find(question: Question, rows: Sequence[Row]) -> Baseline | str:
        same = others[of_any_installation(question)]
        if question not in groups and len(same) > 1:
            return f"of several installations in the baseline: {', '.join(sorted(each[0] for each in same))}"
        place = question if groups.get(question) or len(same) != 1 else same[0]
        theirs = groups.get(place)
        if not theirs:
            if failures.get(place):
                return f"failed in the baseline: {failures[place]}"
            if question[:5] in starts:
                return "started from other weights in the baseline"
            return "of another length in the baseline" if question[:3] in lengths else ABSENT
        if theirs[0]["shortened"] != rows[0]["shortened"]:
            return "shortened on one side only"
        slowed = "its GPUs were slowed down" if any(map(slowed_by, theirs)) else ""
        times = [row["seconds"] for row in theirs]
        held_up = busy(theirs) or slowed
        return Baseline(times, source, theirs[-1], failures[place], held_up, () if slowed else undisturbed(theirs))

    return find


def missing(results: "pa.Table", baseline: "pa.Table") -> list[str]:
    """Return the names of the baseline's cells that the results lack."""
    there, wanted = ({of_any_installation(q)[0] for q in grouped(table)} for table in (results, baseline))
    return sorted(wanted - there)
