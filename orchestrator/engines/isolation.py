"""The isolation options of our containers, and the requests for their GPUs.

Docker's SDK is imported in the functions: Podman's service needs only the limits, and starts before the SDK is loaded.
"""

import resource
from collections.abc import Mapping, Sequence
from typing import Any

USER = "10001:10001"
RESULTS = "/results"
LARGEST_FILE = 2**29
"""Most bytes of one file of a cell: enough for checkpoints that some libraries write to /tmp, not to fill a disk."""

TMP = 2 * 2**30
"""Bytes of /tmp, where Theano compiles and runs."""

MOST_PROCESSES = 2048
"""Most processes of one cell, threads included."""

SHARED_MEMORY, BATCHES = 2**30, 2**26
"""Bytes of /dev/shm: for libraries such as NCCL, and for each GPU's batches of DenseNet-121.

A batch of 64 images of 224 × 224 has 3.2 MB; each GPU has at most 8 in preparation and 2 in use, 32 MB.
"""

VENDOR = "nvidia.com/gpu="
"""The prefix of NVIDIA's devices where an engine knows GPUs only by the Container Device Interface (CDI)."""


def within(name: str, wanted: int) -> int:
    """Return a kernel limit ("nproc", "fsize", "data") as wanted, or this user's hard limit, which nobody may raise."""
    _, most = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


def isolation(memory: int, workers: int = 1) -> dict[str, Any]:
    """Return the host options that isolate a cell; ``memory`` in bytes, ``workers`` its number of GPUs or stand-ins."""
    from docker.types import Ulimit

    return {
        "network_mode": "none",
        "dns": ["127.0.0.1"],  # else the engine writes the host's nameservers and domain into /etc/resolv.conf
        "dns_search": ["."],
        "read_only": True,
        "tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,size={TMP}"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": MOST_PROCESSES,
        "ulimits": [Ulimit(name="fsize", soft=LARGEST_FILE, hard=LARGEST_FILE)],
        "shm_size": SHARED_MEMORY + workers * BATCHES,
        "init": True,
        "log_config": {"type": "none"},  # the attached stream is the log; nothing can fill the host's disk
    }


def gpu_request(gpus: Sequence[str] | None, cdi: bool) -> dict[str, Any]:
    """Return a request for GPUs by UUID, or for all of them if None; by their CDI names if ``cdi``."""
    from docker.types import DeviceRequest

    if cdi:
        names = [f"{VENDOR}{gpu}" for gpu in gpus or ["all"]]
        return {"device_requests": [DeviceRequest(driver="cdi", device_ids=names)]}
    chosen = {"count": -1} if gpus is None else {"device_ids": list(gpus)}
    return {"device_requests": [DeviceRequest(**chosen, capabilities=[["gpu"]])]}


def odd_volumes(config: Mapping[str, Any]) -> str:
    """Return what is wrong with an image that declares volumes; empty if nothing is.

    An engine makes each of them a writable folder on its own disk, without a limit.
    """
    odd = sorted(set(config.get("Volumes") or {}) - {RESULTS})
    return f"declares writable volumes: {', '.join(odd)[:200]}" if odd else ""
