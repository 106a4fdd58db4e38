"""That nothing is missing without a fact: where the table of docs/platforms.md has a dash, the plan knows why."""

import re

import pytest

from orchestrator.images.definitions import frameworks
from orchestrator.report import versions
from orchestrator.system.checkout import ROOT
from orchestrator.system.gpus import PLATFORMS

DOCUMENT = (ROOT / "docs/platforms.md").read_text()
FACT = re.compile(r"\d|ended|ends|retired|begins|began|gone|out of reach|made of")


def gaps():
    return [(each, name) for each in frameworks().values() for name in PLATFORMS if name not in each.platforms]


@pytest.mark.parametrize(("framework", "platform"), gaps(), ids=lambda each: getattr(each, "framework", each))
def test_what_there_is_no_image_for_has_a_reason_of_its_makers(framework, platform):
    reason = framework.unavailable.get(platform, "")
    assert FACT.search(reason), f"images/{framework.framework}.yaml has no fact for {platform}"
    title = ", ".join(library.title for library in framework.libraries.values())
    assert f"| {title} | {platform} | {reason} |" in DOCUMENT


def test_every_dash_of_the_table_is_one_of_these():
    rows = versions.by_platform(list(frameworks().values())).splitlines()[2:]
    assert sum(row.count("| –") for row in rows) == len(gaps())
