"""What rows say of installations that are not ours, and which of it makes them slow: rules for ``causes.py``.

A row of the platform ``own`` carries what its installation said of itself: images/installation.py. Rows of our own
images carry nothing of the kind, so each rule tells by one side alone, or by both where two installations are compared.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Rule = Callable[[Row, Row], str | None]

SLOW_VARIABLES: Sequence[tuple[str, str, str]] = (
    ("CUDA_LAUNCH_BLOCKING", r"1", "every kernel launch blocks"),
    ("CUDA_VISIBLE_DEVICES", r"|-1|none", "no card is visible"),
    ("NVIDIA_TF32_OVERRIDE", r"0", "TF32 is off"),
    ("TF_ENABLE_ONEDNN_OPTS", r"0", "oneDNN is off"),
    ("TF_CPP_MAX_VLOG_LEVEL", r"[1-9]\d*", "debug messages are written"),
    ("TF_XLA_FLAGS", r".*(dump|disable).*", "XLA's debug switches are on"),
    ("XLA_FLAGS", r".*(dump_to|multi_thread_eigen=false|optimization_level=0).*", "XLA's switches are for debugging"),
    ("JAX_DISABLE_JIT", r"1|[Tt]rue", "nothing is compiled"),
    ("JAX_DEBUG_NANS", r"1|[Tt]rue", "every result is checked for NaNs"),
    ("TORCH_SHOW_CPP_STACKTRACES", r"1", "errors are traced"),
    ("TORCH_USE_CUDA_DSA", r"1", "kernels check themselves"),
    ("PYTORCH_NO_CUDA_MEMORY_CACHING", r".+", "memory is never kept"),
    ("PYTORCH_JIT", r"0", "nothing is compiled"),
    ("MKL_DEBUG_CPU_TYPE", r".+", "MKL takes the CPU for another"),
    ("MKL_CBWR", r"(?!AUTO).+", "MKL gives the same bits on every CPU"),
    ("ATEN_CPU_CAPABILITY", r"default|avx2", "PyTorch's own kernels use older instructions"),
    ("ONEDNN_MAX_CPU_ISA", r".+", "oneDNN uses older instructions"),
    ("DNNL_MAX_CPU_ISA", r".+", "oneDNN uses older instructions"),
    ("ONEDNN_VERBOSE", r"[1-9]", "oneDNN writes about every call"),
    ("DNNL_VERBOSE", r"[1-9]", "oneDNN writes about every call"),
    ("CUBLAS_WORKSPACE_CONFIG", r".+", "cuBLAS has little memory to work in"),
    ("KMP_AFFINITY", r"disabled", "threads move from core to core"),
)
"""Variables, the values that cost time, and what they do; by the documentation of NVIDIA, Intel, XLA and PyTorch."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
"""Variables that limit the threads."""

BLAS_OF_OURS: Mapping[str, str] = {"torch": "mkl"}
"""The BLAS in our images' own builds, by module, where the builds of others differ."""

TELLING = re.compile(
    r"torch|triton|tensorflow(-cpu|-gpu|-intel)?|tf-nightly.*|keras|jax|jaxlib|flax|optax|numpy|mkl|intel-openmp"
    r"|.*openblas.*|.*cudnn.*|.*cublas.*"
    r"|.*cuda.*|mxnet.*|cupy.*|chainer|paddlepaddle.*|onednn.*|ml-dtypes|conda:.*(blas|mkl|cuda|cudnn|openmp).*"
)
"""Packages whose version may affect speed."""

MOST_PACKAGES = 6
"""Packages named as different; the rest are counted."""


def told(row: Row) -> Mapping[str, Any]:
    """Return what a row's installation reported; empty for ours, and for whatever else others' files contain."""
    try:
        found = json.loads(row.get("installation") or "{}")
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def table(row: Row, name: str) -> dict[str, str]:
    """Return one of the reported tables: ``packages`` or ``variables``."""
    found = told(row).get(name)
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def count(row: Row, name: str) -> int | None:
    """Return one of the reported counts; None if it is missing or no integer."""
    found = told(row).get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def cpu_build(ours: Row, theirs: Row) -> str | None:
    """The library was built without CUDA, and the machine has a GPU."""
    if not count(ours, "machine_cards") or told(ours).get("cuda"):
        return None
    return f"a CPU-only build, although the machine has a GPU: {told(ours).get('module')} was built without CUDA"


