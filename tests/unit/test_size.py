"""A function fits on a screen, and a module is read in one go."""

import ast
from pathlib import Path

import pytest

from orchestrator.system.checkout import ROOT

LONGEST_FUNCTION, LONGEST_MODULE = 60, 400
MODULES = sorted(path for folder in ("orchestrator", "workloads/harness") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_and_no_function_is_too_long(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    # Decorators, such as the options of a command, are a table above the function: they don't count.
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
