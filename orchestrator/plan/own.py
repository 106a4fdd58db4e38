"""An installation that is not ours → cells: which of our scripts fit what is installed, and what is in the way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.cell.cell import OWN, Cell
from orchestrator.cell.scripts import script_of
from orchestrator.images.definitions import library_index
from orchestrator.images.installation import Facts, Installation, Installed, numbers, told_of
from orchestrator.plan.keys import key
from orchestrator.plan.verdicts import Planned, Verdict, data_reason, parallel_reason, precision_reason
from orchestrator.results.paths import ResultsFolder
from orchestrator.system import gpus
from orchestrator.system.gpus import Version
from orchestrator.system.host import Host


@dataclass(frozen=True)
class Line:
    """A library's scripts, and the versions that they run on: from ``since`` on, before ``before``.

    ``module`` is imported and asked; ``package`` is the one whose version counts, if another. ``lacks`` says
    what an older version lacks; ``also`` are further packages that the scripts import, with the oldest that will do
    and what came with it.
    """

    library: str
    module: str
    since: Version
    before: Version = ()
    package: str = ""
    lacks: str = ""
    also: Mapping[str, tuple[Version, str]] = field(default_factory=dict)


FLAX = {"flax": ((0, 12), "nnx.List, and optimisers that are given the model"), "optax": ((0, 2), "")}
KERAS_3 = {"keras": ((3,), "Keras 3's optimisers")}

LINES: Sequence[Line] = (
    Line("pytorch", "torch", (2, 3), lacks="torch.amp.GradScaler for every device"),
    Line("pytorch-2018", "torch", (0, 4), (2, 3)),
    Line("caffe2", "caffe2", (1,), package="torch"),
    Line("tensorflow", "tensorflow", (2, 16), lacks="Keras 3", also=KERAS_3),
    Line("tensorflow-2018", "tensorflow", (1, 4), (2,), lacks="the layers of tf.layers"),
    Line("jax", "jax", (0, 4, 30), lacks="what Flax 0.12 needs", also=FLAX),
    Line("keras-tf", "tensorflow", (3,), package="keras", lacks="several backends"),
    Line("keras-torch", "torch", (3,), package="keras", lacks="several backends"),
    Line("keras-jax", "jax", (3,), package="keras", lacks="several backends"),
    Line("keras-tf-2018", "tensorflow", (2,), (2, 4), package="keras"),
    Line("keras-theano", "theano", (2,), (2, 4), package="keras"),
    Line("keras-cntk", "cntk", (2,), (2, 4), package="keras"),
    Line("chainer", "chainer", (5,)),
    Line("chainer-2018", "chainer", (4,), (5,)),
    Line("mxnet", "mxnet", (1, 6)),
    Line("gluon", "mxnet", (1, 6)),
    Line("mxnet-2018", "mxnet", (1, 2), (1, 6)),
    Line("gluon-2018", "mxnet", (1, 2), (1, 6)),
    Line("paddle", "paddle", (3,)),
    Line("cntk", "cntk", (2,)),
    Line("lasagne", "theano", (0, 1), package="lasagne"),
)
"""docs/verify.md lists the versions seen to run; the others are taken from release notes."""

NEWER: Mapping[tuple[str, str], tuple[str, Version, str]] = {
    ("jax", "densenet121"): ("flax", (0, 12, 4), "two views of one model"),
}
"""Scripts that need more than the others of their library: a package, the oldest that will do, what came with it."""

DISTRIBUTIONS: Mapping[str, Sequence[str]] = {
    "keras": ("keras", "keras-nightly"),
    "torch": ("torch",),
    "lasagne": ("lasagne",),
    "flax": ("flax",),
    "optax": ("optax",),
}
"""Distribution names of packages whose version is not asked of an imported module."""

MODULES = tuple(dict.fromkeys(line.module for line in LINES))


@dataclass(frozen=True)
class Found:
    """A line whose module is there: what can be measured of it, or the ``reason`` why not."""

    line: Line
    facts: Facts
    version: str = ""
    reason: str = ""


def found_in(installed: Installed, facts: Mapping[str, Facts]) -> list[Found]:
    """The libraries of an installation, one entry each: the line that fits its version, or why none does."""
    found: list[Found] = []
    for group in by_question(LINES):
        there = [line for line in group if line.module in facts and is_there(line, installed)]
        if there:
            entries = [looked_at(line, installed, facts[line.module]) for line in there]
            found.append(next((entry for entry in entries if not entry.reason), entries[0]))
    return found


def by_question(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines of one library together, today's before that of 2018."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.library.removesuffix("-2018"), []).append(line)
    return list(groups.values())


def is_there(line: Line, installed: Installed) -> bool:
    """Whether a line's module is installed, and the package whose version counts."""
    return line.module in installed.modules and (not line.package or line.package in installed.modules)


