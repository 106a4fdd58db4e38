"""Which pages there are, and what stands on each; templates/ and assets/ define how it looks."""

import hashlib
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import AXES, RESIZED_CROP, TUNED, Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.cell.profile import Profile
from orchestrator.cell.workloads import workloads
from orchestrator.compare.engines import ran_by_docker
from orchestrator.images.image import image_for
from orchestrator.report import fields, parity, profiles, tables
from orchestrator.report.fields import Entry
from orchestrator.report.grids import GAIN, Grid, measured
from orchestrator.report.notes import GLOSSARY, legend
from orchestrator.report.rows import WorkloadRows, by_workload, library_titles, shown
from orchestrator.report.scripts import scripts
from orchestrator.report.site import charts, history, picture, stone
from orchestrator.report.site.downloads import downloads
from orchestrator.report.site.facts import facts
from orchestrator.report.site.summary import headline, summary
from orchestrator.report.site.views import View, views
from orchestrator.report.tables import Table
from orchestrator.results.merging import Folder, gather
from orchestrator.results.profiles import read_profile, read_trace
from orchestrator.results.rows import Row
from orchestrator.system.regular_files import write_beside
from orchestrator.system.terminal import Say, plain, silent
from orchestrator.system.text_files import disk_errors

if TYPE_CHECKING:
    import jinja2
    import markupsafe
    import pyarrow as pa

PARTS = files("orchestrator.report.site")
ASSETS = ("site.css", "site.js")
VEGA = "assets/vega.js"
"""The path of the charts' own library; it is large, and shared by all pages with charts."""

NEAR = 10
"""Rounds before and after its own that a cell's page links to: all of hundreds would make it long."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""The policy of a page: it may only show itself with our own style and script, whatever a result may hold."""


