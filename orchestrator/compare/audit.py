"""The audit of others' rows before publication: contradictions, missing proof, and times that no machine can reach."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.cell import quality
from orchestrator.cell.arithmetic import same
from orchestrator.cell.cell import AXES, OWN, Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import trains
from orchestrator.compare import installations
from orchestrator.compare.limits import least_seconds
from orchestrator.system import gpus
from orchestrator.system.words import counted

Row = Mapping[str, Any]
Rule = Callable[[Row], str | None]

CLOCKS = 0.05
"""Seconds by which two clocks of one run may differ, in addition to a thousandth."""

PRETENDED = "pretended"
"""What stands for a driver in the rows of a pretended card."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a row, which is named by its cell and its run; both are empty for what can't be read."""

    cell: str
    run: str
    what: str


def audit(rows: Sequence[Row]) -> list[Finding]:
    """Return everything that is wrong with some rows, in their order; rows that did not end ok claim nothing."""
    found = [Finding(row["cell"], row["run"], what) for row in rows for what in findings(row)]
    return [*found, *copies(rows)]


def findings(row: Row) -> Iterator[str]:
    """Yield what is wrong with one row."""
    rules = RULES if row["parity"] is None and row["status"] == Status.OK else ALWAYS
    for rule in rules:
        try:
            what = rule(row)
        except (TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError):
            what = f"{rule.__name__.replace('_', ' ')}: a value is missing or invalid"
        if what:
            yield what


