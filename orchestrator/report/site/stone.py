"""The scripts of a workload in columns of the same sections, with what was measured above them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cell.cell import TUNED
from orchestrator.images.definitions import library_index
from orchestrator.report.fields import Entry
from orchestrator.report.rows import library_title, library_titles
from orchestrator.report.scripts import Script, scripts
from orchestrator.report.site import calls

if TYPE_CHECKING:
    from markupsafe import Markup

Figures = Sequence[tuple[str, Entry]]


@dataclass(frozen=True)
class Part:
    """A section: its heading, its code as highlighted HTML, and the documentation of its calls."""

    title: str
    code: "Markup"
    links: Sequence[calls.Link]


@dataclass(frozen=True)
class Column:
    """A script: its name in addresses, the library's title and documentation, its parts, its times with headings."""

    name: str
    title: str
    docs: str
    path: str
    parts: Sequence[Part]
    figures: Figures


def columns(workload: str, figures: Mapping[str, Figures]) -> Iterator[Column]:
    """The scripts of a workload; ``figures`` by the title that a library has in the tables."""
    titles = library_titles()
    for script in scripts(workload):
        row = {"library": script.library, "workload": workload, "precision": "fp32", "variant": script.variant}
        # on a CPU and on a GPU it may be of another form, and so have two titles
        of_forms = dict.fromkeys(library_title({**row, "platform": platform}, titles) for platform in ("cpu", "cuda9"))
        title = next(iter(of_forms))
        shown = [figure for name in of_forms for figure in figures.get(name, ())]
        library = library_index()[script.library].libraries[script.library]
        name = script.path.stem.replace("_", "-")
        path = script.path.relative_to(script.path.parents[2])
        yield Column(name, title, library.docs, str(path), list(parts(script)), shown)


def pairs(columns: Sequence[Column]) -> list[tuple[Column, Column]]:
    """Each library's reference and its tuned script, where it has both."""
    named = {column.name: column for column in columns}
    return [(named[name], named[f"{name}-{TUNED}"]) for name in named if f"{name}-{TUNED}" in named]


def parts(script: Script) -> Iterator[Part]:
    """The sections of a script."""
    names = calls.origins(script.text)
    for section in script.sections():
        links = list(calls.links(section.code, names, script.library)) if section.title else []
        yield Part(section.title or "Start", highlighted(section.code, script.language), links)


def highlighted(code: str, language: str) -> "Markup":
    """Code as HTML, an element for each line, so that long ones hang; Pygments escapes it."""
    from markupsafe import Markup
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    lines = highlight(code, get_lexer_by_name(language), HtmlFormatter(nowrap=True)).splitlines()
    return Markup("".join(f"<span>{line or '<br>'}</span>" for line in lines))