def unused_card(ours: Row, theirs: Row) -> str | None:
    """The library was built for CUDA, and sees no GPU."""
    if not count(ours, "machine_cards") or not told(ours).get("cuda") or count(ours, "cards") != 0:
        return None
    why = told(ours).get("no_card_because") or "the driver is too old for it, or hides the card"
    return f"built for CUDA {told(ours)['cuda']}, but it sees no GPU: {why}"


def foreign_card(ours: Row, theirs: Row) -> str | None:
    """The library has no machine code for this GPU: what it has is compiled or emulated."""
    built, capability = told(ours).get("architectures"), ours.get("capability")
    if not isinstance(built, list) or not built or not capability:
        return None
    wanted = f"sm_{capability.replace('.', '')}"
    same = [name for name in map(str, built) if name.startswith(wanted[:-1]) and name <= wanted]
    return None if same else f"no machine code for this card ({wanted}): built for {', '.join(map(str, built))[:120]}"


def switched(ours: Row, theirs: Row) -> str | None:
    """Debug switches of the library are on."""
    switches = told(ours).get("switches")
    return f"switched on: {', '.join(map(str, switches))}" if isinstance(switches, list) and switches else None


def slow_variable(name: str, pattern: str, what: str) -> Rule:
    """Return a rule: a variable has a value that costs time, and another one on the other side."""

    def rule(ours: Row, theirs: Row) -> str | None:
        value = table(ours, "variables").get(name)
        if (
            value is None
            or not re.fullmatch(pattern, value, re.IGNORECASE)
            or table(theirs, "variables").get(name) == value
        ):
            return None
        if name == "NVIDIA_TF32_OVERRIDE" and ours["precision"] != "tf32":
            return None
        return f"{what}: {name}={value}"

    return rule


def no_onednn(ours: Row, theirs: Row) -> str | None:
    """On a CPU without oneDNN: not built in, or switched off."""
    if ours["gpu"] != "none" or told(ours).get("onednn") is not False or told(theirs).get("onednn") is False:
        return None
    return f"no oneDNN: {told(ours).get('module')} was built without it, or it is switched off"


def few_threads(ours: Row, theirs: Row) -> str | None:
    """On a CPU with fewer threads than cores; which variable says so, if one does."""
    threads, cores = count(ours, "threads"), count(ours, "cores")
    if ours["gpu"] != "none" or threads is None or cores is None or threads >= cores:
        return None
    if told(theirs).get("threads") == threads and told(theirs).get("cores") == cores:
        return None
    set_by = [f"{name}={value}" for name in THREADS if (value := table(ours, "variables").get(name))]
    return f"{threads} thread{'s' if threads != 1 else ''} on {cores} cores" + (
        f": {', '.join(set_by)}" if set_by else ""
    )


def old_instructions(ours: Row, theirs: Row) -> str | None:
    """PyTorch's own kernels are those that run on any CPU, without vector instructions."""
    found = told(ours).get("instructions")
    if found not in ("DEFAULT", "NO AVX") or told(theirs).get("instructions") == found or ours["gpu"] != "none":
        return None
    return f"no vector instructions: PyTorch says its kernels are {found}"


def another_blas(ours: Row, theirs: Row) -> str | None:
    """Another library for matrix products than the baseline has, or our image would have."""
    mine, module = told(ours).get("blas"), told(ours).get("module")
    other = told(theirs).get("blas") or (BLAS_OF_OURS.get(str(module)) if not told(theirs) else None)
    if not mine or not other or ours["gpu"] != "none" or mine.lower() == other.lower():
        return None
    return f"another BLAS: {mine}, the baseline {other}"


def other_packages(ours: Row, theirs: Row) -> str | None:
    """Two installations with different packages, of those that matter."""
    mine, other = table(ours, "packages"), table(theirs, "packages")
    if not mine or not other:
        return None
    library = str(told(ours).get("module"))
    names = sorted(
        (name for name in {*mine, *other} if TELLING.fullmatch(name) and mine.get(name) != other.get(name)),
        key=lambda name: (not name.startswith(library), name),
    )
    if not names:
        return None
    shown = [f"{name} {mine.get(name, '–')}, the baseline {other.get(name, '–')}" for name in names[:MOST_PACKAGES]]
    more = f"; and {len(names) - MOST_PACKAGES} more" if len(names) > MOST_PACKAGES else ""
    return f"other packages: {'; '.join(shown)}{more}"


RULES: Sequence[Rule] = (
    cpu_build,
    unused_card,
    foreign_card,
    switched,
    no_onednn,
    *(slow_variable(*entry) for entry in SLOW_VARIABLES),
    few_threads,
    old_instructions,
    another_blas,
    other_packages,
)
"""The likeliest first; what makes the greatest difference comes before what makes less."""
