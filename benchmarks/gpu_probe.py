"""Run inside an image: what its libraries want of NVIDIA's own, what they find, and what its framework says.

    python - symbols FOLDER [LIBRARY...]
    python - resolve FOLDER
    python - import FRAMEWORK

Python 3.6 and nothing else. Prints JSON, as its last line.
"""

import json
import mmap
import os
import re
import struct
import subprocess
import sys

DRIVER = {"libcuda.so.1": re.compile(r"cu[A-Z][A-Za-z0-9_]+$"), "libnvidia-ml.so.1": re.compile(r"nvml[A-Z]\w+$")}
OWN = re.compile(r"cu(?:blas|dnn|fft|rand|solver|sparse|File|Tensor|DNN|BLAS)", re.IGNORECASE)
ASKED = {
    "libcuda.so.1": [
        "cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuGetErrorName", "cuGetErrorString",
        "cuGetProcAddress", "cuCtxGetCurrent",
    ],
    "libnvidia-ml.so.1": ["nvmlInit", "nvmlInit_v2", "nvmlShutdown", "nvmlDeviceGetCount_v2", "nvmlErrorString"],
}  # fmt: skip
"""What is looked up by name at run time."""

STAGE = {
    "libcublas": r"cublas", "libcudart": r"(?:cuda[A-Z]|__cuda)", "libcudnn": r"cudnn", "libcufft": r"cufft",
    "libcurand": r"curand", "libcusolver": r"cusolver", "libcusparse": r"cusparse", "libnvrtc": r"nvrtc",
    "libnvToolsExt": r"nvtx",
}  # fmt: skip
"""How the functions of CUDA's libraries begin, by the library's name without ".so" and version."""

LOADED, DYNAMIC = 1, 2
NAMES, SYMBOLS, HASHES, GNU_HASHES = 5, 6, 4, 0x6FFFFEF5
UNDEFINED, ENTRY = 0, 24
"""Kinds of segments, tags of the dynamic one, and a symbol's section and size."""


