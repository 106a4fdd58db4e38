"""What a container of ours is denied, and the GPUs that it is given."""

from collections.abc import Mapping, Sequence
from typing import Any

import docker

USER = "10001:10001"
RESULTS = "/results"
LARGEST_FILE = 2**29
"""Bytes of any one file of a cell: room for the checkpoints that some libraries write to /tmp, not for a full disk."""

SHARED_MEMORY, BATCHES = 2**30, 2**26
"""Bytes of /dev/shm: for the libraries themselves, say for NCCL, and for each GPU's batches of DenseNet-121.

A batch of 64 images of 224 × 224 has 3.2 MB; each GPU has at most 8 in preparation and 2 in use, 32 MB.
"""

VENDOR = "nvidia.com/gpu="
"""How NVIDIA's devices are called where an engine knows GPUs by the Container Device Interface alone."""


def isolation(memory: int, workers: int = 1) -> dict[str, Any]:
    """What every cell is denied; ``memory`` in bytes, ``workers`` the number of its GPUs or of what stands for them."""
    return {
        "network_mode": "none",
        "dns": ["127.0.0.1"],  # else the engine writes the host's nameservers and domain into /etc/resolv.conf
        "dns_search": ["."],
        "read_only": True,
        "tmpfs": {"/tmp": "rw,exec,nosuid,nodev,size=2g"},  # Theano compiles and runs there
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": 2048,
        "ulimits": [docker.types.Ulimit(name="fsize", soft=LARGEST_FILE, hard=LARGEST_FILE)],
        "shm_size": SHARED_MEMORY + workers * BATCHES,
        "init": True,
        "log_config": {"type": "none"},  # the attached stream is the log; nothing can fill the host's disk
    }


def gpu_request(gpus: Sequence[str] | None, cdi: bool) -> dict[str, Any]:
    """GPUs by UUID, or all of them; by their names of the Container Device Interface if ``cdi``."""
    if cdi:
        names = [f"{VENDOR}{gpu}" for gpu in gpus or ["all"]]
        return {"device_requests": [docker.types.DeviceRequest(driver="cdi", device_ids=names)]}
    chosen = {"count": -1} if gpus is None else {"device_ids": list(gpus)}
    return {"device_requests": [docker.types.DeviceRequest(**chosen, capabilities=[["gpu"]])]}


def odd_volumes(config: Mapping[str, Any]) -> str:
    """What is wrong with an image that declares volumes; empty if nothing is.

    An engine makes each of them a folder to write to, on its own disk and without a limit.
    """
    odd = sorted(set(config.get("Volumes") or {}) - {RESULTS})
    return f"declares places to write to: {', '.join(odd)[:200]}" if odd else ""
