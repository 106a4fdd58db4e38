"""Which pages there are, and what stands on each; how it looks is said by templates/ and assets/."""

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import AXES, Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import workloads
from orchestrator.images.image import image_for
from orchestrator.report import fields, parity, tables
from orchestrator.report.fields import Entry
from orchestrator.report.notes import Note
from orchestrator.report.rows import library_titles
from orchestrator.report.scripts import scripts
from orchestrator.report.site import charts, stone
from orchestrator.report.tables import Table
from orchestrator.results.merging import Folder, gather
from orchestrator.results.rows import Row
from orchestrator.system.regular_files import write_beside
from orchestrator.system.terminal import Say, plain, silent
from orchestrator.system.text_files import disk_errors

if TYPE_CHECKING:
    import jinja2
    import pyarrow as pa

PARTS = files("orchestrator.report.site")
ASSETS = ("site.css", "site.js")
VEGA = "assets/vega.js"
"""Where the charts' own library lies; it is long, and shared by all pages with charts."""

NEAR = 10
"""Rounds before and after its own that a cell's page links to: all of hundreds would make it long."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""What a page may do: nothing but show itself with our own style and script, whatever a result may hold."""


class Line(NamedTuple):
    """A fact on a cell's page."""

    name: str
    value: str


class Site:
    """The pages of some results, each rendered when it is asked for.

    ``source`` is where the results come from, in words; a ``live`` site's pages look for changes by themselves.
    """

    def __init__(self, rows: "pa.Table", source: str, live: bool = False) -> None:
        self.source, self.live = plain(source), live
        every = [{key: plain(value) for key, value in row.items()} for row in records(rows)]
        self.rows: Sequence[Row] = [{**row, "page": page_of(row)} for row in every]
        self.by_run: Mapping[str, Row] = {row["run"]: row for row in self.rows}
        self._table = rows

    @cached_property
    def tables(self) -> tuple[list[Table], list[Note]]:
        """The published form, the figures of 2018 in columns of their own; and the legend of the marks."""
        return tables.tables(self._table, published=True)

    @cached_property
    def pages(self) -> Mapping[str, Callable[[], bytes]]:
        """What makes each page and asset, by its path."""
        written = [workload for workload in parameters() if next(scripts(workload), None)]
        return {
            "index.html": lambda: self.page("overview.html.j2", "index.html", **self.overview()),
            "charts.html": lambda: self.page("charts.html.j2", "charts.html", charts=self.charts(), vega=True),
            "cells.html": lambda: self.page("cells.html.j2", "cells.html", titles=library_titles()),
            "parity.html": lambda: self.page("parity.html.j2", "parity.html", **self.parity()),
            **{f"stone-{name}.html": self.stone_page(name, written) for name in written},
            **{row["page"]: self.cell_page(row) for row in self.rows if row["page"]},
            **{f"assets/{name}": PARTS.joinpath("assets", name).read_bytes for name in ASSETS},
            VEGA: vega,
        }

    def page(self, template: str, path: str, **content: Any) -> bytes:
        """Render a page; its links are relative, so that it can lie anywhere."""
        rendered = (
            templates()
            .get_template(template)
            .render(**content, site=self, path=path, root="../" * path.count("/"), policy=POLICY)
        )
        return rendered.encode(errors="replace")

    # --- What stands on a page ---------------------------------------------------------------------------------------
    def overview(self) -> dict[str, Any]:
        """Every workload's table, and how many rows have which status."""
        every, legend = self.tables
        return {
            "tables": every,
            "legend": legend,
            "counts": Counter(row["status"] for row in self.rows),
            "statuses": sorted(
                {entry.status for table in every for row in table.rows.values() for entry in row} - {""}
            ),
        }

    def charts(self) -> list[charts.Chart]:
        """The charts of every workload."""
        return list(charts.charts(self.tables[0], self.by_run))

    def parity(self) -> dict[str, Any]:
        """The comparison with the reference."""
        return {
            "lines": list(parity.lines(self._table)),
            "allowed": dict(parity.tolerances()),
            "names": parity.HEADINGS,
        }

    def stone_page(self, workload: str, written: Sequence[str]) -> Callable[[], bytes]:
        """All scripts of a workload, of which two are shown side by side."""
        path = f"stone-{workload}.html"

        def make() -> bytes:
            found = list(stone.columns(workload, self.figures(workload)))
            title = workloads()[workload].title
            return self.page("stone.html.j2", path, columns=found, title=title, workload=workload, workloads=written)

        return make

    def figures(self, workload: str) -> Mapping[str, Sequence[tuple[str, Entry]]]:
        """Headings and entries of each library in a workload's table, as far as there is a time."""
        table = next((table for table in self.tables[0] if table.workload == workload), None)
        if table is None:
            return {}
        headings = [" ".join(heading) for heading in table.columns]
        return {
            library: [(heading, entry) for heading, entry in zip(headings, entries, strict=True) if entry.runs]
            for library, entries in table.rows.items()
        }

    def cell_page(self, row: Row) -> Callable[[], bytes]:
        """Everything that is known of a run."""

        def make() -> bytes:
            rounds = self.rounds[row["cell"], row["data"]]
            here = rounds.index(row)
            near = rounds[max(0, here - NEAR) : here + NEAR + 1]
            seconds, losses = row["epoch_seconds"] or [], row["epoch_losses"] or []
            content = {
                "row": row,
                "rounds": near,
                "more": len(rounds) - len(near),
                "facts": facts(row),
                "epochs": list(zip_longest(seconds, losses[: len(seconds)])),
            }
            return self.page("cell.html.j2", row["page"], **content, commands=list(commands(row)))

        return make

    @cached_property
    def rounds(self) -> Mapping[tuple[str, str], Sequence[Row]]:
        """All runs of each cell in their order."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in sorted(self.rows, key=lambda row: (row["repeat"], row["run"])):
            if row["page"]:
                found.setdefault((row["cell"], row["data"]), []).append(row)
        return found

    def link(self, entry: Entry) -> str:
        """The page of the newest run behind an entry."""
        return str(self.by_run[entry.runs[-1]]["page"]) if entry.runs else ""


def write(source: Path, folder: Path, say: Say = silent) -> int:
    """Write all pages of a results file or folder, and return their number; raises ResultError or DiskError."""
    rows = Folder(source, say).read() if source.is_dir() else gather([source], say)
    site = Site(rows, source.name or str(source.resolve()))
    with disk_errors(folder, "Name another with -o DIR."):
        for path, make in site.pages.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            write_beside(place, make())
    return sum(path.endswith(".html") for path in site.pages)


def records(rows: "pa.Table") -> list[Row]:
    """All rows; ``started`` as text."""
    import pyarrow.compute as pc

    index = rows.schema.get_field_index("started")
    text = pc.strftime(rows["started"], format="%Y-%m-%d %H:%M")
    records: list[Row] = rows.set_column(index, "started", text).to_pylist()
    return records


def page_of(row: Row) -> str:
    """The path of a run's page, made of its cell for people and its run for certainty; none if nothing was run."""
    if row["status"] == Status.INCOMPATIBLE:
        return ""
    name = re.sub(r"[^a-z0-9.]+", "-", row["cell"].lower())[:80].strip("-.")
    return f"cells/{name}-{hashlib.sha256(row['run'].encode()).hexdigest()[:10]}.html"