def libraries(folder):
    """The paths of the files for the loader under a folder."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if ".so" in name and not os.path.islink(path):
                with open(path, "rb") as file:
                    if file.read(5) == b"\x7fELF\x02":
                        yield path


def undefined(data):
    """The names that a 64-bit little-endian ELF file expects others to define, found as the loader finds them.

    A packed file has no sections, which say the same. Those that others define come first, without a hash.
    """
    (offset,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, offset + size * number) for number in range(count)]

    def place_of(address):
        loaded = ((place, start, length) for kind, _, place, start, _, length in segments if kind == LOADED)
        return next(place + address - start for place, start, length in loaded if start <= address < start + length)

    for kind, _, place, _, _, length in segments:
        if kind == DYNAMIC:
            tags = dict(struct.unpack_from("<QQ", data, entry) for entry in range(place, place + length, 16))
            table, names = place_of(tags[SYMBOLS]), place_of(tags[NAMES])
            (end,) = struct.unpack_from("<I", data, place_of(tags.get(HASHES) or tags[GNU_HASHES]) + 4)
            for entry in range(table, table + end * ENTRY, ENTRY):
                name, _, _, section = struct.unpack_from("<IBBH", data, entry)
                if section == UNDEFINED and name:
                    yield data[names + name : data.find(b"\0", names + name)].decode()


def symbols(folder, *stage):
    """What the driver and the libraries of the ``stage`` are asked for, by library."""
    found = {library: set(names) for library, names in ASKED.items()}
    wanted = {library: re.compile(STAGE.get(library.split(".so")[0], "$")) for library in stage}
    found.update((library, set()) for library in wanted)
    for path in libraries(folder):
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for name in undefined(data):
                for library, pattern in DRIVER.items():
                    if pattern.match(name) and not OWN.match(name):
                        found[library].add(name)
                for library, pattern in wanted.items():
                    if pattern.match(name):
                        found[library].add(name)
    return {library: sorted(names) for library, names in found.items()}


def resolve(folder):
    """The files that the loader can't give all of their libraries, and which; ``files`` is how many were asked."""
    found, count = {}, 0
    for path in libraries(folder):
        count += 1
        done = subprocess.Popen(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = done.communicate()[0].decode(errors="replace")
        beside = os.listdir(os.path.dirname(path))  # a library in a package finds those that the package has loaded
        missing = sorted(set(re.findall(r"^\s*(\S+) => not found", said, re.MULTILINE)) - set(beside))
        if missing:
            found[os.path.relpath(path, folder)] = missing
    return dict(found, files=count)


def chainer():
    """Chainer over CuPy; its operations are CuPy's universal functions."""
    import chainer
    import cupy
    from chainer.backends import cuda

    kernels = [name for name in dir(cupy) if isinstance(getattr(cupy, name), cupy.ufunc)]
    precision = {"CuPy": cupy.__version__, "available": cuda.available, "cuDNN": cuda.cudnn_enabled}
    return chainer.__version__, precision, len(kernels)


def cntk():
    """CNTK; its operations are those of its Python."""
    import cntk

    return cntk.__version__, {"devices": len(cntk.device.all_devices())}, len(dir(cntk.ops))


def jax():
    """JAX; its operations are those that have a lowering."""
    import jax
    from jax._src.interpreters import mlir

    precision = {"default_matmul_precision": jax.config.jax_default_matmul_precision}
    return jax.__version__, precision, len(mlir._platform_specific_lowerings["cuda"]) + len(mlir._lowerings)


def mxnet():
    """MXNet; all registered operators."""
    import mxnet

    precision = {}
    if hasattr(mxnet, "runtime"):  # since 1.5
        features = mxnet.runtime.Features()
        precision = {name: features.is_enabled(name) for name in ("CUDA", "CUDNN", "NCCL")}
    operators = getattr(mxnet.operator, "get_all_registered_operators", lambda: dir(mxnet.nd.op))
    return mxnet.__version__, precision, len(operators())


def paddle():
    """PaddlePaddle; its operations are those with a kernel for GPUs."""
    import paddle

    precision = {"CUDA": paddle.version.cuda(), "cuDNN": paddle.get_cudnn_version()}
    kernels = paddle.base.core._get_all_register_op_kernels("phi")
    on_gpu = [name for name, keys in kernels.items() if any("GPU" in key for key in keys)]
    return paddle.__version__, precision, len(on_gpu)


def pytorch():
    """PyTorch, and before 1.1 the Caffe2 inside it; operators for CUDA, or all of Caffe2's."""
    import torch

    precision = {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
    backends = torch.backends
    if hasattr(backends, "fp32_precision"):
        forms = (("fp32_precision", backends), ("conv", backends.cudnn.conv), ("rnn", backends.cudnn.rnn))
        precision.update((name, part.fp32_precision) for name, part in forms)
        precision["matmul"] = backends.cuda.matmul.fp32_precision
        return torch.__version__, precision, len(torch._C._dispatch_get_registrations_for_dispatch_key("CUDA"))
    from caffe2.python import core

    return torch.__version__, precision, len(core._REGISTERED_OPERATORS)


def tensorflow():
    """TensorFlow 2; the kernels for GPUs."""
    import tensorflow as tf

    if hasattr(tf, "config"):
        built = dict(tf.sysconfig.get_build_info())
        precision = {"CUDA": built.get("cuda_version"), "cuDNN": built.get("cudnn_version")}
        precision["TF32"] = tf.config.experimental.tensor_float_32_execution_enabled()
    else:
        precision = {"CUDA": tf.test.is_built_with_cuda()}
    from tensorflow.python.framework import kernels

    found = kernels.get_all_registered_kernels().kernel
    return tf.__version__, precision, sum(each.device_type == "GPU" for each in found)


def tensorflow_2018():
    """TensorFlow 1; all operations, which tell no devices."""
    import tensorflow as tf
    from tensorflow.contrib.cudnn_rnn.python.layers.cudnn_rnn import CudnnGRU
    from tensorflow.python.framework import op_def_registry

    return (
        tf.__version__,
        {"CUDA": tf.test.is_built_with_cuda(), "GRU": CudnnGRU.__name__},
        len(op_def_registry.get_registered_ops()),
    )


def theano():
    """Theano over pygpu, which imports without a GPU; its cuDNN block has to be there."""
    import pygpu
    import theano
    from theano.gpuarray import dnn

    return theano.__version__, {"pygpu": pygpu.__version__, "GRU": dnn.RNNBlock.__name__}, 0


READERS = {
    "chainer-2018": chainer, "keras-jax": jax, "keras-r": tensorflow, "keras-torch": pytorch, "mxnet-2018": mxnet,
    "mxnet-r": mxnet, "pytorch-2018": pytorch, "tensorflow-2018": tensorflow_2018, "chainer": chainer, "cntk": cntk,
    "jax": jax, "mxnet": mxnet, "paddle": paddle, "pytorch": pytorch, "tensorflow": tensorflow, "theano": theano,
}  # fmt: skip


def imported(framework):
    """Version, precision flags and number of registered operations; ``error`` if it can't be had."""
    try:
        version, precision, operations = READERS[framework]()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:1500]}
    return {
        "version": version,
        "precision": {name: str(value) for name, value in precision.items()},
        "operations": operations,
    }


if __name__ == "__main__":
    task, subjects = sys.argv[1], sys.argv[2:]
    print("\n" + json.dumps({"symbols": symbols, "resolve": resolve, "import": imported}[task](*subjects)))
