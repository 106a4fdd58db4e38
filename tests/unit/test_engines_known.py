"""Outside of engines/ nobody knows which engine runs: neither by its name, nor by its class."""

import ast
from pathlib import Path

from orchestrator.cli import options
from orchestrator.engines import choice
from orchestrator.engines.slurm.inside import WAYS
from orchestrator.system.checkout import ROOT

PACKAGE = ROOT / "orchestrator"
NAMES = {*choice.OF_THIS_HOST, *choice.BY_HAND, *options.ENGINES_OF_CLUSTERS}

NAMED = {
    "cli/options.py": "what may be typed",
    "compare/engines.py": "a row has only the name of the engine that made it",
    "images/building.py": "the command that builds with BuildKit",
    "report/doctor.py": "the command whose plugins are looked for, and Ray's Python package",
    "system/extras.py": "Ray's Python package",
}
"""Modules that say an engine's name in a string of its own."""

OF_EVERY_ENGINE = {"choice", "output", "pretended", "protocol", "unattended"}
"""Modules of engines/ that are the same for all engines."""

IMPORTED = {
    "cli/data.py": "checks data sets in Docker's volumes too",
    "cli/images.py": "saves and loads archives by Docker's API, asks registries through it",
    "cli/own.py": "an installation of the user's is an engine and its only image",
    "cli/publishing.py": "publishes what Docker has built",
    "publish/archives.py": "archives by Docker's API",
    "publish/examination.py": "looks into images in containers of Docker",
    "publish/publishing.py": "tags and pushes by Docker",
    "publish/registry.py": "asks registries through Docker, with its login",
    "publish/reproduction.py": "pulls by digest with Docker",
}
"""Modules that use a certain engine, or its API."""


def modules() -> dict[str, ast.Module]:
    """The modules outside of engines/, parsed."""
    paths = (path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")))
    return {path.as_posix(): ast.parse((PACKAGE / path).read_text()) for path in paths if path.parts[0] != "engines"}


def names_in(module: ast.Module) -> set[str]:
    """The names of engines that are strings in a module."""
    constants = (node.value for node in ast.walk(module) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)} & NAMES


def engines_in(module: ast.Module) -> set[str]:
    """The modules of certain engines that a module imports, late or for types too."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    prefix = "orchestrator.engines."
    return {name.removeprefix(prefix).partition(".")[0] for name in found if name.startswith(prefix)} - OF_EVERY_ENGINE


def test_a_name_and_a_class_are_found():
    code = "def late(engine):\n    from orchestrator.engines import ray, protocol\n    return engine.name in ('ray',)"
    assert (names_in(ast.parse(code)), engines_in(ast.parse(code))) == ({"ray"}, {"ray"})


def test_only_these_modules_say_the_name_of_an_engine():
    assert {name for name, module in modules().items() if names_in(module)} == set(NAMED)


def test_only_these_modules_import_a_certain_engine():
    assert {name for name, module in modules().items() if engines_in(module)} == set(IMPORTED)


def test_what_may_be_typed_is_what_there_is():
    assert set(options.ENGINES_HERE) == set(choice.OF_THIS_HOST)
    assert set(options.FORMS) == set(choice.BY_HAND)
    assert set(WAYS) < set(options.ENGINES)
    assert Path(PACKAGE / "engines" / f"{options.ENGINES_OF_CLUSTERS[0]}.py").is_file()
