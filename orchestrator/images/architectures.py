"""Which GPUs an image has code for, derived from what machine_code.py found in its libraries.

Sources: NVIDIA's CUDA C++ Programming Guide on binary and PTX compatibility and on architecture- and family-specific
features; ptxas of CUDA 13.5 on which architectures form a family.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from orchestrator.cell.strict import Strict
from orchestrator.errors import BuildError
from orchestrator.images.definitions import Architecture
from orchestrator.system.gpus import Capability

LABEL = "rosetta.machine-code"
SCRIPT = Path(__file__).with_name("machine_code.py")
LARGEST_SCAN = 16 * 2**20
"""Bytes; PyTorch's image with all of CUDA takes 20,000."""

JETSON = {(3, 2), (5, 3), (6, 2), (7, 2), (8, 7), (10, 1), (11, 0)}
"""Machine code for one of these runs on no other GPU, and code for other GPUs does not run on these."""

NVIDIA = re.compile(
    r"lib(cu(blas|dart|dnn|fft|file|pti|rand|solver|sparse|tensor)|n(ccl|pp|vjpeg|vJitLink|vrtc|vshmem))", re.ASCII
)
ALWAYS_CALLED = re.compile(r"libcu(blas|dnn)", re.ASCII)

Architectures = Annotated[tuple[Architecture, ...], Field(max_length=3_000)]
Text = Annotated[str, StringConstraints(max_length=5_000)]


class FatBinaries(Strict):
    """A number of fat binaries that have machine code and PTX for the same architectures."""

    binaries: Architectures
    ptx: Architectures
    times: Annotated[int, Field(ge=1)]


class MachineCode(Strict):
    """The device code of one library, ``size`` in bytes."""

    fat_binaries: Annotated[tuple[FatBinaries, ...], Field(min_length=1, max_length=1_000)]
    size: Annotated[int, Field(ge=0)]

    @property
    def binaries(self) -> tuple[str, ...]:
        """All architectures with machine code, from old to new."""
        return arranged(name for each in self.fat_binaries for name in each.binaries)

    @property
    def ptx(self) -> tuple[str, ...]:
        """All architectures with PTX, from old to new."""
        return arranged(name for each in self.fat_binaries for name in each.ptx)

    @property
    def total(self) -> int:
        """How many fat binaries there are."""
        return sum(each.times for each in self.fat_binaries)


class Scan(Strict):
    """The script's findings in an image, by path: libraries with device code, and why others can't be read."""

    libraries: Annotated[dict[Text, MachineCode], Field(max_length=20_000)]
    unreadable: Annotated[dict[Text, Text], Field(max_length=20_000)]


class Support(StrEnum):
    """How well code runs on a GPU, from best to worst; with ``compiles`` the driver compiles it at the first start."""

    NATIVE = "native"
    COMPILES = "compiles"
    UNKNOWN = "unknown"
    MISSING = "missing"


@dataclass(frozen=True)
class Answer:
    """Whether an image runs on a GPU, and if not without compiling, why."""

    support: Support
    reason: str = ""


def parse(said: bytes) -> Scan:
    """Parse the script's output as the scan of an image; raises BuildError."""
    try:
        return Scan.model_validate_json(said, strict=True)
    except ValidationError:
        raise BuildError(
            "An image did not report what its libraries have machine code for.", said[:300].decode(errors="replace")
        ) from None


def scan_in(found: Mapping[str, Any]) -> Scan | None:
    """Return the scan in the labels of an image as the engine describes it; None if there is none or it is invalid."""
    said = ((found.get("Config") or {}).get("Labels") or {}).get(LABEL)
    try:
        return None if said is None else Scan.model_validate_json(said, strict=True)
    except ValidationError:
        return None


