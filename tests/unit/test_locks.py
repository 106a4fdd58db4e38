"""A clean machine installs the locks alone: what pyproject.toml asks for has to stand in them."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from orchestrator.system.checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def locked(name: str) -> dict[str, str]:
    """Version by package of a lock."""
    pins = re.findall(r"^([\w.-]+)==([\w.!+-]+)", (ROOT / name).read_text(), flags=re.MULTILINE)
    return {canonicalize_name(package): version for package, version in pins}


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements.lock", EXTRAS["azure"] + EXTRAS["report"]),
        ("requirements.lock", PROJECT["dependency-groups"]["build"]),
        ("requirements-dev.lock", EXTRAS["dev"]),
    ],
    ids=["program", "extras", "build", "dev"],
)
def test_what_is_asked_for_is_locked_in_a_version_that_fits(lock: str, requirements: list[str]):
    versions = locked(lock)

    def fits(asked: Requirement) -> bool:
        version = versions.get(canonicalize_name(asked.name))
        return version is not None and version in asked.specifier

    assert [text for text in requirements if not fits(Requirement(text))] == [], "run 'make lock'"