# --- A run ----------------------------------------------------------------------------------------------------------
FACTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "Result": (
        ("status", "status"), ("reason", "reason"), ("seconds", "seconds, cold"), ("seconds_warm", "seconds, warm"),
        ("metric", "metric"), ("quality", "quality"), ("epochs", "epochs"), ("samples", "samples in each"),
        ("steps", "steps"), ("samples_tested", "samples tested"), ("shortened", "shortened"), ("parity", "parity"),
        ("checks", "checks"),
    ),
    "Where the time went": (
        ("import_seconds", "import"), ("data_seconds", "data"), ("build_seconds", "build"),
        ("first_step_seconds", "first step"), ("train_seconds", "train"), ("warm_up_seconds", "warm up"),
        ("predict_seconds", "predict"), ("evaluate_seconds", "evaluate"), ("wall_seconds", "the whole container"),
    ),
    "What ran": (
        ("framework", "framework"), ("framework_version", "version"), ("cuda", "CUDA"), ("cudnn", "cuDNN"),
        ("packages", "packages"), ("python", "Python"), ("numpy", "NumPy"), ("engine", "engine"), ("image", "image"),
        ("image_digest", "image digest"), ("recipe", "recipe"), ("base", "built on"), ("key", "key"),
        ("commit", "commit"), ("dirty", "changed since"),
    ),
    "On what": (
        ("host", "host"), ("cpu", "CPU"), ("cores", "cores"), ("memory", "memory"), ("os", "system"),
        ("kernel", "kernel"), ("gpu_name", "GPU"), ("n_gpus", "GPUs used"), ("driver", "driver"),
        ("gpu_uuids", "UUIDs"), ("capability", "compute capability"), ("device", "device, by the library"),
        ("proof", "proved by"), ("gpu_others", "processes of others"), ("gpu_peak_memory", "most GPU memory"),
        ("gpus_before", "GPUs at the start"), ("gpus_during", "in the middle"), ("gpus_after", "at the end"),
        ("energy", "energy, J"),
        ("peak_memory", "memory of the process"), ("container_memory", "memory of the container"),
        ("started", "started, UTC"), ("run", "run"),
    ),
}  # fmt: skip
"""What a cell's page says, under which headings: columns of a row, and how they are called."""


