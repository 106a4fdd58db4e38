"""Makes a site of pages that are written to be read in the repository.

`mkdocs build` calls it. README and other pages from outside of docs/ get a place in the site; links to files that are
not in it become plain text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
FROM_OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Where in the site pages are that lie outside of docs/."""

LINK = re.compile(r"\[(?P<text>(?:!\[[^]]*\]\([^)]*\)|[^][])*)\]\((?P<path>[^)#\s:]*)(?P<place>#[^)\s]*)?\)")
"""A link to a file or to a place of the page itself; its text may be a picture."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of docs/."""
    for source, page in FROM_OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """What GitHub's Markdown has and the site's lacks: links from the page's folder, folded tables, breaks."""
    source = next((source for source, name in FROM_OUTSIDE.items() if name == page.file.src_uri), None)
    folder = posixpath.dirname(source) if source else "docs"
    lines = relinked(markdown, folder, files).replace("<details>", '<details markdown="1">')
    return re.sub(r"\\\n", "  \n", lines)


def relinked(text: str, folder: str, files: Files) -> str:
    """The text of a page that lies in this folder of the repository, with links as the site has them."""

    def link(found: re.Match[str]) -> str:
        label, path, place = relinked(found["text"], folder, files), found["path"], found["place"] or ""
        if not path:
            return f"[{label}]({place})"
        target = posixpath.normpath(posixpath.join(folder, path))
        page = FROM_OUTSIDE.get(target) or target.removeprefix("docs/")
        outside = files.get_file_from_path(page) is None and (ROOT / target).exists()
        return label if outside else f"[{label}]({page}{place})"  # one that leads nowhere fails the build

    return LINK.sub(link, text)
