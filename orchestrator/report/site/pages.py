"""Which pages there are, and what stands on each; how it looks is said by templates/ and assets/."""

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import AXES, Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import workloads
from orchestrator.images.image import image_for
from orchestrator.report import fields, parity, tables
from orchestrator.report.fields import Entry
from orchestrator.report.grids import Grid, measured
from orchestrator.report.notes import GLOSSARY, legend
from orchestrator.report.rows import WorkloadRows, by_workload, library_titles
from orchestrator.report.scripts import scripts
from orchestrator.report.site import charts, picture, stone
from orchestrator.report.site.downloads import downloads
from orchestrator.report.site.facts import facts
from orchestrator.report.site.summary import headline, summary
from orchestrator.report.site.views import View, views
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


class Site:
    """The pages of some results, each rendered when it is asked for.

    ``source`` is where the results come from, in words; a ``live`` site's pages look for changes by themselves.
    """

    def __init__(self, rows: "pa.Table", source: str, live: bool = False) -> None:
        self.source, self.live = plain(source), live
        self.made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        every = [{key: plain(value) for key, value in row.items()} for row in records(rows)]
        self.rows: Sequence[Row] = [{**row, "page": page_of(row)} for row in every]
        self.by_run: Mapping[str, Row] = {row["run"]: row for row in self.rows}
        self._table = rows

    @cached_property
    def grids(self) -> list[tuple[WorkloadRows, Grid]]:
        """What the tables and pictures are made of; the figures of 2018 have columns of their own."""
        return [(rows, measured(rows)) for rows in by_workload(self._table, library_titles(), published=True)]

    @cached_property
    def tables(self) -> list[Table]:
        """A table for each workload, in the published form."""
        return [tables.table(rows, grid) for rows, grid in self.grids]

    @cached_property
    def views(self) -> list[list[View]]:
        """The same, one table for each machine; of each workload the one with the most times first."""
        return [views(table, rows.machines) for table, (rows, _) in zip(self.tables, self.grids, strict=True)]

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
            **downloads(self._table),
        }

    def page(self, template: str, path: str, **content: Any) -> bytes:
        """Render a page; its links are relative, so that it can lie anywhere."""
        rendered = (
            templates()
            .get_template(template)
            .render(**content, site=self, path=path, root="../" * path.count("/"), policy=POLICY)
        )
        return rendered.encode(errors="replace")

    def missing(self, path: str) -> bytes:
        """What is answered where there is no such page."""
        return self.page("missing.html.j2", path)

    # --- What stands on a page ---------------------------------------------------------------------------------------
    def overview(self) -> dict[str, Any]:
        """Every workload's table, and how many rows have which status."""
        entries = [entry for table in self.tables for row in table.rows.values() for entry in row]
        drawn = [picture.picture(rows, grid, self.by_run, self.address) for rows, grid in self.grids]
        return {
            "tables": list(zip(self.tables, self.views, strict=True)),
            "legend": list(legend(entries)),
            "pictures": list(filter(None, drawn)),
            "key": picture.KEY,
            "summary": list(summary(self.rows, self.made)),
            "headline": headline(self.rows, self.made),
            "marks": GLOSSARY,
            "downloads": list(downloads(self._table)),
            "counts": Counter(row["status"] for row in self.rows),
            "statuses": sorted({entry.status for entry in entries} - {""}),
        }

    def charts(self) -> list[charts.Chart]:
        """The charts of every workload."""
        return [chart for each in self.views for chart in charts.charts(each, self.by_run)]

    def parity(self) -> dict[str, Any]:
        """The comparison with the reference."""
        return {
            "lines": list(parity.lines(self._table)),
            "allowed": {
                workload: [f"{name} {error}" for name, error in zip(parity.HEADINGS, errors, strict=True) if error]
                for workload, errors in parity.tolerances()
            },
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
        table = next((table for table in self.tables if table.workload == workload), None)
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

    def versions(self, entry: Entry) -> str:
        """The versions of the library that ran for an entry."""
        found = dict.fromkeys(self.by_run[run]["framework_version"] for run in entry.runs)
        return ", ".join(filter(None, found))

    def address(self, row: Row) -> str:
        """Where more is said of a row: its page, or its line among all cells."""
        return str(self.by_run[row["run"]]["page"]) or f"cells.html#{row_id(row)}"


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


def row_id(row: Row) -> str:
    """The name of a row's line on the page of all cells."""
    return f"row-{hashlib.sha256(row['run'].encode()).hexdigest()[:10]}"


# --- A run ----------------------------------------------------------------------------------------------------------
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
    environment.globals["short_run"] = GLOSSARY[fields.SHORT]
    environment.filters["row_id"] = row_id
    environment.filters["duration"] = fields.duration
    environment.filters["share"] = fields.share
    return environment


@cache
def vega() -> bytes:
    """The library that draws charts, from our own environment: nothing is loaded from elsewhere."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).encode()