def copies(rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield the rows whose time and losses are those of another run to the last digit; without losses, both times."""
    seen: dict[tuple[Any, ...], str] = {}
    for row in rows:
        losses = tuple(row["epoch_losses"] or ())
        others = losses or tuple(filter(None, [row["wall_seconds"]]))
        if row["status"] == Status.OK and row["seconds"] and others:
            first = seen.setdefault((row["seconds"], *others), row["run"])
            if first != row["run"]:
                what = "time and losses are those" if losses else "both times are those"
                yield Finding(row["cell"], row["run"], f"{what} of run {first}")


# --- What contradicts itself ----------------------------------------------------------------------------------------
def named_by_its_axes(row: Row) -> str | None:
    """The cell's id agrees with the other columns."""
    cell = Cell(**{**{axis: row[axis] for axis in AXES}, "n_gpus": row["workers"] or row["n_gpus"] or 1})
    return None if cell.id == row["cell"] else f"it is named {row['cell']}, but its columns say {cell.id}"


def of_a_known_workload(row: Row) -> str | None:
    """The workload is one of ours, and its quality is told in its metric: else no limit and no band applies."""
    metric = parameters().get(row["workload"], {}).get("metric")
    if metric is None:
        return f"there is no workload {row['workload']}"
    return None if row["metric"] == metric else f"its quality is told as {row['metric']}, not as {metric}"


def platform_and_card(row: Row) -> str | None:
    """A CPU's row has no GPU; a GPU's row has a driver's name that fits the model."""
    if row["platform"] != OWN and (row["platform"] == "cpu") != (row["gpu"] == "none"):
        return f"the platform {row['platform']} with the GPU {row['gpu']}"
    if row["gpu"] == "none":
        return "a CPU's row names a card" if row["n_gpus"] else None
    if not row["gpu_name"] or not gpus.is_named(row["gpu"], row["gpu_name"]):
        return f"the card is {row['gpu_name']}, not a {row['gpu']}"
    if not row["n_gpus"]:
        return "a GPU's row used no card"
    workers = row["workers"] or row["n_gpus"]
    return None if workers == row["n_gpus"] else f"{counted(row['n_gpus'], 'card')}, but {counted(workers, 'worker')}"


def real_card(row: Row) -> str | None:
    """A card that was only pretended can't be measured."""
    return "its card is pretended" if row["driver"] == PRETENDED else None


def driver_and_cuda(row: Row) -> str | None:
    """No driver runs a CUDA that is newer than itself."""
    if row["platform"] not in gpus.CUDA or row["driver"] == PRETENDED:
        return None
    if not row["driver"]:
        return "a GPU's row names no driver"
    oldest = gpus.CUDA[row["platform"]].oldest_driver
    old = gpus.version_of(row["driver"]) < oldest
    needed = gpus.driver_text(oldest)
    return f"driver {row['driver']} can't run {row['platform']}, which needs {needed}" if old else None


def cuda_and_platform(row: Row) -> str | None:
    """The library was built with the platform's CUDA; some tell it as 13.0, others as 13000."""
    told = re.match(r"\d+", row["cuda"] or "")
    if row["platform"] not in gpus.CUDA or not told:
        return None
    number = int(told[0])
    right = (number // 1000 or number) == gpus.CUDA[row["platform"]].version[0]
    return None if right else f"the platform {row['platform']} with CUDA {row['cuda']}"


def capability_of_the_card(row: Row) -> str | None:
    """The card is as capable as its model is, and not older than all that its CUDA version has machine code for."""
    known, toolkit = gpus.KNOWN.get(row["gpu"]), gpus.CUDA.get(row["platform"])
    told = gpus.version_of(row["capability"]) if row["capability"] else known
    if known and told != known:
        return f"a {gpus.title_of(row['gpu'])} of capability {row['capability']}, which is {gpus.text(known)}"
    old = told and toolkit and int("".join(map(str, told))) < min(map(int, toolkit.architectures))
    return f"{row['platform']} has no machine code for a {gpus.title_of(row['gpu'])}" if old else None


def precision_of_the_card(row: Row) -> str | None:
    """A card computes in the precisions that it has, a CPU in fp32; and the library tells of no other one."""
    capability = gpus.KNOWN.get(row["gpu"])
    if row["precision"] not in gpus.PRECISIONS:
        return f"{row['precision']} is not a precision"
    if row["effective_precision"] not in (None, row["precision"]):
        return f"it was measured in {row['effective_precision']}, not in {row['precision']}"
    if row["gpu"] == "none" and row["precision"] != "fp32":
        return f"a CPU's row in {row['precision']}"
    return gpus.precision_reason(row["gpu"], capability, row["precision"]) if capability else None


def times_are_times(row: Row) -> str | None:
    """Seconds are positive and finite."""
    every = [row["seconds"], *row["epoch_seconds"]]
    return None if all(0 < value < math.inf for value in every) else "a time is not positive or not finite"


def an_entry_per_epoch(row: Row) -> str | None:
    """As many times, losses and qualities as epochs, and the last quality is the row's."""
    if len(row["epoch_seconds"]) != row["epochs"]:
        return f"{len(row['epoch_seconds'])} epochs were timed, but {row['epochs']} ran"
    if trains(row["workload"]) and len(row["epoch_losses"]) != row["epochs"]:
        return f"{len(row['epoch_losses'])} losses for {row['epochs']} epochs"
    qualities = row["epoch_qualities"]
    if qualities is not None and len(qualities) != row["epochs"]:
        return f"{len(qualities)} qualities for {row['epochs']} epochs"
    if qualities and not same(qualities[-1], row["quality"]):
        return f"a quality of {row['quality']}, but {qualities[-1]} after the last epoch"
    return None


def epochs_make_the_time(row: Row) -> str | None:
    """The time is that of epochs, upload and ahead-of-time compilation; for predictions, that of 1,000 images."""
    told = sum(row["epoch_seconds"])
    if not trains(row["workload"]):
        least = most = told * 1000 / row["samples"]
    else:
        least = told + (row["upload_seconds"] or 0.0)
        most = least + (row["compile_seconds"] or 0.0)  # a part of the upload or of an epoch, or ahead of them
    right = least < row["seconds"] < most or same(row["seconds"], least) or same(row["seconds"], most)
    return None if right else f"{row['seconds']:,.3f} s, but its epochs add up to {least:,.3f} s"


def losses_are_losses(row: Row) -> str | None:
    """Cross-entropies are neither negative nor infinite."""
    good = all(0 <= loss < math.inf for loss in row["epoch_losses"] or ())
    return None if good else "a loss is negative or not finite"


def steps_make_the_samples(row: Row) -> str | None:
    """Complete batches only, all of them in each epoch."""
    known = parameters().get(row["workload"], {})
    batch = known.get("batch_size")
    if not batch or known.get("parallel"):
        return None
    if row["samples"] % batch or row["steps"] * batch != row["samples"] * row["epochs"]:
        return f"{row['steps']:,} steps of {batch} are not {row['epochs']} epochs of {row['samples']:,} samples"
    return None


def no_more_than_there_is(row: Row) -> str | None:
    """No more real samples than the data set has."""
    _, most = quality.published(row["workload"], row["workers"] or 1)
    more = row["data"] == "real" and trains(row["workload"]) and most is not None and row["samples"] > most
    return f"{row['samples']:,} samples of a set that has {most:,}" if more else None


def length_as_told(row: Row) -> str | None:
    """A shortened run says so."""
    shorter = quality.is_shorter(row["workload"], (row["epochs"], row["samples"]), row["workers"] or 1)
    return (
        "it is shorter than the published run, but not marked as shortened"
        if shorter and not row["shortened"]
        else None
    )


def quality_is_a_share(row: Row) -> str | None:
    """Quality lies between 0 and 1, and is a whole number of samples if the metric counts them."""
    if not 0 <= row["quality"] <= 1:
        return f"a quality of {row['quality']}"
    right = row["quality"] * row["samples_tested"]
    counted = row["metric"] in ("accuracy", "agreement")
    whole = abs(right - round(right)) < 1e-3
    return f"{right:,.3f} of {row['samples_tested']:,} right" if counted and not whole else None


def quality_in_its_band(row: Row) -> str | None:
    """A full run that is called ok is as good as it must be."""
    band = quality.band_of(row["workload"], row["data"], row["workers"] or 1)
    if not band or row["epochs"] < band["epochs"] or row["samples"] < band["samples"]:
        return None
    inside = band["low"] <= row["quality"] <= band["high"]
    return (
        None if inside else f"marked ok with {row['metric']} {row['quality']:.3f}, outside {band['low']}–{band['high']}"
    )


def parts_within_the_whole(row: Row) -> str | None:
    """A part takes no longer than the whole of it."""
    timed = sum(row["epoch_seconds"])
    wholes = [("the container's whole life", row["wall_seconds"]), ("training", row["train_seconds"])]
    for name, whole in wholes:
        if whole and timed > whole * 1.001 + CLOCKS:
            return f"its epochs took {timed:,.2f} s, but {name} {whole:,.2f} s"
    first = row["first_step_seconds"]
    return (
        f"its first step took {first:,.2f} s of {timed:,.2f} s"
        if first and first > timed * 1.001 + CLOCKS and trains(row["workload"])
        else None
    )


def memory_of_the_machine(row: Row) -> str | None:
    """Neither a process nor its container holds more than the machine has."""
    held = max(row["peak_memory"] or 0, row["container_memory"] or 0)
    return f"it held {held:,} bytes of {row['memory']:,}" if row["memory"] and held > row["memory"] else None


def cores_of_the_machine(row: Row) -> str | None:
    """A run uses at most the cores that it has; less than twice as many where a quota is rounded down to whole ones."""
    used, kernel = row["cpu_used"], row["cpu_in_kernel"]
    if used is not None and not 0 <= used < 2:
        return f"it used {100 * used:,.0f} % of its cores"
    within = kernel is None or 0 <= kernel <= 1
    return None if within else f"the kernel took {100 * kernel:,.0f} % of its processor time"


# --- What proves nothing, and what no machine can do ----------------------------------------------------------------
def proved(row: Row) -> str | None:
    """On a GPU, or in an installation that is not ours, parity was proved first."""
    if row["gpu"] == "none" and row["platform"] != OWN:
        return None
    return None if (row["proof"] or "").startswith("parity") else "its parity was not proved before it was timed"


def of_a_described_installation(row: Row) -> str | None:
    """A row of an installation that is not ours says what is installed there."""
    return "its installation is unknown" if row["platform"] == OWN and not installations.told(row) else None


def on_a_named_machine(row: Row) -> str | None:
    """A time is worthless if its machine is unknown."""
    return None if row["cpu"] and (row["cores"] or 0) > 0 else "the machine that it ran on is unknown"


def by_a_known_release(row: Row) -> str | None:
    """The row names the version that ran."""
    return None if row["framework_version"] else "the version that ran is unknown"


def faster_than_the_machine(row: Row) -> str | None:
    """No row is faster than its machine's peak rate allows."""
    least = least_seconds(row)
    if least is None or row["seconds"] >= least:
        return None
    hint = "; was it in TF32?" if row["precision"] == "fp32" and row["gpu"] in ("a100", "h100", "h200") else ""
    return f"{row['seconds']:.3g} s, but at its machine's peak rate it takes {least:.3g} s{hint}"


def not_from_tomorrow(row: Row) -> str | None:
    """It did not begin in the future; ``started_us`` and ``now_us`` are in microseconds since 1970."""
    late = row.get("started_us") and row.get("now_us") and row["started_us"] > row["now_us"]
    return "it starts in the future" if late else None


ALWAYS: Sequence[Rule] = (named_by_its_axes, not_from_tomorrow)
RULES: Sequence[Rule] = (
    *ALWAYS,
    of_a_known_workload,
    platform_and_card,
    real_card,
    driver_and_cuda,
    cuda_and_platform,
    capability_of_the_card,
    precision_of_the_card,
    times_are_times,
    an_entry_per_epoch,
    epochs_make_the_time,
    losses_are_losses,
    steps_make_the_samples,
    no_more_than_there_is,
    length_as_told,
    quality_is_a_share,
    quality_in_its_band,
    parts_within_the_whole,
    memory_of_the_machine,
    cores_of_the_machine,
    proved,
    of_a_described_installation,
    on_a_named_machine,
    by_a_known_release,
    faster_than_the_machine,
)
