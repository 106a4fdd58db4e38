"""The versions of libraries, and the tables of them in documents."""

import pytest

from orchestrator.errors import RosettaError
from orchestrator.images.definitions import Framework
from orchestrator.report import versions
from tests.unit.images.toy import TOY, toy


def test_a_library_has_the_version_of_its_own_package():
    libraries = {"toy": TOY["libraries"]["toy"], "doll": {**TOY["libraries"]["toy"], "package": "Doll_Maker"}}
    cpu = {"version": "1.0", "requirements": ["toy==1.0", "doll-maker[all]==2.3+cpu; python_version > '3'"]}
    framework = toy(libraries=libraries, platforms={"cpu": cpu}).framework
    assert (framework.version("toy", "cpu"), framework.version("doll", "cpu")) == ("1.0", "2.3")


def test_versions_stand_by_python_and_by_platform():
    old = {"version": "0.9", "requirements": ["toy==0.9"], "python": "3.6", "base": "python:3.6-slim-bullseye"}
    libraries = {name: {"title": name.upper(), "docs": "https://example.org/"} for name in ("b", "a|c")}
    frameworks = [
        toy().framework,
        Framework.model_validate(
            {**TOY, "framework": "old", "libraries": {"b": libraries["b"]}, "platforms": {"cuda9": old}}
        ),
    ]
    assert versions.by_python(frameworks).splitlines()[2:] == ["| Toy | 1.0 | B | 0.9 |"]
    assert versions.by_platform(frameworks).splitlines() == [
        "| libraries of an image | cpu | cuda8 | cuda9 | cuda11 | cuda12 | cuda13 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| B | – | – | 0.9 | – | – | – |",
        "| Toy | 1.0 | – | – | – | – | – |",
    ]


def test_a_stale_table_is_found_and_written(tmp_path):
    (tmp_path / "docs").mkdir()
    documents = [tmp_path / document for document in versions.tables()]
    for path in documents:
        path.write_text(f"before\n{versions.BEGIN}\nold\n{versions.END}\nafter\n")
    with pytest.raises(RosettaError, match=r"README\.md is out of date\.\n.*\nRun 'rosetta images table --write'"):
        versions.check(tmp_path)
    assert [changed for _, changed in versions.write(tmp_path)] == [True, True]
    versions.check(tmp_path)
    assert [changed for _, changed in versions.write(tmp_path)] == [False, False]
    assert documents[0].read_text().startswith(f"before\n{versions.BEGIN}\n\n| on Python 3.11 | version |")
