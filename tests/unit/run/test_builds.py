"""Builds in the background: what is tried again, what is given up, and when."""

import subprocess
import time
from typing import Any

import pytest

from orchestrator.errors import BuildError, EngineError, EngineGoneError, UnreachableError
from orchestrator.images.image import image_for
from orchestrator.run import builds
from orchestrator.run.builds import Builder

IMAGE: Any = image_for("pytorch", "cpu")


class Building:
    """An engine of which only preparing matters; ``does`` is called for each try."""

    def __init__(self, *does) -> None:
        self.does = list(does)

    def prepare(self, wanted, say):
        self.does.pop(0)()
        return {}


def fails(error: Exception):
    def raising() -> None:
        raise error

    return raising


def sleeps() -> None:
    if subprocess.run(["sleep", "60"], check=False).returncode != 0:
        raise BuildError("Building the images failed.")


@pytest.fixture
def built(monkeypatch):
    monkeypatch.setattr(builds, "PAUSES", (0.0, 0.0))

    def build(*does, deadline: float = 60) -> tuple[Builder, list[str], list[Any]]:
        said: list[str] = []
        engine = Building(*does)
        builder = Builder(engine, [IMAGE], deadline, said.append)  # type: ignore[arg-type]
        builder.start()
        while builder.building:
            time.sleep(0.01)
        builder.close()
        return builder, said, engine.does

    return build


def test_what_may_pass_is_tried_again(built):
    builder, said, _ = built(fails(UnreachableError("The network is unreachable.")), lambda: None)
    assert builder.is_ready(IMAGE)
    assert "Trying again" in said[0]


def test_what_stays_as_it_is_is_not(built):
    builder, said, left = built(fails(BuildError("Building the images failed.")), lambda: None)
    assert not builder.is_ready(IMAGE)
    assert isinstance(builder.error(IMAGE), BuildError)
    assert (said, len(left)) == ([], 1)


def test_tries_have_an_end(built):
    lost = fails(EngineGoneError("No Docker engine answers."))
    builder, said, left = built(lost, lost, lost, lost)
    assert isinstance(builder.error(IMAGE), EngineError)
    assert (len(said), len(left)) == (2, 1)


def test_a_build_past_its_deadline_is_ended(built):
    started = time.monotonic()
    builder, _, _ = built(sleeps, deadline=0.3)
    assert time.monotonic() - started < 30
    assert "was not built within" in str(builder.error(IMAGE))


def closed_after(builder: Builder, seconds: float) -> float:
    """Close a builder that runs; how long that takes."""
    builder.start()
    time.sleep(seconds)
    began = time.monotonic()
    builder.close()
    return time.monotonic() - began


def test_closing_ends_every_program_of_a_build_not_only_the_one_that_runs():
    def two_programs() -> None:
        subprocess.run(["sleep", "60"], check=False)
        time.sleep(0.2)
        subprocess.run(["sleep", "60"], check=False)

    assert closed_after(Builder(Building(two_programs), [IMAGE], 60, print), 0.3) < 5  # type: ignore[arg-type]


def test_closing_begins_no_build_anew_that_waits_to_be_tried_again():
    engine = Building(fails(UnreachableError("The network is unreachable.")), lambda: None)
    assert closed_after(Builder(engine, [IMAGE], 60, print), 0.3) < 1  # type: ignore[arg-type]
    assert len(engine.does) == 1
