"""Read YAML files strictly: scalars as text, no duplicate keys, no self-references, no alias bombs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import MatrixError
from orchestrator.system.text_files import read_text

MOST_NODES = 100_000
"""Most keys and values of a file, those behind aliases counted each time: few bytes can stand for billions."""


DEEPEST = 100
"""Most blocks within each other: the parser in C ends the whole program when its stack is full."""


def read(path: Path, remedy: str = "") -> tuple[Any, Any]:
    """Return content and root node of a YAML file; the node has line numbers, and both are None for an empty file.

    Every scalar is left as text: YAML itself would read 3.10 and 9.0 as numbers. Raises MatrixError, with the lines.
    """
    import yaml

    text = read_text(path, MatrixError, remedy)
    kind = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    loader = kind(text)
    try:
        refuse_deep(yaml.parse(text, kind), path)
        root = loader.get_single_node()
        if root is None:
            return None, None
        check(root, path)
        return loader.construct_document(root), root
    except yaml.YAMLError as error:
        raise MatrixError(f"{path} is not valid YAML.", cause(error), "Correct this line, or the one before.") from None
    finally:
        loader.dispose()


def cause(error: Any) -> str:
    """Return in a sentence what the parser found, and in which line; a character it can't read has no line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = [getattr(error, "context", None), getattr(error, "problem", None)]
    found = ", ".join(filter(None, said)) or " ".join(str(error).split()).replace(' in "<unicode string>"', "")
    return f"Line {mark.line + 1}: {found}." if mark else f"{found}."


def refuse_deep(events: Iterator[Any], path: Path) -> None:
    """Raise MatrixError for too many blocks within each other, from the parser's events, which need no stack."""
    import yaml

    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise MatrixError(
                f"{path} is nested too deeply.", f"Line {event.start_mark.line + 1} is in more than {DEEPEST} blocks."
            )


def check(root: Any, path: Path) -> None:
    """Raise MatrixError for a duplicate key in a block, for an alias to its own ancestor, and for alias bombs."""
    sizes: dict[int, int] = {}
    within: set[int] = set()

    def size(node: Any) -> int:
        if id(node) in within:
            raise MatrixError(f"{path} refers to itself.", remedy="Write out what its alias stands for.")
        if id(node) not in sizes:
            within.add(id(node))
            refuse_twice(node, path)
            sizes[id(node)] = 1 + sum(map(size, children(node)))
            within.discard(id(node))
        if sizes[id(node)] > MOST_NODES:
            raise MatrixError(f"{path} has more than {MOST_NODES:,} keys and values, its aliases written out.")
        return sizes[id(node)]

    size(root)


def children(node: Any) -> Iterator[Any]:
    """Yield the keys and values, or items, of a node."""
    for child in node.value if isinstance(node.value, list) else ():
        yield from child if isinstance(child, tuple) else (child,)


def refuse_twice(node: Any, path: Path) -> None:
    """Raise MatrixError, naming both lines, for a duplicate key of a mapping: YAML would silently drop the first."""
    seen: dict[str, int] = {}
    for pair in node.value if isinstance(node.value, list) else ():
        if isinstance(pair, tuple) and isinstance(pair[0].value, str):
            key, line = pair[0].value, pair[0].start_mark.line + 1
            if key in seen:
                raise MatrixError(
                    f"{path} has the key '{key}' twice: in line {seen[key]} and in line {line}.",
                    "The first would be silently ignored.",
                    "Put both into one, or rename or remove one of them.",
                )
            seen[key] = line