class Site:
    """The pages of some results, each rendered when it is asked for.

    ``source`` is where the results come from, in words; a ``live`` site's pages look for changes by themselves.
    ``folder``, if they come from one, may have profiles of their cells.
    """

    def __init__(self, rows: "pa.Table", source: str, live: bool = False, folder: Path | None = None) -> None:
        self.source, self.live, self._folder = plain(source), live, folder
        self.made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        self.rows: Sequence[Row] = [{**row, "page": page_of(row)} for row in map(shown, records(rows))]
        self.by_run: Mapping[str, Row] = {row["run"]: row for row in self.rows}
        self._table = rows

    @cached_property
    def grids(self) -> list[tuple[WorkloadRows, Grid]]:
        """The rows and grids of tables and pictures; the figures of 2018 have columns of their own."""
        return [(rows, measured(rows)) for rows in by_workload(self._table, library_titles(), published=True)]

    @cached_property
    def tables(self) -> list[Table]:
        """A table for each workload, in the published form."""
        return [tables.table(rows, grid) for rows, grid in self.grids]

    @cached_property
    def views(self) -> list[list[View]]:
        """The tables split by machine; for each workload the one with the most times first."""
        return [views(table, rows.machines) for table, (rows, _) in zip(self.tables, self.grids, strict=True)]

    @cached_property
    def pages(self) -> Mapping[str, Callable[[], bytes]]:
        """The functions that make the pages and assets, by path."""
        written = [workload for workload in parameters() if next(scripts(workload), None)]
        return {
            "index.html": lambda: self.page("overview.html.j2", "index.html", **self.overview()),
            "charts.html": lambda: self.page("charts.html.j2", "charts.html", charts=self.charts(), vega=True),
            "history.html": lambda: self.page(
                "history.html.j2", "history.html", series=history.history(self.rows), vega=True
            ),
            "cells.html": lambda: self.page("cells.html.j2", "cells.html", titles=library_titles()),
            "parity.html": lambda: self.page("parity.html.j2", "parity.html", **self.parity()),
            **{f"stone-{name}.html": self.stone_page(name, written) for name in written},
            **{row["page"]: self.cell_page(row) for row in self.rows if row["page"]},
            **{trace_of(cell): self.trace(cell) for cell in self.profiles},
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
        """Render the answer for a page that does not exist."""
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
        """Return the function that renders all scripts of a workload, of which two are shown side by side."""
        path = f"stone-{workload}.html"

        def make() -> bytes:
            found = list(stone.columns(workload, self.figures(workload)))
            title = workloads()[workload].title
            more = {"title": title, "workload": workload, "workloads": written, "pairs": stone.pairs(found)}
            return self.page("stone.html.j2", path, columns=found, **more)

        return make

    def figures(self, workload: str) -> Mapping[str, Sequence[tuple[str, Entry]]]:
        """Headings and entries of each script by its title, as far as there is a time; the gain is a tuned script's."""
        table = next((table for table in self.tables if table.workload == workload), None)
        if table is None:
            return {}
        found: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
        for library, entries in table.rows.items():
            for heading, entry in zip(table.columns, entries, strict=True):
                if entry.runs or (GAIN in heading and entry.time):
                    title = f"{library}, {TUNED}" if TUNED in heading else library
                    found[title].append((" ".join(heading), entry))
        return found

    def cell_page(self, row: Row) -> Callable[[], bytes]:
        """Return the function that renders everything that is known about a run."""

        def make() -> bytes:
            rounds = self.rounds[row["cell"], row["data"]]
            here = rounds.index(row)
            near = rounds[max(0, here - NEAR) : here + NEAR + 1]
            seconds = row["epoch_seconds"] or []
            told = (row[name] or [] for name in ("epoch_losses", "epoch_qualities"))
            content = {
                "row": row,
                "rounds": near,
                "more": len(rounds) - len(near),
                "facts": facts(row),
                "profile": self.profiles.get(row["cell"]),
                "epochs": list(zip_longest(seconds, *(values[: len(seconds)] for values in told))),
            }
            return self.page("cell.html.j2", row["page"], **content, commands=list(commands(row)))

        return make

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """The profile of each cell that has one."""
        cells = {row["cell"] for row in self.rows if row["page"]} if self._folder else ()
        found = {cell: read_profile(self._folder, cell) for cell in cells if self._folder}
        return {cell: profile for cell, profile in found.items() if profile}

    def trace(self, cell: str) -> Callable[[], bytes]:
        """Return the function that reads the trace of a profiled cell."""
        return lambda: read_trace(self._folder, cell) if self._folder else b""

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
        """Return the link to more about a row: its page, or its line among all cells."""
        return str(self.by_run[row["run"]]["page"]) or f"cells.html#{row_id(row)}"


def write(source: Path, folder: Path, say: Say = silent) -> int:
    """Write all pages of a results file or folder, and return their number; raises ResultError or DiskError."""
    rows = Folder(source, say).read() if source.is_dir() else gather([source], say)
    site = Site(rows, source.name or str(source.resolve()), folder=source if source.is_dir() else None)
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
    """Return the path of a run's page, unique by its run and readable by its cell; empty if nothing was run."""
    if row["status"] == Status.INCOMPATIBLE:
        return ""
    return f"cells/{file_name(row['cell'], row['run'])}.html"


def trace_of(cell: str) -> str:
    """The path of a cell's trace."""
    return f"profiles/{file_name(cell, cell)}.trace.json.gz"


def file_name(cell: str, identity: str) -> str:
    """Return a file name that is readable by its cell and unique by ``identity``."""
    name = re.sub(r"[^a-z0-9.]+", "-", cell.lower())[:80].strip("-.")
    return f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def row_id(row: Row) -> str:
    """Return the HTML id of a row's line on the page of all cells."""
    return f"row-{hashlib.sha256(row['run'].encode()).hexdigest()[:10]}"


# --- A run ----------------------------------------------------------------------------------------------------------
def commands(row: Row) -> Iterator[str]:
    """Yield commands that run it again: with the orchestrator, and if it ran in a container, by hand."""
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
    if ran_by_docker(row):
        dataset = parameters().get(cell.workload, {}).get("dataset") if cell.data == "real" else None
        mounts = ['-v "$PWD/results:/results"']
        mounts += [f'-v "$HOME/.cache/rosetta/data/{dataset}:/data:ro"'] if dataset else []
        gpus = ["--gpus", "all"] if cell.gpu != "none" else []
        arguments = shlex.join([row["image"], *contract.arguments(cell)])
        yield " ".join(["docker run --rm --network none", *gpus, *mounts, arguments])


def profile(cell: Cell) -> str:
    """The profile of the matrix file that has such a cell; one that is about a variant has its name."""
    if cell.variant in (TUNED, RESIZED_CROP):
        return cell.variant
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
    environment.filters.update(row_id=row_id, foldable=foldable)
    environment.filters["trace_of"] = trace_of
    environment.filters.update(lines_of_step=profiles.lines, said_of_profile=profiles.said)
    environment.filters["duration"] = fields.duration
    environment.filters["share"] = fields.share
    return environment


def foldable(name: str) -> "markupsafe.Markup":
    """The name of a cell, which may fold after each slash where it is too long for the page."""
    import markupsafe

    return markupsafe.escape(name).replace("/", markupsafe.Markup("/<wbr>"))


@cache
def vega() -> bytes:
    """The library that draws charts, from our own environment: nothing is loaded from elsewhere."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).encode()
