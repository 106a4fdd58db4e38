"""The result of a cell that is profiled instead of timed: where a step's time went, and a trace; docs/profile.md."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from orchestrator.cell.cell import Cell
from orchestrator.cell.strict import Positive, Seconds, Strict, Text, complaint
from orchestrator.errors import ResultError

SUMMARY, TRACE = "profile.json", "trace.json.gz"
"""The names of the two files in a cell's results folder."""

LARGEST: Mapping[str, int] = {SUMMARY: 64 * 2**10, TRACE: 12 * 2**20}
"""Most bytes of each file; the harness refuses to write more."""

LARGEST_TRACE = 512 * 2**20
"""Most bytes of a trace when Perfetto has unpacked it."""

MOST_STEPS = 100
"""The limit on steps: more would make a trace that no browser opens."""

ROUNDING = 1e-6
"""How far the sum of a step's classes may be from its time, as a share of it."""


class Classes(Strict):
    """A step's seconds by class, each moment counted once; None if the profiler can't tell it apart from ``host``."""

    input: Seconds
    host: Seconds
    copies: Seconds | None
    kernels: Seconds | None
    idle: Seconds | None

    @property
    def shares(self) -> Mapping[str, float | None]:
        """Each class as a share of all."""
        told = dict(self)
        total = sum(seconds or 0.0 for seconds in told.values()) or 1.0
        return {name: None if seconds is None else seconds / total for name, seconds in told.items()}


class Profile(Strict):
    """The summary of a profile: means over its ``steps``, times in seconds."""

    contract: Literal[2]
    library: Text
    workload: Text
    platform: Text
    precision: Text
    variant: Text
    data: Literal["real", "synthetic"]
    seed: int
    workers: Positive
    framework_version: Text
    profiler: Text
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    step_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    classes: Classes

    @model_validator(mode="after")
    def _adds_up(self) -> "Profile":
        total = sum(seconds or 0.0 for seconds in dict(self.classes).values())
        if abs(total - self.step_seconds) > ROUNDING * self.step_seconds:
            raise ValueError(f"the classes add up to {total:g} s, not to a step's {self.step_seconds:g}")
        return self


@dataclass(frozen=True)
class Recording:
    """A profile and its trace: gzipped JSON events in Chrome's format, whose content is not validated here."""

    profile: Profile
    trace: bytes


def arguments(steps: int) -> list[str]:
    """Return the extra arguments of a cell that is profiled; none for 0 steps."""
    return ["--profile", str(steps)] if steps else []


def parse(files: Mapping[str, bytes], cell: Cell, steps: int) -> Recording:
    """Validate the files, by name, that a cell left; raises ResultError unless they are the requested profile."""
    source = f"the profile of {cell.id}"
    for name, most in LARGEST.items():
        if name not in files:
            raise ResultError(f"{source} has no {name}.")
        if len(files[name]) > most:
            raise ResultError(f"{name} of {source} has more than {most:,} bytes.", remedy="Take fewer --steps.")
    summary = read(files[SUMMARY], source)
    asked = {name: getattr(cell, name) for name in ("library", "workload", "platform", "precision", "variant", "data")}
    wrong = [name for name, value in {**asked, "steps": steps}.items() if getattr(summary, name) != value]
    if wrong:
        raise ResultError(f"{source} is of another run: {', '.join(wrong)}.")
    if not is_gzipped_object(files[TRACE]):
        raise ResultError(f"{TRACE} of {source} is not a gzipped JSON file of at most {LARGEST_TRACE:,} bytes.")
    return Recording(summary, files[TRACE])


def read(raw: bytes, source: str) -> Profile:
    """Validate a summary; raises ResultError for one that is oversized or not as declared."""
    if len(raw) > LARGEST[SUMMARY]:
        raise ResultError(f"{source} has more than {LARGEST[SUMMARY]:,} bytes.")
    try:
        return Profile.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise ResultError(f"{source} is not valid: {complaint(error, 'the whole')}.") from None


def is_gzipped_object(content: bytes) -> bool:
    """Return whether bytes are one whole gzip stream of bounded size that begins and ends like a JSON object."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    size, first, last = 0, b"", b""
    try:
        while content and not unpacker.eof and size <= LARGEST_TRACE:
            piece = unpacker.decompress(content, 2**20)
            content = unpacker.unconsumed_tail
            size, first, last = size + len(piece), first or piece[:1], piece[-1:] or last
    except zlib.error:
        return False
    return unpacker.eof and not unpacker.unused_data and size <= LARGEST_TRACE and (first, last) == (b"{", b"}")
