"""What a cell ran on, as seen from inside it."""

import os
import platform
import re
import resource
import sys

import numpy as np

from harness import cores
from harness.nvml import Nvml, NvmlError


def first_match(path, pattern):
    """The first group of ``pattern`` in a file, or None if either is missing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # some boards' names are odd bytes
            found = re.search(pattern, file.read())
    except OSError:
        return None
    return found.group(1).strip() if found else None


def gpus():
    """Name, UUID and driver of every GPU that the driver shows here, as a list of dicts."""
    try:
        nvml = Nvml()
        driver, devices = nvml.driver(), nvml.devices()
    except NvmlError:
        return []
    return [{"name": gpu.name, "uuid": gpu.uuid, "driver": driver} for gpu in devices if gpu.parent is None]


def processor(cpuinfo="/proc/cpuinfo"):
    """The CPU's name; with its family and model where a virtual machine tells no more than "AMD EPYC"."""
    name = first_match(cpuinfo, r"model name\s*:\s*(.+)") or platform.processor()
    family, model = (first_match(cpuinfo, r"(?m)^{}\s*:\s*(\d+)".format(key)) for key in ("cpu family", "model"))
    if family is None or model is None or re.search(r"\d", name.partition("@")[0]):
        return name
    return "{} (family {}, model {})".format(name, family, model)


def describe(cards=None):
    """Operating system, Python, NumPy, CPU, cores this process may use, memory (bytes) and GPUs: ``cards``, or all."""
    return {
        "os": first_match("/etc/os-release", r'PRETTY_NAME="?([^"\n]+)') or platform.platform(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": processor(),
        "cores": cores.count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpus() if cards is None else cards,
    }


def container_memory():
    """Most memory that this container ever held, its cached files included, in bytes; None if nobody tells."""
    if not os.path.exists("/.dockerenv"):
        return None
    version_2, version_1 = "/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"
    told = first_match(version_2, r"(\d+)") or first_match(version_1, r"(\d+)")
    return int(told) if told else None


def peak_memory():
    """Largest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
