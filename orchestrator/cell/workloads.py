"""The presentation of each workload in reports, from workloads/workloads.json.

It is separate from params.json, whose entries are hashed into the key of every result: a better title must not make
all results stale.
"""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

from orchestrator.cell.strict import Strict
from orchestrator.system import library_folders


class Workload(Strict):
    """A workload as reports present it.

    ``measures`` says what its times and its quality are, ``in_2018`` is its name in the figures of 2018. Without
    ``trains`` it has no first step to report. With ``ranks_synthetic``, synthetic data is a question of its own, about
    the GPUs without their input pipeline, and has a column in the tables. With ``takes_weights`` it can start from
    ImageNet weights or from random ones. ``forms`` are networks of the same name with other scores, each with the
    globs of the "library/platform" that use it; all others use the usual one.
    """

    title: str
    measures: str
    in_2018: str
    trains: bool = True
    ranks_synthetic: bool = False
    takes_weights: bool = False
    forms: Mapping[str, Sequence[str]] = {}


@cache
def workloads() -> Mapping[str, Workload]:
    """The workloads by name, in the order in which they were published."""
    content = json.loads((library_folders.PROGRAM.workloads / "workloads.json").read_text(encoding="utf-8"))
    return {name: Workload.model_validate(facts) for name, facts in content.items()}


def heading(workload: str) -> str:
    """Return the title of a workload's table; for one that is not ours, as in others' results, its name."""
    known = workloads().get(workload)
    return f"{known.title}: {known.measures}" if known else workload


def trains(workload: str) -> bool:
    """Return whether a workload trains its network; one that is not ours is assumed to."""
    return workload not in workloads() or workloads()[workload].trains


STARTS = {"imagenet": "ImageNet weights", "random": "random weights"}
"""The initial weights that an image network can have, and their names in reports."""


def start_of(workload: str, pretrained: str | None) -> str | None:
    """Return a run's start, a key of ``STARTS``, from the weights file that it loaded; None if there is no choice."""
    if workload not in workloads() or not workloads()[workload].takes_weights:
        return None
    return "imagenet" if pretrained else "random"


def form_of(workload: str, library: str, platform: str) -> str:
    """Return which network a library uses for a workload on a platform; empty for the usual one."""
    forms = workloads()[workload].forms if workload in workloads() else {}
    place = f"{library}/{platform}"
    return next((form for form, globs in forms.items() if any(fnmatchcase(place, glob) for glob in globs)), "")


def ranks_synthetic(workload: str) -> bool:
    """Return whether a workload's synthetic data is ranked as a question of its own."""
    return workload in workloads() and workloads()[workload].ranks_synthetic
