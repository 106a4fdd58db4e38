"""What was published in 2018: figures, their doubts, and the tables they stood in. Read-only, never mixed with results.

published-2018.csv holds every figure of the README's history and every run that a notebook recorded, each with its
source. Two editions of the README count: that of March, on K80 and P100, and the last one, of June.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from orchestrator.cell.workloads import trains, workloads

FILE = Path(__file__).with_name("published-2018.csv")

LIBRARIES = {
    "caffe2": "Caffe2",
    "chainer": "Chainer",
    "cntk": "CNTK",
    "gluon": "MXNet (Gluon)",
    "keras-cntk": "Keras (CNTK)",
    "keras-tf": "Keras (TF)",
    "keras-theano": "Keras (Theano)",
    "knet": "Julia (Knet)",
    "lasagne": "Lasagne (Theano)",
    "mxnet": "MXNet",
    "mxnet-r": "R (MXNet)",
    "pytorch": "PyTorch",
    "tensorflow": "TensorFlow",
}
"""The thirteen libraries of the published single-GPU tables, by the name they have in matrix.yaml."""

NAMES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("CNTK(fit)", "python"): ("cntk", "highapi"),
    ("Keras(TF)", "r"): ("keras-r", "reference"),
    ("Knet", "julia"): ("knet", "reference"),
    ("MXNet", "r"): ("mxnet-r", "reference"),
    ("MXNet(Module fit)", "python"): ("mxnet", "highapi"),
    ("MXNet(Module)", "python"): ("mxnet", "reference"),
    ("MXNet(Module,TNC)", "python"): ("mxnet", "tnc"),
    ("TensorFlow(Estimator)", "python"): ("tensorflow", "highapi"),
    **{(title.replace(" ", ""), "python"): (name, "reference") for name, title in LIBRARIES.items()},
}
"""Library and variant by what the figures call them; what is not here has no counterpart in the matrix."""

SECONDS: Mapping[tuple[str, str], float] = {
    ("train_time", "s"): 1,
    ("train_val_time", "s"): 1,
    ("train_time", "min"): 60,
    ("train_val_time", "min"): 60,
    ("time_per_1000_images", "s"): 1,
    ("time_1280_images", "s"): 1000 / 1280,
    ("time_256_images", "s"): 1000 / 256,
}
"""The factor that turns a value into seconds, per 1,000 images if images are counted, by metric and unit."""

AUC = "test_auc_macro14"
"""The metric whose rows hold DenseNet's quality; its times have rows of their own."""

RACING = ("keras-tf",)
"""Libraries whose training of 2018 could write a weight while a gradient still read it: see docs/lessons.md."""

SOURCE = re.compile(r"README\.md@(?P<first>\w+) \((?:last (?P<last>\w+)|still in HEAD \w+)(?:; (?P<remark>.*))?\)")


@dataclass(frozen=True)
class Figure:
    """A time of 2018.

    ``shown`` as it was printed; ``seconds`` of the run behind it where one is recorded that rounds to it, else the same
    number; per 1,000 images for ResNet-50. ``quality`` is that run's, None where nobody noted it. ``gpu`` is a word of
    matrix.yaml, ``doubt`` what speaks against the figure, empty as a rule. ``first`` and ``last`` are the README's
    commits between which it stood there, empty for a run; ``last`` is HEAD if nothing replaced it.
    """

    library: str
    variant: str
    workload: str
    gpu: str
    n_gpus: int
    cuda: str
    cudnn: str
    data: str
    shown: str
    seconds: float
    quality: float | None
    cudnn_rnn: str
    doubt: str
    source: str
    first: str = ""
    last: str = ""

    @property
    def question(self) -> tuple[str, str, str, str, int, str]:
        """What the figure answers: two figures of one question are two runs of it."""
        return self.library, self.variant, self.workload, self.gpu, self.n_gpus, self.data


@dataclass(frozen=True)
class Column:
    """A column of a published table; ``gpu`` is a word of matrix.yaml."""

    gpu: str
    n_gpus: int = 1
    data: str = "real"


