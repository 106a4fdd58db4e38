"""Kernels that are compiled on the machine that needs them: before the clock of a cell, once, and kept.

A library has machine code for some GPUs. For others NVIDIA's driver compiles its PTX when a kernel is first called, and
CuPy compiles most of its kernels in any case: minutes, which belong to no library's seconds. Where there is a folder to
keep them in, the entry point first runs the same script for two batches, in a process of its own, unless a marker in
the folder tells that it was done. The folder belongs to one image, model of card and driver.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time

from harness import workers

FOLDER = "CUDA_CACHE_PATH"  # the driver's own name for it
FILLING, SECONDS = "ROSETTA_FILLING_KERNELS", "ROSETTA_KERNELS_SECONDS"

LARGEST = 2**31
"""Bytes that the driver keeps; its own default, 256 MiB before CUDA 12, is less than what TensorFlow has it compile."""

BATCHES = 2


def fill(asked, params):
    """Compile what a cell will need, unless that was done or there is no folder to keep it in.

    ``asked`` are the cell's arguments, ``params`` its workload's entry of params.json. The seconds that it took are
    kept for ``seconds``. A run that fails fills nothing: the cell itself will fail, and say why.
    """
    folder = os.environ.get(FOLDER)
    if not folder or not asked.gpus or workers.rank():
        return
    os.environ.setdefault("CUDA_CACHE_MAXSIZE", str(LARGEST))
    os.environ.setdefault("CUPY_CACHE_DIR", os.path.join(folder, "cupy"))
    if FILLING in os.environ or asked.parity:  # the proof on a card is not timed, and fills the folder as it goes
        return
    words = command_line(asked, params)
    marker = os.path.join(folder, "filled-" + hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16])
    if os.path.exists(marker):
        os.environ[SECONDS] = "0.0"
        return
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="rosetta-kernels-") as results:
        variables = dict(os.environ, ROSETTA_RESULTS=results, **{FILLING: "1"})
        command = [sys.executable, "-m", "harness"] + words
        code = subprocess.call(command, env=variables, stdout=subprocess.DEVNULL)
    if code == 0:
        open(marker, "w").close()
    os.environ[SECONDS] = repr(time.perf_counter() - started)


def command_line(asked, params):
    """The arguments of the run that fills: the cell's, but short, and on drawn data, which has the same shapes."""
    samples = BATCHES * params["batch_size"] * asked.workers
    data = "synthetic" if params["dataset"] else asked.data
    words = [asked.library, asked.workload, "--epochs", "1", "--samples", str(samples), "--data", data]
    return words + ["--precision", asked.precision, "--variant", asked.variant, "--gpus", str(asked.gpus)]


def seconds():
    """The phase ``kernels``, for a document: nothing where no folder was filled or looked into."""
    return {"kernels": float(os.environ[SECONDS])} if SECONDS in os.environ else {}
