"""The command to run a cell by hand: ``docker run`` with a cell's full isolation and a results folder of its own."""

import os
import shlex
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.cell import contract
from orchestrator.cell.cell import Cell
from orchestrator.engines.isolation import USER, isolation
from orchestrator.system.slots import MEMORY

FOLDER = "by-hand"
"""The subfolder of a results folder for the results of containers started by hand."""

FLAGS: Mapping[str, str] = {
    "network_mode": "--network",
    "dns": "--dns",
    "dns_search": "--dns-search",
    "read_only": "--read-only",
    "cap_drop": "--cap-drop",
    "security_opt": "--security-opt",
    "mem_limit": "--memory",
    "memswap_limit": "--memory-swap",
    "pids_limit": "--pids-limit",
    "shm_size": "--shm-size",
    "init": "--init",
}
"""The ``docker run`` flag for each option of the engine's API; the rest is in ``flags_of``."""


def flags_of(denied: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of ``docker run`` for the result of ``isolation``; an unknown key is an error, not left out."""
    for name, value in denied.items():
        if name == "tmpfs":
            yield from (f"--tmpfs={place}:{options}" for place, options in value.items())
        elif name == "ulimits":
            yield from (f"--ulimit={limit.name}={limit.soft}:{limit.hard}" for limit in value)
        elif name == "log_config":
            yield f"--log-driver={value['type']}"
        elif value is True:
            yield FLAGS[name]
        else:
            yield from (f"{FLAGS[name]}={one}" for one in (value if isinstance(value, list) else [value]))


def command(cell: Cell, image: str, results: Path, data: Path | None, gpus: tuple[str, ...] = ()) -> str:
    """Return a shell line of two commands: make a fresh folder, and run the cell as an engine would.

    The document belongs to the user who types it; typed by root, the cell runs as the usual user of cells.
    """
    folder = (results / FOLDER / f"{cell.id.replace('/', '-')}-{uuid.uuid4().hex[:8]}").absolute()
    root = os.getuid() == 0
    user = USER if root else f"{os.getuid()}:{os.getgid()}"
    mounts = [f"type=bind,source={folder},target=/results"]
    if data is not None:
        mounts.append(f"type=bind,source={data.absolute()},target=/data,readonly")
    words = ["docker", "run", "--rm", f"--user={user}", *flags_of(isolation(MEMORY))]
    words += [f"--mount={each}" for each in mounts]
    words += [f'--gpus="device={",".join(gpus)}"'] if gpus else []
    make = ["install", "-d", "-o", user.partition(":")[0], "-g", user.partition(":")[2], str(folder)]
    making = shlex.join(make if root else ["mkdir", "-p", str(folder)])
    return f"{making} && {shlex.join([*words, image, *contract.arguments(cell)])}"
