"""In which precision a cell computes: set for every operator of its library, and read back from it.

Since Ampere, cuBLAS and cuDNN round float32 to TF32, with 10 bits of mantissa, wherever they are let, and so do the
kernels that XLA makes itself. What lets them differs from library to library and from version to version, so each run
says what was in force: ``fp32``, ``tf32``, ``amp-fp16`` or ``amp-bf16``, or what is mixed, say ``conv tf32, matmul
fp32``. Each function below sets a library's float32 to what was asked, and returns a function that reads it back.
"""

import os

OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""At 0, cuBLAS, cuDNN and NVIDIA's other libraries never take TF32, whatever they are asked; read when they start."""

HALVES = {"float16": "amp-fp16", "bfloat16": "amp-bf16"}


def prepare(precision):
    """Have NVIDIA's libraries refuse TF32 unless it is what is measured; to be called before any of them is loaded."""
    if precision == "tf32":
        os.environ.pop(OVERRIDE, None)
    else:
        os.environ[OVERRIDE] = "0"


def named(float32, layers="float32"):
    """The name of a precision.

    ``float32`` says for each kind of operator what it makes of float32, "fp32" or "tf32"; ``layers`` is the type that
    layers compute in, by its NumPy name.
    """
    kinds = set(float32.values())
    rest = kinds.pop() if len(kinds) == 1 else ", ".join("%s %s" % pair for pair in sorted(float32.items()))
    half = HALVES.get(layers)
    if half is None:
        return rest
    return half if rest == "fp32" else "%s, float32 as %s" % (half, rest)


def of_driver(gpus):
    """The reader for libraries that have no setting of their own: what NVIDIA's libraries were told.

    None where they were told nothing, and may do as they like. Without a GPU, float32 is float32.
    """
    return lambda: "fp32" if not gpus or os.environ.get(OVERRIDE) == "0" else None


def torch(precision, layers=None):
    """PyTorch's; ``layers`` is an autocast, or a policy of Keras on it.

    The setting for all, ``torch.backends.fp32_precision``, is not enough: up to 2.10 cuDNN's operators keep tf32.
    Before 2.9 there were two switches, one for cuDNN and one for matrix products.
    """
    from torch import backends, get_autocast_dtype, is_autocast_enabled

    if hasattr(backends.cudnn, "conv"):
        operators = {"conv": backends.cudnn.conv, "rnn": backends.cudnn.rnn, "matmul": backends.cuda.matmul}
        setting, values = "fp32_precision", {"fp32": "ieee", "tf32": "tf32"}
    else:
        operators = {"cudnn": backends.cudnn, "matmul": backends.cuda.matmul}
        setting, values = "allow_tf32", {"fp32": False, "tf32": True}
    names = {value: name for name, value in values.items()}
    for operator in operators.values():
        setattr(operator, setting, values["tf32" if precision == "tf32" else "fp32"])

    def computed_in():
        if not hasattr(layers, "device"):
            return policy_type(layers)
        with layers:
            enabled = is_autocast_enabled(layers.device)
            return str(get_autocast_dtype(layers.device)).replace("torch.", "") if enabled else "float32"

    def read():
        float32 = {kind: getattr(operator, setting) for kind, operator in operators.items()}
        return named({kind: names.get(value, value) for kind, value in float32.items()}, computed_in())

    return read


def tensorflow(precision, layers=None):
    """TensorFlow's, where TF32 is on by default; ``layers`` is a policy of Keras."""
    from tensorflow import config

    config.experimental.enable_tensor_float_32_execution(precision == "tf32")

    def read():
        allowed = config.experimental.tensor_float_32_execution_enabled()
        return named({"all": "tf32" if allowed else "fp32"}, policy_type(layers))

    return read


def jax(precision, layers=None):
    """JAX', where newer GPUs take TF32 unless told by name; ``layers`` is the type of its layers, or Keras' policy."""
    import jax as library
    import numpy as np

    names = {"float32": "fp32", "highest": "fp32", "tensorfloat32": "tf32", "high": "tf32"}
    library.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "float32")

    def read():
        told = library.config.jax_default_matmul_precision
        is_type = layers is not None and not hasattr(layers, "compute_dtype")
        return named({"all": names.get(told, str(told))}, np.dtype(layers).name if is_type else policy_type(layers))

    return read


def paddle(precision, layers=None):
    """PaddlePaddle's, which are on by default where it was built for GPUs, for cuDNN at least."""
    from paddle.base import core

    core.set_cublas_switch(precision == "tf32")
    core.set_cudnn_switch(precision == "tf32")

    def read():
        switches = {"matmul": core.get_cublas_switch(), "conv": core.get_cudnn_switch()}
        return named({name: "tf32" if allowed else "fp32" for name, allowed in switches.items()})

    return read


def policy_type(policy):
    """The type that layers compute in by a policy of Keras, as its NumPy name; float32 without one."""
    return str(getattr(policy, "compute_dtype", "float32"))