def arranged(architectures: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct architectures from old to new: 90, 90a, 100."""
    return tuple(sorted(set(architectures), key=lambda name: (capability_of(name), name)))


def capability_of(architecture: str) -> Capability:
    """Return the lowest compute capability of an architecture: "90a" → (9, 0)."""
    major, minor = divmod(int(architecture.rstrip("af")), 10)
    return major, minor


def loads(architecture: str, capability: Capability) -> bool:
    """Return whether machine code runs on a GPU: of its generation and no older; with "a" on exactly that capability.

    Code for a family, as 100f, runs as far as other code: on all of its generation but Jetson.
    """
    own = capability_of(architecture)
    if architecture.endswith("a") or own in JETSON or capability in JETSON:
        return own == capability
    return own[0] == capability[0] and own[1] <= capability[1]


def compiles(architecture: str, capability: Capability) -> bool:
    """Return whether the driver can compile PTX for a GPU: same or newer; with "a" and "f" as for machine code."""
    if architecture.endswith(("a", "f")):
        return loads(architecture, capability)
    return capability_of(architecture) <= capability


def runs_on(scan: Scan, capability: Capability) -> Answer:
    """Return whether an image runs on a GPU: as well as the worst of the libraries that it needs.

    These are the framework's main one, cuBLAS and cuDNN. The main one is the one with the most device code that is not
    NVIDIA's; if one of these can't be read, the answer is unknown. Beside it are small ones with operations that no
    workload here calls, such as linear algebra, which in PyTorch 2.13 has nothing for T4. NVIDIA's others, such as NCCL
    and cuSPARSE, are not called either, and cuFFT links its kernels at run time: those read here are others.

    Kernels compiled while a workload runs, as by CuPy, XLA and Triton, are in no library. For these the image's
    compiler must know the GPU, which can't be seen here: NVRTC of CUDA 8 knows none after Pascal.
    """
    libraries = scan.libraries
    own = {path: code.size for path, code in libraries.items() if not NVIDIA.match(name_of(path))}
    main = max(own, key=lambda path: (own[path], path), default=None)
    needed = [path for path in libraries if path == main or ALWAYS_CALLED.match(name_of(path))]
    answers = [support_of(path, libraries[path], capability) for path in needed]
    unread = [path for path in scan.unreadable if ALWAYS_CALLED.match(name_of(path)) or not NVIDIA.match(name_of(path))]
    if unread or main is None:
        why = "; ".join(f"{name_of(path)} can't be read: {scan.unreadable[path]}" for path in unread[:3])
        answers.append(Answer(Support.UNKNOWN, why or "no library of the framework's own has device code"))
    return worst(*answers)


def worst(*answers: Answer) -> Answer:
    """Return the worst of several answers."""
    return max(answers, key=lambda answer: list(Support).index(answer.support))


def support_of_list(name: str, architectures: tuple[str, ...], ptx: tuple[str, ...], capability: Capability) -> Answer:
    """Return how well code declared for these architectures runs on a GPU; reasons call it ``name``."""
    code = MachineCode(fat_binaries=(FatBinaries(binaries=architectures, ptx=ptx, times=1),), size=0)
    return support_of(name, code, capability)


def support_of(path: str, code: MachineCode, capability: Capability) -> Answer:
    """Return how well one library runs on a GPU.

    cuBLAS and cuDNN choose among kernels, many of them for one generation only: any will do. A framework's own are
    compiled with the same options, except for a few and those of libraries linked into it: most must be there.
    """
    native = count(code, capability, ptx=False)
    usable = count(code, capability, ptx=True)
    enough = 1 if ALWAYS_CALLED.match(name_of(path)) else code.total // 2 + 1
    if native >= enough:
        return Answer(Support.NATIVE)
    support = Support.COMPILES if usable >= enough else Support.MISSING
    return Answer(support, reason(path, code, capability, native, usable, support))


def count(code: MachineCode, capability: Capability, *, ptx: bool) -> int:
    """Count the fat binaries with machine code for a GPU or, with ``ptx``, PTX that the driver can compile for it."""
    return sum(
        each.times
        for each in code.fat_binaries
        if any(loads(name, capability) for name in each.binaries)
        or (ptx and any(compiles(name, capability) for name in each.ptx))
    )


def reason(path: str, code: MachineCode, capability: Capability, native: int, usable: int, support: Support) -> str:
    """Return a readable reason: "no machine code for sm_100 in libtensorflow_cc.so.2 (has 80, 89, 90; PTX 90): …"."""
    there = ", ".join(code.binaries) or "none"
    has = f"(has {there}; PTX {', '.join(code.ptx)})" if code.ptx else f"(has {there})"
    found = usable if support is Support.MISSING else native
    part = f" in {code.total - found:,} of {code.total:,} parts of" if found else " in"
    what = "neither machine code nor PTX" if support is Support.MISSING and code.ptx else "no machine code"
    end = ": the driver compiles it at the first start" if support is Support.COMPILES else ""
    return f"{what} for sm_{capability[0]}{capability[1]}{part} {name_of(path)} {has}{end}"


def name_of(path: str) -> str:
    """The file's name, as a table takes it."""
    return "".join(letter for letter in path.rsplit("/", 1)[-1] if letter.isprintable())[:80]
