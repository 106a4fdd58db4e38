"""What workloads/workloads.json says of each workload: how reports call and read it.

It stands apart from params.json, whose entries are hashed into the key of every result: a better title must not make
all results stale.
"""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

from orchestrator.cell.strict import Strict
from orchestrator.system import library_folders


class Workload(Strict):
    """A workload as reports have it.

    ``measures`` says what its times and its quality are, ``in_2018`` how the figures of 2018 call it. One that
    ``trains`` nothing has no first step to speak of. ``ranks_synthetic``: synthetic data is a question of its own, that
    of the GPUs without what feeds them, and has a column in the tables. One that ``takes_weights`` can begin with
    those that ImageNet has given its network, or with random ones. ``forms`` are networks that go by the same name and
    have other scores, each with the globs of the "library/platform" that have it; all others have the usual one.
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
    """The title of a workload's table; the name of one that is not ours, as results of others may have."""
    known = workloads().get(workload)
    return f"{known.title}: {known.measures}" if known else workload


def trains(workload: str) -> bool:
    """Whether a workload trains its network, as one that is not ours is taken to do."""
    return workload not in workloads() or workloads()[workload].trains


STARTS = {"imagenet": "ImageNet weights", "random": "random weights"}
"""What a network for images can begin with, and how reports call it."""


def start_of(workload: str, pretrained: str | None) -> str | None:
    """The start of a run, a key of ``STARTS``, by the file of weights that it loaded; None where there is no choice."""
    if workload not in workloads() or not workloads()[workload].takes_weights:
        return None
    return "imagenet" if pretrained else "random"


def form_of(workload: str, library: str, platform: str) -> str:
    """Which network a library has for a workload there; empty for the usual one."""
    forms = workloads()[workload].forms if workload in workloads() else {}
    place = f"{library}/{platform}"
    return next((form for form, globs in forms.items() if any(fnmatchcase(place, glob) for glob in globs)), "")


def ranks_synthetic(workload: str) -> bool:
    """Whether synthetic data is a question of its own in a workload."""
    return workload in workloads() and workloads()[workload].ranks_synthetic