@dataclass(frozen=True)
class Edition:
    """A README of 2018 and its tables: for each workload the libraries at the left, in their order, and the columns."""

    name: str
    commit: str
    rows: Mapping[str, Sequence[str]]
    columns: Mapping[str, Sequence[Column]]

    def figures(self, workload: str) -> dict[tuple[str, Column], Figure]:
        """Return the figure in each field of a table; unknown ones are missing."""
        return {
            (figure.library, column): figure
            for figure in figures()
            for column in self.columns[workload]
            if figure.workload == workload
            and figure.variant == "reference"
            and (figure.gpu, figure.n_gpus, figure.data) == (column.gpu, column.n_gpus, column.data)
            and stood_in(figure, self)
        }


SINGLE = (Column("k80"), Column("p100"))
CNN = (
    *("caffe2", "chainer", "cntk", "gluon", "keras-cntk", "keras-tf", "keras-theano", "tensorflow", "lasagne"),
    *("mxnet", "pytorch", "knet"),
)
MARCH = Edition(
    "2018-03",
    "be85bc2",
    {
        "cnn": (*CNN, "mxnet-r"),
        "rnn": ("cntk", "keras-cntk", "keras-tf", "mxnet", "pytorch", "tensorflow", "knet", "mxnet-r"),
        "resnet50": (
            *("caffe2", "chainer", "cntk", "keras-cntk", "keras-tf", "tensorflow", "mxnet", "pytorch", "knet"),
            "mxnet-r",
        ),
        "densenet121": ("pytorch", "keras-tf", "tensorflow", "chainer", "mxnet"),
    },
    {
        **dict.fromkeys(("cnn", "rnn", "resnet50"), SINGLE),
        "densenet121": (Column("p100"), Column("p100", 2), Column("p100", 4), Column("p100", 4, "synthetic")),
    },
)
JUNE = Edition(
    "2018-06",
    "671e2a0",
    {
        "cnn": (*CNN, "keras-r"),
        "rnn": (
            *("cntk", "keras-cntk", "keras-tf", "mxnet", "gluon", "pytorch", "tensorflow", "knet", "mxnet-r"),
            "keras-r",
        ),
        "resnet50": (
            *("caffe2", "chainer", "cntk", "gluon", "keras-cntk", "keras-tf", "tensorflow", "mxnet", "pytorch"),
            *("knet", "mxnet-r", "keras-r"),
        ),
        "densenet121": ("pytorch", "keras-tf", "tensorflow", "chainer", "gluon"),
    },
    {
        **dict.fromkeys(("cnn", "rnn", "resnet50"), SINGLE),
        "densenet121": tuple(Column("v100", n, data) for data in ("real", "synthetic") for n in (1, 4)),
    },
)
EDITIONS = {edition.name: edition for edition in (MARCH, JUNE)}

BEFORE_MARCH = {"e1f14ba", "e0cc7f9", "d542b3e", "5bc897a", "f777e24"}
AFTER_MARCH = {"2913976", "0c27e52", "HEAD"}
"""The commits that brought the figures of March's edition, and the last commits in which those stood."""


def stood_in(figure: Figure, edition: Edition) -> bool:
    """Whether a figure stood in an edition."""
    if edition is JUNE:
        return figure.last == "HEAD"
    return figure.first in BEFORE_MARCH and figure.last in AFTER_MARCH


@cache
def figures() -> tuple[Figure, ...]:
    """Every time of 2018 whose library is one of the matrix, in the order of the file; GPUs not in the matrix too."""
    with FILE.open(newline="") as file:
        lines = list(csv.DictReader(file))
    aucs = {run_of(line): float(line["value"]) for line in lines if line["metric"] == AUC}
    every = [figure_of(line, aucs) for line in lines if is_time(line)]
    runs: dict[tuple[str, str, str, str, int, str], list[Figure]] = {}
    for figure in every:
        if not figure.first:
            runs.setdefault(figure.question, []).append(figure)
    return tuple(with_run(figure, runs.get(figure.question, ())) if figure.first else figure for figure in every)


