"""Run by an interpreter that is not ours: prints as JSON what is installed there. Python 3.6 and nothing else.

Without an argument: the interpreter, its packages, and which of our libraries' modules it can find. With the name of a
module: that module is imported, and says how it was built and what it would compute with. Each module is asked by a
process of its own, since one that crashes must not take the others with it.

Nothing is written: neither here nor, run with ``-B``, anywhere else.
"""

import importlib
import importlib.util
import json
import os
import platform
import re
import sys
from typing import Any, Callable, Dict, List, Optional, TextIO

MODULES = (
    "caffe2", "chainer", "cntk", "flax", "jax", "keras", "lasagne", "mxnet", "numpy", "optax", "paddle", "tensorflow",
    "theano", "torch",
)  # fmt: skip

VARIABLES = re.compile(
    "(?!TF_(CLI|VAR|LOG)_|.*(KEY|TOKEN|SECRET|PASSW|CREDENTIAL))"
    "(ATEN|BLIS|CUBLAS|CUDA|CUDNN|DNNL|GOMP|GOTO|JAX|KERAS|KMP|MALLOC|MKL|MXNET|NCCL|NUMEXPR|NVIDIA|OMP|ONEDNN|OPENBLAS"
    "|PYTORCH|TF|THEANO|TORCH|TRITON|XLA|FLAGS|LD)_[A-Z0-9_]+$"
)
"""Variables that make libraries faster or slower and are no secrets; some of Terraform's begin like TensorFlow's."""

LONGEST = 400
MOST_PACKAGES = 5000


def told(ask: Callable[..., Any], *about: Any) -> Any:
    """Return a call's result; None if it fails, as in versions that lack it."""
    try:
        return ask(*about)
    except Exception:
        return None


def text(value: Any) -> Optional[str]:
    """A value as text of bounded length, bytes of a path that are no UTF-8 in hexadecimal."""
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode("utf-8")[:LONGEST]


def packages() -> Dict[str, str]:
    """Return the versions of all packages on the path, and of conda's packages, which need not be Python's."""
    found: Dict[str, str] = {}
    for folder in sys.path:
        for name in sorted(told(os.listdir, folder or ".") or []):
            if name.endswith((".dist-info", ".egg-info")) and len(found) < MOST_PACKAGES:
                parts = name.rsplit(".", 1)[0].split("-")
                metadata = headers(os.path.join(folder, name)) or parts
                if len(metadata) > 1 and metadata[0]:  # whatever comes first on the path is what is imported
                    found.setdefault(re.sub("[-_.]+", "-", metadata[0]).lower()[:LONGEST], metadata[1][:LONGEST])
    for name in sorted(told(os.listdir, os.path.join(sys.prefix, "conda-meta")) or []):
        parts = name.rsplit("-", 2)
        if name.endswith(".json") and len(parts) == 3 and len(found) < MOST_PACKAGES:
            found["conda:" + parts[0][:LONGEST]] = parts[1][:LONGEST]
    return found


def headers(folder: str) -> List[str]:
    """Name and version of a package from its metadata; empty if there are none."""
    for path in (os.path.join(folder, "METADATA"), os.path.join(folder, "PKG-INFO"), folder):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                head = file.read(4096)
        except OSError:
            continue
        fields = [re.search(r"^%s:\s*(\S+)" % name, head, re.M) for name in ("Name", "Version")]
        return [field.group(1) for field in fields if field]
    return []


def installed() -> Dict[str, Any]:
    """The interpreter and what it can find."""
    modules = {}
    for name in MODULES:
        spec = told(importlib.util.find_spec, name)
        if spec is not None and (spec.origin or spec.submodule_search_locations):
            modules[name] = text(spec.origin or list(spec.submodule_search_locations)[0])
    return {
        "python": platform.python_version(),
        "executable": text(sys.executable),
        "prefix": text(sys.prefix),
        "cores": len(os.sched_getaffinity(0)),
        "modules": modules,
        "packages": packages(),
        "variables": {k: text(v) for k, v in sorted(os.environ.items()) if VARIABLES.match(k)},
    }