def facts(row: Row) -> dict[str, list[Line]]:
    """The facts of a run that are known, as text."""
    return {
        heading: [Line(name, shown(column, row[column])) for column, name in lines if row[column] not in (None, "")]
        for heading, lines in FACTS.items()
    }


def shown(column: str, value: Any) -> str:
    """A value for a person."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.endswith("memory"):
        return f"{value / 2**30:,.2f} GiB"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def commands(row: Row) -> Iterator[str]:
    """How to run it again: by the orchestrator, and where it ran in a container, by hand."""
    axes = {axis: row[axis] for axis in AXES} | {"n_gpus": row["workers"] or 1}
    length = (row["epochs"], row["samples"])
    as_published = length == quality.published(row["workload"]) or row["parity"] is not None
    cell = Cell(**axes, **({} if as_published else dict(zip(("epochs", "samples"), length, strict=True))))
    image = image_for(cell.library, cell.platform)
    flags = {
        "--profile": profile(cell),
        "--only": cell.address,
        **({"--data": cell.data} if row["parity"] is None and cell.data != "real" else {}),
        **({"--epochs": cell.epochs, "--samples": cell.samples} if not as_published else {}),
        **({"--repeats": cell.repeat + 1} if cell.repeat else {}),
        "--rerun": "all",
    }
    words = ["rosetta", "run" if row["parity"] is None else "parity"]
    words += [str(word) for pair in flags.items() for word in pair if pair[1] is not None]
    yield shlex.join([*words, *(["--unverified"] if image and image.spec.unverified else [])])
    if row["engine"] == "docker" and row["image"]:
        dataset = parameters().get(cell.workload, {}).get("dataset") if cell.data == "real" else None
        mounts = ['-v "$PWD/results:/results"']
        mounts += [f'-v "$HOME/.cache/rosetta/data/{dataset}:/data:ro"'] if dataset else []
        gpus = ["--gpus", "all"] if cell.gpu != "none" else []
        arguments = shlex.join([row["image"], *contract.arguments(cell)])
        yield " ".join(["docker run --rm --network none", *gpus, *mounts, arguments])


def profile(cell: Cell) -> str:
    """The profile of the matrix file that has such a cell."""
    if cell.n_gpus > 1:
        return "workers" if cell.gpu == "none" else "scaling"
    return "full" if cell.precision == "fp32" else "precisions"


# --- Templates ------------------------------------------------------------------------------------------------------
@cache
def templates() -> "jinja2.Environment":
    """The templates; whatever comes from results is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator.report.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = fields.duration
    environment.filters["share"] = fields.share
    return environment


@cache
def vega() -> bytes:
    """The library that draws charts, from our own environment: nothing is loaded from elsewhere."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).encode()
