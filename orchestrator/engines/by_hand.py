"""A cell as a command to type: ``docker run`` with all that a cell is denied, and a results folder of its own."""

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
"""Of a results folder: what containers leave that somebody started by hand."""

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
"""What docker's command calls what an engine's API calls something else; the rest is in ``flags_of``."""


def flags_of(denied: Mapping[str, Any]) -> Iterator[str]:
    """The options of ``docker run`` for what ``isolation`` says; an unknown part of it is an error, not left out."""
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
    """Two commands for a shell, joined: make a folder that nothing else uses, and run the cell as an engine would.

    The document belongs to whoever types it; what root types runs as the user that cells have.
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