def is_time(line: Mapping[str, str]) -> bool:
    """Whether a line of the file holds a time of something that the matrix knows."""
    return (line["metric"], line["unit"]) in SECONDS and (line["library"], line["language"]) in NAMES


def figure_of(line: Mapping[str, str], aucs: Mapping[tuple[str, ...], float]) -> Figure:
    """Parse one line of the file."""
    library, variant = NAMES[line["library"], line["language"]]
    found = SOURCE.fullmatch(line["source"])
    remark = (found["remark"] if found else None) or ""
    workload = next(name for name, known in workloads().items() if known.in_2018 == line["workload"])
    auc = aucs.get(run_of(line)) if line["data"] == "real" else None
    return Figure(
        library=library,
        variant=variant,
        workload=workload,
        gpu=gpu_of(line["gpu"]),
        n_gpus=int(line["n_gpu"]),
        cuda=line["cuda"],
        cudnn=line["cudnn"],
        data=line["data"] if trains(workload) else "real",
        shown=f"{thousands(line['value'])} {line['unit']}",
        seconds=float(line["value"]) * SECONDS[line["metric"], line["unit"]],
        quality=float(line["accuracy"]) if line["accuracy"] else auc,
        cudnn_rnn=line["cudnn_rnn"],
        doubt=remark.removeprefix("CAUTION ") if remark.startswith(("CAUTION", "same figure")) else "",
        source=line["source"],
        first=found["first"] if found else "",
        last=(found["last"] or "HEAD") if found else "",
    )


def run_of(line: Mapping[str, str]) -> tuple[str, ...]:
    """Return what identifies a run of DenseNet: its times and its quality stand in lines of their own."""
    return line["library"], line["n_gpu"], line["source"]


def gpu_of(name: str) -> str:
    """The word of matrix.yaml: "V100-PCIE-16GB" → "v100"; "none" for a CPU, empty where none was told."""
    return "none" if name.startswith("CPU") else name.partition("-")[0].lower()


def thousands(number: str) -> str:
    """A number as it was printed, with its thousands set apart: "2506" → "2,506", "2.0" → "2.0"."""
    whole, dot, rest = number.partition(".")
    return f"{int(whole):,}{dot}{rest}"


def with_run(figure: Figure, runs: Sequence[Figure]) -> Figure:
    """A printed figure with seconds and quality of the best recorded run that rounds to it; itself if none does."""
    number, unit = figure.shown.replace(",", "").split()
    last_digit = 10.0 ** -len(number.partition(".")[2]) * (60 if unit == "min" else 1)
    behind = [run for run in reversed(runs) if abs(run.seconds - figure.seconds) <= last_digit / 2]
    if not behind:
        return figure
    best = min(behind, key=lambda run: (run.quality is None, trust_rank(run.source)))
    return replace(figure, seconds=best.seconds, quality=best.quality)


def latest(workload: str) -> dict[tuple[str, Column], Figure]:
    """Return what was last printed in every column of a workload's tables, by library."""
    return {field: figure for edition in EDITIONS.values() for field, figure in edition.figures(workload).items()}


TRUST = ("README.md", "notebooks/", "", "fork", "https:")
"""Prefixes of the figures' sources, the most widely published first; the empty one stands for the rest."""


def figure_for(library: str, variant: str, workload: str, gpu: str, n_gpus: int, data: str) -> Figure | None:
    """Return the figure to compare a cell with: what the README last said, else the newest run of the best source.

    The old lines of libraries that the matrix has twice (pytorch-2018) answer to the same name.
    """
    question = (library.removesuffix("-2018"), variant, workload, gpu, n_gpus, data)
    found = [figure for figure in figures() if figure.question == question and figure.last in ("", "HEAD", "0c27e52")]
    return min(reversed(found), key=lambda figure: trust_rank(figure.source), default=None)


def trust_rank(source: str) -> int:
    """The place of a source in ``TRUST``."""
    return next((rank for rank, start in enumerate(TRUST) if start and source.startswith(start)), TRUST.index(""))