def looked_at(line: Line, installed: Installed, facts: Facts) -> Found:
    """Check a line against an installation; the result has a reason if it does not fit."""
    if facts.error:
        return Found(line, facts, reason=f"{line.module} can't be imported: {facts.error}")
    name = line.package or line.module
    version = (package_version(name, installed) if line.package else facts.version) or ""
    if "numpy" not in installed.modules:
        return Found(line, facts, version, "NumPy, which the scripts need, is not installed")
    return Found(line, facts, version, misfit(line, name, numbers(version), installed))


def misfit(line: Line, name: str, version: Version, installed: Installed) -> str:
    """Why a line's scripts don't run on a version; empty if they do."""
    if not version:
        return f"{name} does not report its version"
    if version < line.since:
        lacks = f": it lacks {line.lacks}" if line.lacks else ""
        return f"{name} {gpus.text(version)} is older than {gpus.text(line.since)}{lacks}"
    if line.before and version >= line.before:
        return f"{name} {gpus.text(version)} is too new for the scripts of 2018"
    for package, (oldest, brought) in line.also.items():
        there = numbers(package_version(package, installed) or "")
        if not there:
            return f"{package}, which the scripts import, is not installed"
        if there < oldest:
            since = f", which brought {brought}" if brought else ""
            return f"{package} {gpus.text(there)} is older than {gpus.text(oldest)}{since}"
    return ""


def package_version(package: str, installed: Installed) -> str | None:
    """The version of a package by any of the names that it is installed by."""
    names = (*DISTRIBUTIONS.get(package, (package,)), f"conda:{package}")
    return next((installed.packages[name] for name in names if name in installed.packages), None)


# --- Cells ----------------------------------------------------------------------------------------------------------
def own_cells(every: Sequence[Cell], found: Sequence[Found], host: Host, cpu: bool = False) -> list[Cell]:
    """Return the matrix's cells for such an installation: on the GPUs that it can use, else on the CPU.

    With ``cpu`` they are always on the CPU.
    """
    usable_of = {entry.line.library: models_of(entry.facts, host) for entry in found if not entry.reason}
    models = {library: () if cpu else usable for library, usable in usable_of.items()}
    cells = []
    for cell in every:
        if cell.library not in models:
            continue
        usable = models[cell.library]
        if (cell.gpu in usable) if usable else (cell.platform == "cpu"):
            cells.append(replace(cell, platform=OWN))
    return list(dict.fromkeys(cells))


def models_of(facts: Facts, host: Host) -> tuple[str, ...]:
    """Return the GPU models that an installation can use on a machine; imagined ones don't count."""
    return host.models if facts.cuda and facts.cards and not host.imagined else ()


def planned(
    cells: Sequence[Cell],
    found: Sequence[Found],
    installed: Installed,
    label: str,
    engine: str,
    results: Path,
    host: Host,
) -> list[Planned]:
    """A verdict for every cell of an installation, in order; ``engine`` is the name of the one that will run them."""
    entries = {entry.line.library: entry for entry in found}
    index, folder = library_index(), ResultsFolder(results)
    verdicts = []
    for cell in cells:
        entry = entries[cell.library]
        reason = cell_reason(cell, host) or script_misfit(cell, installed)
        if reason:
            verdicts.append(Planned(cell, Verdict.INCOMPATIBLE, reason))
            continue
        told = told_of(installed, entry.facts, len(host.devices))
        image = Installation(index[cell.library], OWN, label, told)
        name = key(cell, image, engine)
        done = folder.result(name, cell.id).is_file()
        verdicts.append(Planned(cell, Verdict.DONE if done else Verdict.READY, "", image, name))
    return verdicts


def cell_reason(cell: Cell, host: Host) -> str:
    """Why a cell can't run in an installation; empty if it can."""
    there = host.most_together(cell.gpu)
    if cell.gpu != "none" and there < cell.n_gpus:
        return f"{there} × {gpus.title_of(cell.gpu)} on this machine, but {cell.n_gpus} are needed"
    capability = host.capability_of(cell.gpu)
    lacks_precision = gpus.precision_reason(cell.gpu, capability, cell.precision) if capability else None
    if not script_of(cell.library, cell.workload, cell.variant).is_file():
        return f"not implemented yet: no script of {cell.library} for {cell.workload}"
    return (
        precision_reason(cell.library, cell.precision)
        or lacks_precision
        or (f"{cell.precision} is measured on GPUs only" if cell.gpu == "none" and cell.precision != "fp32" else "")
        or (parallel_reason(cell.workload) if cell.n_gpus > 1 else "")
        or data_reason(cell)
        or ""
    )


def script_misfit(cell: Cell, installed: Installed) -> str:
    """Return what one script of a library lacks that the others don't need; empty if nothing."""
    package, oldest, brought = NEWER.get((cell.library, cell.workload), ("", (), ""))
    there = numbers(package_version(package, installed) or "") if package else ()
    old = bool(package) and there < oldest
    return f"{package} {gpus.text(there)} is older than {gpus.text(oldest)}, which brought {brought}" if old else ""