# --- What each library says of itself -------------------------------------------------------------------------------
def of_torch(torch: Any) -> Dict[str, Any]:
    """PyTorch: oneDNN may be built in but switched off, which is read by a name that older versions lack."""
    config = told(lambda: torch.__config__.show()) or ""
    blas = re.search(r"BLAS_INFO=(\w+)", config)
    built = told(lambda: torch.backends.mkldnn.is_available())
    enabled = told(lambda: torch._C._get_mkldnn_enabled())
    cards = told(lambda: torch.cuda.device_count() if torch.cuda.is_available() else 0)
    switches = {
        "anomaly detection": told(lambda: torch.is_anomaly_enabled()),
        "deterministic algorithms": told(lambda: torch.are_deterministic_algorithms_enabled()),
        "cuDNN switched off": told(lambda: not torch.backends.cudnn.enabled),
        "double precision by default": told(lambda: torch.get_default_dtype() is torch.float64),
    }
    return {
        "cuda": told(lambda: torch.version.cuda) or told(lambda: torch.version.hip),
        "cudnn": told(lambda: torch.backends.cudnn.version()),
        "onednn": None if built is None else bool(built and enabled is not False),
        "blas": blas.group(1) if blas else None,
        "threads": told(lambda: torch.get_num_threads()),
        "instructions": told(lambda: torch.backends.cpu.get_cpu_capability()),
        "cards": cards,
        "device": told(lambda: torch.cuda.get_device_name()) if cards else None,
        "architectures": told(lambda: torch.cuda.get_arch_list()) or [],
        "no_card_because": None if cards else told(lambda: complaint(torch.cuda.init)),
        "switches": [name for name, on in switches.items() if on],
    }


def of_tensorflow(tf: Any) -> Dict[str, Any]:
    """TensorFlow 1 and 2."""
    build = told(lambda: dict(tf.sysconfig.get_build_info())) or {}
    gpus = told(lambda: tf.config.list_physical_devices("GPU"))
    threads = told(lambda: tf.config.threading.get_intra_op_parallelism_threads())
    asked = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    switches = {
        "functions run eagerly": told(lambda: tf.config.functions_run_eagerly()),
        "numerics checked": told(lambda: tf.debugging.experimental.is_check_numerics_enabled()),
        "deterministic operations": told(lambda: tf.config.experimental.is_op_determinism_enabled()),
    }
    return {
        "cuda": build.get("cuda_version") or ("yes" if told(lambda: tf.test.is_built_with_cuda()) else None),
        "cudnn": build.get("cudnn_version"),
        # it uses oneDNN only on newer CPUs: not using it is no fault; a variable shows if it was switched off
        "onednn": told(onednn_of_tensorflow) or None,
        "threads": threads or (int(asked) if asked.isdigit() and int(asked) else len(os.sched_getaffinity(0))),
        "cards": None if gpus is None else len(gpus),
        "device": told(lambda: tf.config.experimental.get_device_details(gpus[0])["device_name"]) if gpus else None,
        "switches": [name for name, on in switches.items() if on],
    }


def onednn_of_tensorflow() -> bool:
    """Whether TensorFlow uses oneDNN, by a private name: there is no public one."""
    port = importlib.import_module("tensorflow.python.util._pywrap_util_port")
    return bool(port.IsMklEnabled())


def of_jax(jax: Any) -> Dict[str, Any]:
    """JAX on whatever XLA has chosen; its threads are XLA's own, and a variable can take them away."""
    versions = told(lambda: importlib.import_module("jax._src.lib").cuda_versions)
    cards = told(lambda: [device for device in jax.devices() if device.platform == "gpu"])
    flags = os.environ.get("XLA_FLAGS", "")
    switches = {
        "compilation switched off (jax_disable_jit)": told(lambda: jax.config.jax_disable_jit),
        "searching for NaNs (jax_debug_nans)": told(lambda: jax.config.jax_debug_nans),
        "double precision allowed (jax_enable_x64)": told(lambda: jax.config.jax_enable_x64),
    }
    single = "xla_cpu_multi_thread_eigen=false" in flags
    return {
        "cuda": told(lambda: versions.cuda_runtime_get_version()),
        "cudnn": told(lambda: versions.cudnn_get_version()),
        "threads": 1 if single else len(os.sched_getaffinity(0)),
        "cards": None if cards is None else len(cards),
        "device": cards[0].device_kind if cards else None,
        "switches": [name for name, on in switches.items() if on],
    }


def of_mxnet(mxnet: Any) -> Dict[str, Any]:
    """MXNet, which lists what it was built with since 1.5."""
    features = told(lambda: mxnet.runtime.Features())

    def has(name: str) -> bool:
        return bool(told(lambda: features.is_enabled(name)))

    blas = [name for name in ("MKL", "OPEN", "ATLAS", "APPLE") if has("BLAS_" + name)]
    return {
        "cuda": "yes" if has("CUDA") else None,
        "cudnn": "yes" if has("CUDNN") else None,
        "onednn": (has("MKLDNN") or has("ONEDNN")) if features else None,
        "blas": blas[0].lower() if blas else None,
        "cards": told(lambda: mxnet.context.num_gpus()),
    }


def of_paddle(paddle: Any) -> Dict[str, Any]:
    """PaddlePaddle says "False" where there is none."""
    cuda, cudnn = told(lambda: paddle.version.cuda()), told(lambda: paddle.version.cudnn())
    return {
        "cuda": cuda if cuda not in (None, False, "False") else None,
        "cudnn": cudnn if cudnn not in (None, False, "False") else None,
        "cards": told(lambda: paddle.device.cuda.device_count()),
    }


def of_chainer(chainer: Any) -> Dict[str, Any]:
    """Chainer, which computes by NumPy and CuPy."""
    cuda = chainer.backends.cuda
    return {
        "cuda": told(lambda: str(cuda.cupy.cuda.runtime.runtimeGetVersion())) if cuda.available else None,
        "cudnn": told(lambda: str(cuda.cupy.cuda.cudnn.getVersion())) if cuda.cudnn_enabled else None,
        "blas": of_numpy(importlib.import_module("numpy")).get("blas"),
        "cards": told(lambda: cuda.cupy.cuda.runtime.getDeviceCount()) if cuda.available else 0,
        "switches": ["debug mode"] if chainer.is_debug() else [],
    }


def of_numpy(numpy: Any) -> Dict[str, Any]:
    """NumPy's own BLAS; versions before 1.25 don't report it in a machine-readable form."""
    return {"blas": told(lambda: numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])}


ASKED = {
    "torch": of_torch,
    "tensorflow": of_tensorflow,
    "jax": of_jax,
    "mxnet": of_mxnet,
    "paddle": of_paddle,
    "chainer": of_chainer,
    "numpy": of_numpy,
}


def complaint(call: Callable[[], Any]) -> Optional[str]:
    """Return the error of a call in one line; None if it succeeds."""
    try:
        call()
    except BaseException as error:
        return ("%s: %s" % (type(error).__name__, error)).replace("\n", " ")[:LONGEST]
    return None


def imported(name: str) -> Dict[str, Any]:
    """Return a module's report on itself, or why it can't be imported."""
    error = complaint(lambda: importlib.import_module(name))
    if error is not None:
        return {"module": name, "error": error}
    module = sys.modules[name]
    facts = told(lambda: ASKED[name](module)) or {}
    for key in ("cuda", "cudnn", "blas", "device", "instructions", "no_card_because"):
        facts[key] = text(facts.get(key))
    version = told(lambda: module.__version__)
    return dict(facts, module=name, version=text(version), file=text(getattr(module, "__file__", None)))


def main(words: List[str], answer: TextIO) -> None:
    """Write the answer to what was asked, as a line of its own."""
    answer.write("\n")
    json.dump(imported(words[0]) if words else installed(), answer)
    answer.write("\n")
    answer.flush()


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print banners while they are imported
    main(sys.argv[1:], own)
    os._exit(0)  # some of them hang at exit
